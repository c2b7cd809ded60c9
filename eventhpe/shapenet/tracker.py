"""Streaming: ShapeNet window by window with constant memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eventhpe.errors import ShapeError
from eventhpe.shapenet.flow_motion import FlowMotion
from eventhpe.shapenet.joint_maps import CropJoints
from eventhpe.shapenet.losses import Body
from eventhpe.shapenet.state import ShapeOutput, StartState, WindowEvidence
from eventhpe.shapenet.trace import Trace

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class TrackedBody:
    """The body at the end of one window, camera frame.

    Attributes:
        rotmats: (24, 3, 3), entry 0 maps the root to the camera.
        betas: (10,).
        transl: (3,) metres.
        confidence: (24,) in (0, 1].
        joints: (24, 3) metres, or None when the tracker has no body model.
        evidence: what this window alone says (fixed variant only).
    """

    rotmats: Floats
    betas: Floats
    transl: Floats
    confidence: Floats
    joints: Floats | None
    evidence: WindowEvidence | None = None


class BodyTracker:
    """Follow one body through a stream of windows.

    Any cutting of the stream into calls gives the same result as one call over all of it.

    Args:
        network: ShapeNet or EventTrackNet; put into evaluation mode.
        body: body model for the joints; None leaves them out.
        device: where to compute.
        motion: moves the body along with the flow (ShapeNet that was trained so); on the same device.
    """

    def __init__(
        self,
        network: nn.Module,
        body: Body | None = None,
        *,
        device: str | torch.device = "cpu",
        motion: FlowMotion | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()
        self.body = body
        self.more = {} if motion is None else {"motion": motion}
        self.reset()

    def reset(self, start: StartState | None = None, hidden: Tensor | None = None) -> None:
        """Forget the past; go on from `start` (batch of 1, t0 of the next window) and the GRU's `hidden`."""
        if start is not None and start.transl.shape[0] != 1:
            raise ShapeError(
                f"a tracker follows one body: start must have B = 1; got {start.transl.shape[0]}."
            )
        self._start = None if start is None else _move(start, self.device)
        self._hidden = None if hidden is None else hidden.to(self.device)

    @property
    def state(self) -> StartState | None:
        """The body after the last window; None before the first."""
        return self._start

    @torch.inference_mode()
    def step(
        self, frames: Floats | Tensor, flow: Floats | Tensor | None, crop: Floats | Tensor
    ) -> list[TrackedBody]:
        """Go on over n windows.

        Args:
            frames: (n, C, S, S).
            flow: (n, 2, S, S) pixels, or None for a network without flow.
            crop: (n, 3), see `eventhpe.shapenet.crop`.
        Returns:
            One body per window; an empty list for n = 0.
        """
        if len(frames) == 0:
            return []
        known_shape = self._start is not None and self._start.betas_count is None
        before = 0 if self._start is None else self._start.betas_count or 0
        output: ShapeOutput = self.network(
            self._batch(frames),
            None if flow is None else self._batch(flow),
            self._batch(crop),
            self._start,
            self._hidden,
            **self.more,
        )
        self._hidden = output.hidden
        self._start = StartState(
            rotmats=output.rotmats[:, -1],
            betas=output.betas[:, -1],
            transl=output.transl[:, -1],
            betas_count=None if known_shape else before + len(frames),
            variance=output.variance,
            trace=output.trace,
        )
        return self._unpack(output)

    def _batch(self, value: Floats | Tensor) -> Tensor:
        return torch.as_tensor(value, dtype=torch.float32, device=self.device)[None]

    def _unpack(self, output: ShapeOutput) -> list[TrackedBody]:
        joints = None if self.body is None else self.body.joints(output.rotmats, output.betas, output.transl)
        return [
            TrackedBody(
                rotmats=_array(output.rotmats[0, t]),
                betas=_array(output.betas[0, t]),
                transl=_array(output.transl[0, t]),
                confidence=_array(output.confidence[0, t]),
                joints=None if joints is None else _array(joints[0, t]),
                evidence=_evidence(output, t),
            )
            for t in range(output.rotmats.shape[1])
        ]


def _evidence(output: ShapeOutput, t: int) -> WindowEvidence | None:
    if output.rotmats_abs is None or output.transl_abs is None:
        return None
    joints = output.joints_in_crop
    if joints is not None:
        joints = CropJoints(*(value[0, t].float().cpu() for value in joints))
    return WindowEvidence(output.rotmats_abs[0, t].cpu(), output.transl_abs[0, t].cpu(), joints)


def _move(start: StartState, device: torch.device) -> StartState:
    return StartState(
        rotmats=start.rotmats.to(device),
        betas=start.betas.to(device),
        transl=start.transl.to(device),
        betas_count=start.betas_count,
        variance=None if start.variance is None else start.variance.to(device),
        trace=None if start.trace is None else Trace(*(value.to(device) for value in start.trace)),
    )


def _array(value: Tensor) -> Floats:
    out: Floats = value.detach().cpu().numpy().astype(np.float32)
    out.setflags(write=False)
    return out
