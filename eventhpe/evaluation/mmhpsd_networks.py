"""ShapeNet on clips of MMHPSD."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eventhpe.body.default import load_body
from eventhpe.body.params import BodyParams
from eventhpe.data.crops import CROP_MARGIN, SquareCrop
from eventhpe.data.mmhpsd import ClipPlace
from eventhpe.data.mmhpsd_dataset import WHOLE_IMAGE, WINDOW_FRAMES, clip_events, step_input
from eventhpe.data.mmhpsd_sequence import MMHPSD_CAMERA, MMHPSD_FRAME_US, MMHPSD_SIZE
from eventhpe.data.mmhpsd_stored import BodySource
from eventhpe.errors import ShapeError
from eventhpe.evaluation.mmhpsd import ClipTask
from eventhpe.events.filters import background_activity
from eventhpe.events.person_box import PersonFinder
from eventhpe.events.types import Events
from eventhpe.flownet.estimator import FlowEstimator
from eventhpe.geometry.rotation import rotmat_to_rotvec, rotvec_to_rotmat, sixd_to_rotmat
from eventhpe.shapenet.crop import ray_rotation
from eventhpe.shapenet.flow_motion import FlowMotion
from eventhpe.shapenet.network import REFERENCE_HEIGHT_M, ShapeNet, from_place, from_ray
from eventhpe.shapenet.parity import EventTrackNet
from eventhpe.shapenet.state import NUM_BETAS, NUM_JOINTS, ShapeNetConfig, StartState

Crop = Literal["image", "person", "true-box"]

CROP_MEANS: Mapping[Crop, str] = MappingProxyType(
    {
        "image": "sees the whole image",
        "person": "sees a square around the person in every window, found in the clip's events",
        "true-box": "sees a square around the clip's true joints, which tells where the person is",
    }
)

SUPPORT_US = 20_000
"""Events without a neighbour so shortly before are noise to the person finder, as in captures."""


def input_kind(config: ShapeNetConfig) -> str:
    """What a variant reads: "binary" event frames as published, or "counts" of single events."""
    return "binary" if config.variant == "parity" else "counts"


def usual_crop(config: ShapeNetConfig) -> Crop:
    """What a variant was made for: the whole image as published, or a square around the person."""
    return "image" if config.variant == "parity" else "person"


@dataclass(frozen=True)
class ClipInput:
    """What a network reads of a clip: frames (W, 8, S, S) and rays (W, 3), see `eventhpe.shapenet.crop`."""

    frames: Tensor
    rays: Tensor


class ShapeNetOnClips:
    """A network whose `estimate` is an `Estimator` of `evaluate_mmhpsd`.

    Windows are those of its training on MMHPSD (`WINDOW_FRAMES`): the fixed variant takes two for each of
    EventHPE's steps of 133 ms, and what it says at the end of a step is scored.

    Args:
        network: either variant; put into evaluation mode.
        flow: FlowNet for networks that read flow.
        body: of the set whose shape coefficients the network was trained with.
        crop: see CROP_MEANS; by default `usual_crop`. Only "true-box" uses the truth.
        device: where to compute.
    Raises:
        ShapeError: flow is missing, or a square that moves for the parity variant, which knows no camera.
            On use: a parity network gets no start pose, or a step holds no whole number of windows.
    """

    def __init__(
        self,
        network: ShapeNet | EventTrackNet,
        flow: FlowEstimator | None,
        body: BodySource,
        *,
        crop: Crop | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        config = network.config
        if config.use_flow and flow is None:
            raise ShapeError("this network reads flow; give its FlowNet (flow=...).")
        self.crop = crop or usual_crop(config)
        if config.variant == "parity" and self.crop == "person":
            raise ShapeError(
                'the parity variant knows no camera, so its crop must stand still: "image" or "true-box"; '
                'got "person".'
            )
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()
        self.flow = flow if config.use_flow else None
        self.body = body
        self.more: dict[str, FlowMotion] = {}
        if config.follow_flow:
            model = load_body(body.model, gender=body.gender)
            self.more["motion"] = FlowMotion(copy.deepcopy(model).to(self.device))
        self.kind = input_kind(config)
        self._last: tuple[ClipPlace, ClipInput] | None = None

    @property
    def window_ms(self) -> float:
        """Length of a window."""
        return WINDOW_FRAMES[self.kind] * MMHPSD_FRAME_US / 1000

    @torch.inference_mode()
    def estimate(self, task: ClipTask) -> BodyParams:
        """Bodies (T,) at the ends of the steps."""
        read = self._read(task.place)
        uv = None if self.flow is None else torch.from_numpy(self.flow.estimate(read.frames))[None]
        out = self.network(
            read.frames[None].to(self.device),
            None if uv is None else uv.to(self.device),
            read.rays[None].to(self.device),
            _state(task.start, self.device),
            **self.more,
        )
        ends = _step_ends(task.place, self.kind)
        return self._params(out.rotmats[0, ends], out.betas[0, ends], out.transl[0, ends])

    @torch.inference_mode()
    def mean_pose(self, task: ClipTask) -> BodyParams:
        """Baseline: the mean pose of the training set in the middle of every crop, mean shape.

        Raises:
            ShapeError: of the parity variant, which has none.
        """
        network = self.network
        if not isinstance(network, ShapeNet):
            raise ShapeError("only the fixed variant keeps the mean pose of its training set.")
        rays = self._read(task.place).rays[_step_ends(task.place, self.kind)].to(self.device)
        pose = sixd_to_rotmat(network.absolute.mean_pose.unflatten(0, (NUM_JOINTS, 6)))
        rotmats = from_ray(pose.expand(len(rays), -1, -1, -1), ray_rotation(rays))
        place = torch.cat([rays[:, :2], torch.log(REFERENCE_HEIGHT_M / (2 * rays[:, 2:]))], -1)
        betas = rays.new_zeros(len(rays), NUM_BETAS)
        return self._params(rotmats, betas, from_place(place) - network.pelvis_at_rest(betas))

    def _read(self, place: ClipPlace) -> ClipInput:
        """The clip in this network's windows; the last one is kept for the next method."""
        if self._last is None or self._last[0] != place:
            frames = WINDOW_FRAMES[self.kind]
            if place.step_frames % frames:
                raise ShapeError(
                    f"steps of {place.step_frames} frames hold no whole number of this network's windows of "
                    f"{frames}."
                )
            windows = ClipPlace(
                place.sequence, place.start, place.num_steps * place.step_frames // frames, frames
            )
            events = clip_events(windows, self.kind)
            crops = self._crops(place, windows, events)
            inputs = [
                step_input(events, crop, windows, k, self.network.config.size, self.kind)
                for k, crop in enumerate(crops)
            ]
            rays = np.stack([crop.ray(MMHPSD_CAMERA) for crop in crops])
            self._last = place, ClipInput(torch.from_numpy(np.stack(inputs)), torch.from_numpy(rays))
        return self._last[1]

    def _crops(self, place: ClipPlace, windows: ClipPlace, events: Events) -> list[SquareCrop]:
        if self.crop == "person":
            return person_crops(events, windows.num_steps, windows.step_frames * MMHPSD_FRAME_US)
        square = WHOLE_IMAGE
        if self.crop == "true-box":
            points = place.sequence.poses(place.pose_frames).joints2d.reshape(-1, 2) + 0.5
            square = SquareCrop.around((*points.min(0), *points.max(0)), CROP_MARGIN)
        return [square] * windows.num_steps

    def _params(self, rotmats: Tensor, betas: Tensor, transl: Tensor) -> BodyParams:
        pose = rotmat_to_rotvec(_numpy(rotmats))
        return BodyParams(
            betas=_numpy(betas),
            global_orient=pose[:, 0],
            body_pose=pose[:, 1:],
            transl=_numpy(transl),
            model=self.body.model,
            gender=self.body.gender,
        )


