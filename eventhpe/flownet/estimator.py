"""Run FlowNet over many windows."""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import pad

from eventhpe.errors import ShapeError
from eventhpe.flownet.network import STRIDE, FlowNet, FlowNetConfig
from eventhpe.geometry.flowfield import FlowField


class FlowEstimator:
    """Flow of event frames at the finest scale, in batches, without gradients.

    Args:
        network: FlowNet, put into evaluation mode.
        config: sizes; taken from the network if left out.
        batch_size: windows per pass.
        device: where to compute.
    """

    def __init__(
        self,
        network: nn.Module,
        config: FlowNetConfig | None = None,
        *,
        batch_size: int = 16,
        device: str | torch.device = "cpu",
    ) -> None:
        if config is None:
            if not isinstance(network, FlowNet):
                raise ShapeError("FlowEstimator needs the config of a network that is no FlowNet; got None.")
            config = network.config
        self.config = config
        self.device = torch.device(device)
        self.batch_size = max(1, batch_size)
        self.network = network.to(self.device).eval()

    def on(self, device: str | torch.device) -> FlowEstimator:
        """A copy that computes on another device."""
        network = copy.deepcopy(self.network)
        return FlowEstimator(network, self.config, batch_size=self.batch_size, device=device)

    @torch.inference_mode()
    def estimate(self, frames: NDArray[np.float32] | Tensor) -> NDArray[np.float32]:
        """(N, C, H, W) event frames to (N, 2, H, W) float32 pixels over each window; any H and W.

        Raises:
            ShapeError: frames have another number of channels.
        """
        if frames.ndim != 4 or frames.shape[1] != self.config.in_channels:
            raise ShapeError(
                f"frames must be (N, {self.config.in_channels}, H, W); got {tuple(frames.shape)}."
            )
        N, _, H, W = frames.shape
        out = np.empty((N, 2, H, W), dtype=np.float32)
        for i in range(0, N, self.batch_size):
            batch = torch.as_tensor(frames[i : i + self.batch_size], dtype=torch.float32, device=self.device)
            batch = pad(batch, (0, -W % STRIDE, 0, -H % STRIDE))
            flow = self.network(batch.contiguous(memory_format=torch.channels_last))[-1]
            out[i : i + len(batch)] = flow[:, :, :H, :W].cpu().numpy()
        return out

    def flow_field(
        self, frame: NDArray[np.float32] | Tensor, *, t0_us: int, t1_us: int, events_only: bool = False
    ) -> FlowField:
        """One window (C, H, W) to a FlowField.

        Args:
            events_only: mark pixels without events as not valid; otherwise all are valid.
        """
        uv = self.estimate(frame[None])[0]
        occupied = (np.asarray(frame) != 0).any(0)
        valid = occupied if events_only else np.ones(uv.shape[1:], dtype=bool)
        return FlowField(uv=uv, valid=valid, t0_us=t0_us, t1_us=t1_us)
