"""The keypoint job: a recording goes in, joints of everybody in it come out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from eventhpe.capture import follow_person, window_starts
from eventhpe.data.crops import SquareCrop
from eventhpe.data.pose_sample import has_parts
from eventhpe.data.poses import PersonPoses, Poses
from eventhpe.data.windows import WINDOW_US, window_frames
from eventhpe.errors import FormatError
from eventhpe.events.recording import Recording
from eventhpe.find_people import find_people, trained_size
from eventhpe.geometry.camera import Camera
from eventhpe.shapenet.crop import crop_to_intrinsics
from eventhpe.shapenet.heads.depth_recovery import adult_bones, lift, recover_root_depth
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
        if finder == "density":
            return cls(joints_net, joints_card)
        people_net, people_card = load_network(people or shipped("swahr"))
        if not isinstance(people_net, SWAHRNet):
            raise FormatError(f"{people}: expected weights of `eventhpe train swahr`.")
        return cls(joints_net, joints_card, people_net, people_card)


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
    """Joints of everybody in a recording, every 50 ms.

    Args:
        recording: the events.
        networks: trained networks.
        camera: of the recording. With it, a head that gives depth and a skeleton with a pelvis, joints in
            space come out too; the distance is that at which bones have the lengths of an average adult.
        flip: average over crops and their mirror images.
        provenance: added to the result's.
        progress: wraps the long loops.
    Raises:
        FormatError: the recording is shorter than one window, or nobody is found in it.
    """
    starts = window_starts(recording)
    followed = _follow(recording, starts, networks, progress)
    size = networks.joints.config.size
    people = []
    for person in followed:
        uv, confidence, xyz = [], [], []
        for begin in progress(range(0, len(person.window), CHUNK), f"joints of person {person.person}"):
            part = slice(begin, begin + CHUNK)
            found = _joints(recording, starts, person, part, networks.joints, camera, flip=flip)
            uv.append(found[0])
            confidence.append(found[1])
            if found[2] is not None:
                xyz.append(found[2])
        people.append(
            PersonPoses(
                person.person, person.window, np.concatenate(uv), np.concatenate(confidence), person.box,
                np.concatenate(xyz) if xyz else None,
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


def _joints(
    recording: Recording,
    starts: NDArray[np.int64],
    person: _Followed,
    part: slice,
    network: PoseNet,
    camera: Camera | None,
    *,
    flip: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None]:
    """Pixels of the image (n, J, 2), confidences (n, J), and metres (n, J, 3) where there is depth."""
    size, crops = network.config.size, person.crops[part]
    frames = []
    for k, crop in zip(person.window[part], crops, strict=True):
        t0, t1 = int(starts[k]), int(starts[k]) + WINDOW_US
        events = recording.read(recording.index_at(t0), recording.index_at(t1))
        frames.append(window_frames(events, crop, t0_us=t0, t1_us=t1, out_px=size))
    with torch.inference_mode():
        found = network.joints(torch.from_numpy(np.stack(frames)), flip=flip)
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
    return uv, found.confidence.double().numpy(), xyz
