"""Layers of HEMlets PoSh: features of body parts, the regressor, and the crop's camera."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, grid_sample

from eventhpe.errors import ShapeError
from eventhpe.geometry.rotation import rotmat_to_sixd, sixd_to_rotmat
from eventhpe.shapenet.heads.hemlets import HEMletsHead
from eventhpe.shapenet.state import NUM_BETAS, NUM_JOINTS

MAX_BETA = 3.0
"""Shape coefficients lie within this many standard deviations."""


class PartFeatures(nn.Module):
    """HEMlets' features at the middle of each part, reduced by one layer that the parts share.

    Args:
        head: whose features.
        channels: kept.
    """

    def __init__(self, head: HEMletsHead, channels: int) -> None:
        super().__init__()
        self.ends, self.size = head.parts, head.size.size
        # Sampling is linear, so this equals a 1x1 convolution of the whole map before it.
        self.reduce = nn.Linear(head.net.feature_channels, channels)

    def forward(self, features: Tensor, uv: Tensor) -> Tensor:
        """(B, F, h, w) maps over the crop and (B, J, 2) joints in pixels to (B, 14, channels).

        Where to look is taken as given: no gradient goes to the joints.
        """
        parents, children = ([end[i] for end in self.ends] for i in (0, 1))
        middle = joint_places(uv.detach().float(), self.size)
        middle = (middle[:, parents] + middle[:, children]) / 2
        sampled = grid_sample(features, middle[:, :, None], align_corners=False, padding_mode="border")
        return self.reduce(sampled[..., 0].transpose(1, 2))


class BodyRegressor(nn.Module):
    """Evidence to rotations, shape and camera in one shot (lifting network of Martinez et al., ICCV 2017).

    Args:
        features: of the evidence.
        hidden: width.
        blocks: residual blocks of two layers.
        dropout: after each layer.
    """

    def __init__(self, features: int, *, hidden: int, blocks: int, dropout: float) -> None:
        super().__init__()
        H, p = hidden, dropout
        self.entry = _layer(features, H, p)
        self.blocks = nn.ModuleList(nn.Sequential(_layer(H, H, p), _layer(H, H, p)) for _ in range(blocks))
        upright = torch.eye(3).repeat(NUM_JOINTS, 1, 1)
        upright[0] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))  # facing a camera whose y points down
        self.pose = _near(nn.Linear(H, 6 * NUM_JOINTS), 1e-3, rotmat_to_sixd(upright).flatten())
        self.betas = _near(nn.Linear(H, NUM_BETAS), 1e-2)
        self.camera = _near(nn.Linear(H, 3), 1e-3)

    def forward(self, evidence: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, F) to rotations (B, 24, 3, 3) as seen along the crop's ray, betas (B, 10), camera (B, 3).

        For the camera see `camera_to_place`.
        """
        x = self.entry(evidence)
        for block in self.blocks:
            x = x + block(x)
        pose = sixd_to_rotmat(self.pose(x).unflatten(-1, (NUM_JOINTS, 6)))
        return pose, MAX_BETA * torch.tanh(self.betas(x)), self.camera(x)


class RestPelvis(nn.Module):
    """Pelvis of the unposed body as a linear map of its shape; saved with the weights."""

    template: Tensor
    dirs: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("template", torch.zeros(3))
        self.register_buffer("dirs", torch.zeros(3, NUM_BETAS))

    def set(self, template: Tensor, dirs: Tensor) -> None:
        """(3,) metres and (3, 10)."""
        if template.shape != (3,) or dirs.shape != (3, NUM_BETAS):
            raise ShapeError(
                "set_body needs the rest pelvis (3,) and its shape directions (3, 10); "
                f"got {tuple(template.shape)} and {tuple(dirs.shape)}."
            )
        self.template.copy_(template)
        self.dirs.copy_(dirs)

    def forward(self, betas: Tensor) -> Tensor:
        """(*, 10) to (*, 3) metres."""
        return self.template + betas @ self.dirs.T


class SteadyNorm(nn.BatchNorm1d):
    """Batch normalisation that a batch of one passes by the running statistics, as it has none of its own."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and len(x) == 1:
            return batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


def joint_places(uv: Tensor, size: int) -> Tensor:
    """Pixels of an S x S crop to crop coordinates, -1..1 from edge to edge; undoes `crop.crop_to_pixels`."""
    return (uv + 0.5) * (2 / size) - 1


def camera_to_place(camera: Tensor, crop: Tensor) -> Tensor:
    """Weak perspective (*, 3) to the pelvis' place (*, 3) = (x/z, y/z, log z).

    Args:
        camera: (log s, tx, ty): s half crops per metre at the pelvis, whose image is (tx, ty) half crops from
            the crop's centre. Log s = 0 lets the crop show 2 m, as ShapeNet's zero does.
        crop: (*, 3).
    """
    ray = crop[..., :2] + camera[..., 1:] * crop[..., 2:]
    return torch.cat([ray, -camera[..., :1] - torch.log(crop[..., 2:])], -1)


def _layer(features: int, out: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(features, out), SteadyNorm(out), nn.ReLU(inplace=True), nn.Dropout(dropout)
    )


def _near(layer: nn.Linear, std: float, bias: Tensor | None = None) -> nn.Linear:
    nn.init.normal_(layer.weight, std=std)
    with torch.no_grad():
        layer.bias.zero_() if bias is None else layer.bias.copy_(bias)
    return layer
