"""The keypoint job: a recording goes in, joints of everybody in it come out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from eventhpe.capture import follow_person, window_starts
from eventhpe.data.crops import SquareCrop
from eventhpe.data.pose_sample import has_parts
from eventhpe.data.poses import PersonPoses, Poses
from eventhpe.data.windows import GRAY, NUM_CHANNELS, WINDOW_US, gray_input, window_frames
from eventhpe.errors import FormatError
from eventhpe.events.recording import Recording
from eventhpe.find_people import find_people, trained_size
from eventhpe.geometry.camera import Camera
from eventhpe.shapenet.crop import crop_to_intrinsics
from eventhpe.shapenet.heads.depth_recovery import adult_bones, lift, recover_root_depth
from eventhpe.shapenet.heads.hemlets import HEMletsHead
from eventhpe.shapenet.heads.pose_net import PoseNet
from eventhpe.shapenet.heads.swahr import SWAHRNet
from eventhpe.weights.files import WeightsCard, load_network, shipped

CHUNK = 32
"""Crops that go through the network together; results do not depend on it."""

Progress = Callable[[Sequence[int], str], Iterable[int]]


@dataclass(frozen=True)
class PoseNetworks:
    """The networks of the job: joints of a crop, and, unless event density finds the person, people."""

    joints: PoseNet
    joints_card: WeightsCard
    people: SWAHRNet | None = None
    people_card: WeightsCard | None = None

    @classmethod
    def load(
        cls, joints: str | None = None, people: str | None = None, *, finder: str = "network"
    ) -> PoseNetworks:
        """Load networks from files, by default the shipped ones.

        Args:
            finder: "network", or "density" to do without the network that finds people.
        Raises:
            FormatError: damaged weights, or of another system.
        """
        joints_net, joints_card = load_network(joints or shipped("simdr"))
        if not isinstance(joints_net, PoseNet):
            raise FormatError(f"{joints}: expected weights of a head, such as `eventhpe train simdr` leaves.")
        if not reads_gray(joints_card) and joints_net.config.in_channels != NUM_CHANNELS:
            raise FormatError(
                f"{joints}: reads {joints_net.config.in_channels} channels, as prepared frames of DHP19 do; "
                f"windows of events have {NUM_CHANNELS}."
            )
        if finder == "density":
            return cls(joints_net, joints_card)
        people_net, people_card = load_network(people or shipped("swahr"))
        if not isinstance(people_net, SWAHRNet):
            raise FormatError(f"{people}: expected weights of `eventhpe train swahr`.")
        return cls(joints_net, joints_card, people_net, people_card)


def reads_gray(card: WeightsCard) -> bool:
    """Whether a head was trained on gray images instead of events."""
    training = card.data.get("training", {})
    return isinstance(training, dict) and training.get("input_kind") == GRAY


@dataclass(frozen=True)
class _Followed:
    """One person's crops."""

    person: int
    window: NDArray[np.int64]
    box: NDArray[np.float64]
    crops: tuple[SquareCrop, ...]


def find_poses(
    recording: Recording,
    networks: PoseNetworks,
    camera: Camera | None = None,
    *,
    flip: bool = True,
    provenance: dict[str, Any] | None = None,
    progress: Progress = lambda items, what: items,
) -> Poses:
    """Joints of everybody in a recording, every 50 ms, or at each image by a head that reads gray images.

    Args:
        recording: the events.
        networks: trained networks.
        camera: of the recording. With it, a head that gives depth and a skeleton with a pelvis, joints in
            space come out too; the distance is that at which bones have the lengths of an average adult.
        flip: average over crops and their mirror images.
        provenance: added to the result's.
        progress: wraps the long loops.
    Raises:
        FormatError: the recording is shorter than one window, nobody is found in it, or gray images are asked
            for and missing.
    """
    gray = reads_gray(networks.joints_card)
    starts = gray_starts(recording) if gray else window_starts(recording)
    followed = _follow(recording, starts, networks, progress)
    size = networks.joints.config.size
    people = []
    for person in followed:
        uv, confidence, xyz, order = [], [], [], []
        for begin in progress(range(0, len(person.window), CHUNK), f"joints of person {person.person}"):
            part = slice(begin, begin + CHUNK)
            crops = person.crops[part]
            frames = _frames(recording, starts[person.window[part]], crops, size, gray=gray)
            found = _joints(frames, crops, networks.joints, camera, flip=flip)
            uv.append(found.uv)
            confidence.append(found.confidence)
            xyz += [] if found.xyz is None else [found.xyz]
            order += [] if found.order is None else [found.order]
        people.append(
            PersonPoses(
                person.person, person.window, np.concatenate(uv), np.concatenate(confidence), person.box,
                np.concatenate(xyz) if xyz else None, np.concatenate(order) if order else None,
            )
        )  # fmt: skip
    skeleton = networks.joints.skeleton
    told = {"crop_px": size, "head": networks.joints.config.head, **(provenance or {})}
    return Poses(skeleton, starts + WINDOW_US, recording.sensor_size, tuple(people), camera, told)


