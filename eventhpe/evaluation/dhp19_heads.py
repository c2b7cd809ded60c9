"""Heads of the pose systems in DHP19's protocol: whole frames in, the 13 markers' pixels out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from eventhpe.data.dhp19_cameras import DHP19_SIZE
from eventhpe.errors import ShapeError
from eventhpe.geometry.skeleton import DHP19_SKELETON
from eventhpe.shapenet.heads.pose_net import PoseNet

NUM_MARKERS = len(DHP19_SKELETON.joints)


class HeadOnFrames(nn.Module):
    """A head trained on whole prepared frames (`DHP19PoseSamples(view="frame")`) that answers as DHP19's CNN
    does: with maps whose maximum is the joint's pixel and its confidence.

    A place is cut towards zero, as the labels of the protocol are.

    Args:
        network: reads one channel; its joints begin with DHP19's 13.
    Raises:
        ShapeError: another input, other joints, or an input smaller than a frame's width.
    """

    def __init__(self, network: PoseNet) -> None:
        super().__init__()
        c = network.config
        if c.in_channels != 1 or network.skeleton.joints[:NUM_MARKERS] != DHP19_SKELETON.joints:
            raise ShapeError(
                "frames of DHP19 have one channel and 13 markers; these weights read "
                f"{c.in_channels} channels and give joints of {c.skeleton}."
            )
        if c.size < DHP19_SIZE[1]:
            raise ShapeError(
                f"these weights read {c.size} px, narrower than a frame ({DHP19_SIZE[1]} px); train with "
                "--view frame --size-px 352."
            )
        self.network = network
        # As DHP19PoseSamples places the frame in the input.
        self.top, self.left = ((c.size - side) // 2 for side in DHP19_SIZE)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, 1, H, W) frames, values 0..255, the upper left part of a frame, to (B, 13, H, W)."""
        H, W = frames.shape[-2:]
        S = self.network.config.size
        whole = pad(frames / 255, (self.left, S - W - self.left, self.top, S - H - self.top))
        found = self.network.joints(whole)
        places = found.uv[:, :NUM_MARKERS] - found.uv.new_tensor([self.left, self.top])
        u, v = (places[..., i].floor().long().clamp(0, side - 1) for i, side in ((0, W), (1, H)))
        maps = frames.new_zeros(len(frames), NUM_MARKERS, H * W)
        sure = found.confidence[:, :NUM_MARKERS, None].clamp(min=1e-6).to(maps.dtype)
        return maps.scatter(2, (v * W + u)[..., None], sure).unflatten(2, (H, W))


def head_multiply_adds(network: PoseNet) -> int:
    """Multiply-adds of one frame in convolutions and linear layers, counted while it runs."""
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Linear):
            total += module.in_features * output.numel()
        elif isinstance(module, nn.ConvTranspose2d):
            total += module.weight[0].numel() * inputs[0].numel()
        elif isinstance(module, nn.Conv2d):
            total += module.weight[0].numel() * output.numel()

    c = network.config
    hooks = [m.register_forward_hook(count) for m in network.modules()]
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, c.in_channels, c.size, c.size))
    finally:
        for hook in hooks:
            hook.remove()
    return total