def person_crops(events: Events, num_windows: int, window_us: int) -> list[SquareCrop]:
    """Squares around whoever moves in a clip, found as captures find people.

    Args:
        events: of the clip, from time 0.
        num_windows: W, of `window_us` each.
    Returns:
        W squares. Until somebody has moved, the first one found; the whole image where nobody moves at all.
    """
    finder = PersonFinder()
    densities = []
    for k in range(num_windows):
        window = events.between(k * window_us, (k + 1) * window_us)
        densities.append(finder.density(background_activity(window, dt_us=SUPPORT_US)))
    boxes = finder.boxes(densities, MMHPSD_SIZE)
    first = next((box for box in boxes if box is not None), None)
    if first is None:
        return [WHOLE_IMAGE] * num_windows
    return [SquareCrop.around(first if box is None else box, CROP_MARGIN) for box in boxes]


def _step_ends(place: ClipPlace, kind: str) -> slice:
    """Which windows end a step."""
    per_step = place.step_frames // WINDOW_FRAMES[kind]
    return slice(per_step - 1, None, per_step)


def _state(start: BodyParams | None, device: torch.device) -> StartState | None:
    if start is None:
        return None
    arrays = (rotvec_to_rotmat(start.pose), start.betas, start.transl)
    rotmats, betas, transl = (torch.from_numpy(np.array(a, np.float32))[None].to(device) for a in arrays)
    return StartState(rotmats=rotmats, betas=betas, transl=transl)


def _numpy(values: Tensor) -> NDArray[np.float64]:
    return np.asarray(values.double().cpu().numpy())