def _follow(
    recording: Recording, starts: NDArray[np.int64], networks: PoseNetworks, progress: Progress
) -> list[_Followed]:
    if networks.people is None or networks.people_card is None:
        crops, seen, _ = follow_person(recording, starts, progress)
        window = np.flatnonzero(seen)
        chosen = tuple(crops[k] for k in window)
        return [_Followed(0, window, np.array([_edges(c) for c in chosen]), chosen)]
    size = trained_size(networks.people_card)
    found = find_people(recording, starts, networks.people, size, progress=progress)
    if not found:
        raise FormatError(
            f"{recording.source}: nobody was found in it. Look at it with `eventhpe render --what events`, "
            "or try --finder density, which takes whatever moves most."
        )
    # Boxes reach beyond the joints already.
    return [
        _Followed(p.person, p.window, p.box, tuple(SquareCrop.around(tuple(b), 1.0) for b in p.box))
        for p in found
    ]


def _edges(crop: SquareCrop) -> tuple[float, float, float, float]:
    return crop.left, crop.top, crop.left + crop.side, crop.top + crop.side


def gray_starts(recording: Recording) -> NDArray[np.int64]:
    """Starts of the windows that end at the gray images, µs.

    Raises:
        FormatError: there are no images after the first 50 ms.
    """
    images = recording.frames
    times = np.zeros(0, np.int64) if images is None else np.asarray(images.t_us, np.int64)
    times = times[(times >= WINDOW_US) & (times <= recording.duration_us)]
    if not len(times):
        raise FormatError(
            f"{recording.source}: these weights read gray images, and the recording has none after its first "
            "50 ms. Use weights that read events."
        )
    return times - WINDOW_US


def _frames(
    recording: Recording, starts: NDArray[np.int64], crops: Sequence[SquareCrop], size: int, *, gray: bool
) -> torch.Tensor:
    """(n, C, S, S) network input of windows, or of the gray images at their ends."""
    frames = []
    for t0, crop in zip(starts.tolist(), crops, strict=True):
        if gray:
            assert recording.frames is not None
            image = recording.frames[int(np.searchsorted(recording.frames.t_us, t0 + WINDOW_US))]
            frames.append(gray_input(crop.cut_image(image, size)))
            continue
        events = recording.read(recording.index_at(t0), recording.index_at(t0 + WINDOW_US))
        frames.append(window_frames(events, crop, t0_us=t0, t1_us=t0 + WINDOW_US, out_px=size))
    return torch.from_numpy(np.stack(frames))


class _Found(NamedTuple):
    """Pixels of the image (n, J, 2), confidences (n, J), and perhaps metres (n, J, 3), orders (n, 14)."""

    uv: NDArray[np.float64]
    confidence: NDArray[np.float64]
    xyz: NDArray[np.float64] | None
    order: NDArray[np.int64] | None


def _joints(
    frames: torch.Tensor, crops: Sequence[SquareCrop], network: PoseNet, camera: Camera | None, *, flip: bool
) -> _Found:
    size, head = network.config.size, network.head
    with torch.inference_mode():
        maps = network(frames)
        found = head.flip(maps, network(frames.flip(-1))) if flip else head.decode(maps)
        order = head.predicted_order(maps).numpy() if isinstance(head, HEMletsHead) else None
    uv = np.stack(
        [crop.back(points, size) for crop, points in zip(crops, found.uv.double().numpy(), strict=True)]
    )
    xyz = None
    if found.depth is not None and camera is not None and has_parts(network.skeleton):
        rays = torch.from_numpy(np.stack([crop.ray(camera) for crop in crops])).double()
        K, depth, points = crop_to_intrinsics(rays, size), found.depth.double(), found.uv.double()
        bones = adult_bones(network.skeleton)
        root = recover_root_depth(
            points, depth, K, skeleton=network.skeleton, bones_mm=bones, depth_range=(0.5, 30.0)
        )
        xyz = lift(points, depth, root, K).numpy()
    return _Found(uv, found.confidence.double().numpy(), xyz, order)
