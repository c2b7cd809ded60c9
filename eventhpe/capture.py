"""The main job: a recording goes in, a moving body comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eventhpe.body.default import open_body
from eventhpe.body.motion import MotionClip
from eventhpe.body.params import BodyParams
from eventhpe.capture_contours import follow_known_body
from eventhpe.capture_helpers import CaptureHelpers, found_person, guess_start, person_crops
from eventhpe.data.crops import CROP_MARGIN, SquareCrop
from eventhpe.data.windows import WINDOW_US, window_frames
from eventhpe.errors import FormatError, ShapeError
from eventhpe.events.filters import background_activity
from eventhpe.events.person_box import PersonFinder
from eventhpe.events.recording import Recording
from eventhpe.events.types import Events
from eventhpe.flownet.estimator import FlowEstimator
from eventhpe.flownet.network import FlowNet
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.rotation import rotmat_to_rotvec, sixd_to_rotmat
from eventhpe.shapenet.crop import ray_rotation
from eventhpe.shapenet.flow_motion import FlowMotion
from eventhpe.shapenet.network import REFERENCE_HEIGHT_M, ShapeNet, from_place, from_ray
from eventhpe.shapenet.state import StartState
from eventhpe.shapenet.tracker import BodyTracker, TrackedBody
from eventhpe.weights.files import WeightsCard, load_network, shipped

CHUNK = 16
"""Windows that go through the networks together; results do not depend on it."""

Progress = Callable[[Sequence[int], str], Iterable[int]]


@dataclass(frozen=True)
class Networks:
    """The two networks of a capture, their cards, and what moves the body along with the flow, if the shape
    network wants it."""

    shape: ShapeNet
    shape_card: WeightsCard
    flow: FlowEstimator | None
    flow_card: WeightsCard | None
    motion: FlowMotion | None = None

    @classmethod
    def load(cls, shape_path: str | None = None, flow_path: str | None = None) -> Networks:
        """Load networks from files, by default the shipped ones.

        Raises:
            FormatError: damaged or foreign weights.
            ShapeError: a parity network, which captures cannot use.
        """
        shape, shape_card = load_network(shape_path or shipped("shapenet"))
        if not isinstance(shape, ShapeNet):
            raise ShapeError(
                f"{shape_path}: capture needs ShapeNet's fixed variant; got {type(shape).__name__}."
            )
        if not shape.config.use_flow:
            return cls(shape, shape_card, None, None)
        flow, flow_card = load_network(flow_path or shipped("flownet"))
        if not isinstance(flow, FlowNet):
            raise ShapeError(f"{flow_path}: expected FlowNet weights; got {type(flow).__name__}.")
        reads = flow_card.data.get("training", {}).get("input_kind", "counts")
        if reads != "counts":
            raise ShapeError(
                f"{flow_path}: reads {reads} frames; captures need the fixed variant, which reads counts."
            )
        motion = FlowMotion(open_body()) if shape.config.follow_flow else None
        return cls(shape, shape_card, FlowEstimator(flow), flow_card, motion)


@dataclass(frozen=True)
class Capture:
    """Everything a capture found.

    Attributes:
        clip: the motion, camera frame; pose k stands at the end of window k.
        t0_us: (T,) starts of the windows.
        crops: the square of each window.
        seen: (T,) whether anybody had been found by then.
        counts: (T, 2) OFF and ON events per window.
        flow_windows: index -> flow (2, S, S) in crop pixels, for a few windows spread over the clip.
        notes: what the user should know about assumptions and fallbacks.
        found: the squares of whoever finds people, where `crops` followed a known body instead; else empty.
    """

    clip: MotionClip
    t0_us: NDArray[np.int64]
    crops: tuple[SquareCrop, ...]
    seen: NDArray[np.bool_]
    counts: NDArray[np.int64]
    flow_windows: dict[int, NDArray[np.float32]]
    notes: tuple[str, ...] = field(default=())
    found: tuple[SquareCrop, ...] = ()


def capture(
    recording: Recording,
    networks: Networks,
    camera: Camera,
    *,
    start: StartState | None = None,
    contours: bool = True,
    helpers: CaptureHelpers | None = None,
    provenance: dict[str, Any] | None = None,
    progress: Progress = lambda items, what: items,
) -> Capture:
    """Capture one person in a recording.

    Args:
        recording: the events.
        networks: trained networks.
        camera: intrinsics of the recording's camera.
        start: true body at the recording's start, if known.
        contours: follow a body with a known start by its contours too (capture_contours.py).
        helpers: networks that find the person and guess the start; None = event density, no guess.
        provenance: added to the result's provenance.
        progress: wraps the two long loops, for progress bars.

    Raises:
        FormatError: the recording is shorter than one window, or nobody is found in it.
    """
    starts, helpers = window_starts(recording), helpers or CaptureHelpers()
    followed = follow_chosen(recording, starts, helpers, progress)
    crops, seen = followed.crops, followed.seen
    rays = np.stack([crop.ray(camera) for crop in crops])
    guessed = None
    if start is None and helpers.posh is not None:
        guessed = guess_start(recording, starts, crops, seen, rays, helpers.posh)
    found: tuple[SquareCrop, ...] = ()
    if start is not None and contours:
        known = follow_known_body(
            recording, camera, crops, BodyTracker(networks.shape, motion=networks.motion), networks.flow,
            start, size_px=networks.shape.config.size,
            windows=progress(range(len(starts)), "tracking the body"),
        )  # fmt: skip
        tracked, found, crops = known.bodies, crops, known.crops
        flows = {k: known.flows[k] for k in _shown(len(starts)) if known.flows}
    else:
        begin = start if start is not None else guessed
        tracked, flows = track(recording, networks, starts, crops, rays, begin, progress)
    notes = (*_notes(seen, start, guessed is not None, contours), *followed.notes)
    clip = to_motion(
        tracked, starts + WINDOW_US, networks.shape, camera, {**(provenance or {}), "notes": list(notes)}
    )
    return Capture(clip, starts, crops, seen, followed.counts, flows, notes, found)


def window_starts(recording: Recording) -> NDArray[np.int64]:
    """(T,) starts of the whole windows of a recording, µs.

    Raises:
        FormatError: it is shorter than one window.
    """
    # The last event of a stream that fills its last window lies just before the window's end.
    T = int((recording.duration_us + WINDOW_US // 10) // WINDOW_US)
    if T < 1:
        raise FormatError(
            f"{recording.source}: lasts {recording.duration_us / 1000:.1f} ms; a capture needs at least one "
            f"window of {WINDOW_US // 1000} ms. Was the right stream chosen?"
        )
    return np.arange(T, dtype=np.int64) * WINDOW_US


class Followed(NamedTuple):
    """Crop of every window, whether somebody had been found by then, (T, 2) OFF and ON counts, and notes."""

    crops: tuple[SquareCrop, ...]
    seen: NDArray[np.bool_]
    counts: NDArray[np.int64]
    notes: tuple[str, ...] = ()


def follow_chosen(
    recording: Recording, starts: NDArray[np.int64], helpers: CaptureHelpers, progress: Progress
) -> Followed:
    """Follow the person that the network finds; where it does not see it, and nobody asked for a certain
    person, whatever moves most.

    Raises:
        FormatError: nobody is found, or not so many people.
    """
    if helpers.people is None:
        return Followed(*follow_person(recording, starts, progress))
    who = found_person(recording, starts, helpers, progress)
    if who is None:
        note = "the network that finds people found nobody; the crop follows whatever moves most"
        return Followed(*follow_person(recording, starts, progress), (note,))
    crops, seen, here = person_crops(who, len(starts))
    counts = np.array([np.bincount(_window(recording, t).p, minlength=2) for t in starts.tolist()])
    if helpers.person is not None or here.all():
        return Followed(crops, seen, counts)
    away = f"in {np.count_nonzero(~here)} of {len(here)} windows the network did not see the person"
    try:
        dense, dense_seen, _ = follow_person(recording, starts, progress)
    except FormatError:  # nothing is dense enough
        return Followed(crops, seen, counts, (f"{away}; the crop is the nearest one found",))
    crops = tuple(a if found else b for a, b, found in zip(crops, dense, here, strict=True))
    return Followed(crops, here | dense_seen, counts, (f"{away}; the crop follows whatever moves most",))


def follow_person(
    recording: Recording, starts: NDArray[np.int64], progress: Progress
) -> tuple[tuple[SquareCrop, ...], NDArray[np.bool_], NDArray[np.int64]]:
    """Square crop of every window, whether somebody had been found by then, and (T, 2) OFF and ON counts.

    Raises:
        FormatError: nobody moves in the recording.
    """
    finder = PersonFinder()
    densities, counts = [], []
    for t0 in progress(starts.tolist(), "finding the person"):
        events = _window(recording, t0)
        counts.append(np.bincount(events.p, minlength=2))
        densities.append(finder.density(background_activity(events, dt_us=20_000)))
    boxes = finder.boxes(densities, recording.sensor_size)
    seen = np.array([b is not None for b in boxes])
    if not seen.any():
        raise FormatError(
            f"{recording.source}: found no moving person: {recording.num_events:,} events in "
            f"{recording.duration_us * 1e-6:.2f} s, none of them dense enough. Look at it with "
            f"`eventhpe info` or `eventhpe render --what events`."
        )
    first = next(b for b in boxes if b is not None)
    crops = tuple(SquareCrop.around(first if b is None else b, CROP_MARGIN) for b in boxes)
    return crops, seen, np.array(counts, dtype=np.int64)


def track(
    recording: Recording,
    networks: Networks,
    starts: NDArray[np.int64],
    crops: Sequence[SquareCrop],
    rays: NDArray[np.float32],
    start: StartState | None,
    progress: Progress,
) -> tuple[list[TrackedBody], dict[int, NDArray[np.float32]]]:
    """Run flow and shape window by window; keeps the flow of a few windows for pictures."""
    tracker = BodyTracker(networks.shape, motion=networks.motion)
    tracker.reset(start)
    size = networks.shape.config.size
    shown = _shown(len(starts))
    bodies: list[TrackedBody] = []
    flows: dict[int, NDArray[np.float32]] = {}
    for begin in progress(range(0, len(starts), CHUNK), "tracking the body"):
        chunk = range(begin, min(begin + CHUNK, len(starts)))
        frames = np.stack(
            [
                window_frames(
                    _window(recording, int(starts[k])), crops[k],
                    t0_us=int(starts[k]), t1_us=int(starts[k]) + WINDOW_US, out_px=size,
                )
                for k in chunk
            ]
        )  # fmt: skip
        flow = None if networks.flow is None else networks.flow.estimate(frames)
        bodies += tracker.step(frames, flow, rays[chunk.start : chunk.stop])
        if flow is not None:
            flows.update({k: np.asarray(flow[k - begin], np.float32) for k in chunk if k in shown})
    return bodies, flows


def to_motion(
    tracked: Sequence[TrackedBody],
    t_us: NDArray[np.int64],
    network: ShapeNet,
    camera: Camera,
    provenance: dict[str, Any],
) -> MotionClip:
    """One shape for the whole clip (the last estimate, which has seen all); no pelvis moves."""
    betas = np.stack([b.betas for b in tracked]).astype(np.float64)
    final = np.broadcast_to(betas[-1], betas.shape)
    transl = (
        np.stack([b.transl for b in tracked]) + _rest_pelvis(network, betas) - _rest_pelvis(network, final)
    )
    rotvec = rotmat_to_rotvec(np.stack([b.rotmats for b in tracked]))
    return MotionClip(
        params=BodyParams(
            betas=final,
            global_orient=rotvec[:, 0],
            body_pose=rotvec[:, 1:],
            transl=transl,
            model="open",
            frame="camera",
        ),
        t_us=t_us,
        rest_joints=rest_joints(betas[-1]),
        camera=camera,
        confidence=np.stack([b.confidence for b in tracked]).astype(np.float64),
        provenance=provenance,
    )


def mean_pose_track(captured: Capture, network: ShapeNet) -> BodyParams:
    """Baseline: the training set's mean pose, placed in the middle of the square that was found in every
    window, so that it does not depend on a known start."""
    import torch

    camera = captured.clip.camera
    assert camera is not None
    crop = torch.from_numpy(np.stack([c.ray(camera) for c in captured.found or captured.crops]))
    pose = sixd_to_rotmat(network.absolute.mean_pose.unflatten(0, (24, 6))).expand(len(crop), -1, -1, -1)
    rotvec = rotmat_to_rotvec(from_ray(pose, ray_rotation(crop)).numpy())
    place = torch.cat([crop[:, :2], torch.log(REFERENCE_HEIGHT_M / (2 * crop[:, 2:]))], -1)
    betas = np.zeros((len(crop), 10))
    return BodyParams(
        betas=betas,
        global_orient=rotvec[:, 0],
        body_pose=rotvec[:, 1:],
        transl=from_place(place).numpy().astype(np.float64) - _rest_pelvis(network, betas),
        model=captured.clip.params.model,
    )


def rest_joints(betas: NDArray[np.float64]) -> NDArray[np.float64]:
    """(24, 3) rest joints of the open body with these betas (10,), metres."""
    import torch

    with torch.no_grad():
        joints = open_body().rest_joints(torch.tensor(betas, dtype=torch.float32))
    return np.asarray(joints.double().numpy())


def _shown(num_windows: int) -> set[int]:
    """Windows whose flow is kept for pictures."""
    return {int(k) for k in np.linspace(0, num_windows - 1, 8).round()}


def _window(recording: Recording, t0_us: int) -> Events:
    return recording.read(recording.index_at(t0_us), recording.index_at(t0_us + WINDOW_US))


def _rest_pelvis(network: ShapeNet, betas: NDArray[np.float64]) -> NDArray[np.float64]:
    template = network.rest_pelvis.numpy().astype(np.float64)
    return template + betas @ network.rest_pelvis_dirs.numpy().astype(np.float64).T


def _notes(
    seen: NDArray[np.bool_], start: StartState | None, guessed: bool, contours: bool
) -> tuple[str, ...]:
    known = "start pose: given (ground truth)" + (", followed by contours" if contours else "")
    if start is None:
        known = "start pose: estimated from events alone" + (", by HEMlets PoSh" if guessed else "")
    notes = [f"first-frame knowledge: {'ground truth' if start is not None else 'none'}; {known}"]
    if not seen.all():
        first = int(np.argmax(seen))
        notes.append(
            f"nobody moved in the first {first * WINDOW_US / 1e6:.2f} s; its crop is the first one found"
        )
    return tuple(notes)
