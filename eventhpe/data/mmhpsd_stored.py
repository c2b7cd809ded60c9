"""What a stored sequence of MMHPSD offers, whichever of the two releases it lies in.

MMHPSD (Zou et al., ICCV 2021): gray frames at 15 per second. Event frame k holds the events from gray frame k
to k + 1; pose k stands at gray frame k. Frames without a pose are missing.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.body.params import BodyParams
from eventhpe.data.mmhpsd_sequence import MMHPSD_SIZE
from eventhpe.errors import FormatError, UnitError
from eventhpe.events.types import Events

SEQUENCE_NAME = re.compile(r"subject(\d{2})_group(\d)_time(\d)")

FAR_M = 100.0
"""A person further away than this was measured in another unit."""

_POSE_PARTS = {"beta": 10, "theta": 72, "tran": 3, "joints3d": 72}


@dataclass(frozen=True)
class BodySource:
    """Whose shape coefficients a set holds.

    Attributes:
        model: "smpl" for MMHPSD itself, "open" for sets that this package made.
        gender: of the body model; MMHPSD was fitted with the male one for everybody.
    """

    model: str = "smpl"
    gender: str = "male"


@dataclass(frozen=True)
class StoredPoses:
    """Poses of F frames.

    Attributes:
        frames: (F,) numbers of the gray frames.
        params: BodyParams over F, camera frame.
        joints3d: (F, 24, 3) metres, camera frame, translation included, as stored.
        joints2d: (F, 24, 2) pixels of the 256 x 256 grid, as stored.
    """

    frames: NDArray[np.int64]
    params: BodyParams
    joints3d: NDArray[np.float64]
    joints2d: NDArray[np.float64]


@dataclass(frozen=True)
class ImageEstimate:
    """What a body estimator for pictures made of one gray frame (layout A, HMR).

    Attributes:
        params: BodyParams without a batch, camera frame.
        joints3d: (24, 3) metres, camera frame.
        joints2d: (24, 2) pixels.
        feature: (2048,) of the picture; zero in sets that this package made.
    """

    params: BodyParams
    joints3d: NDArray[np.float64]
    joints2d: NDArray[np.float64]
    feature: NDArray[np.float32]


class StoredSequence(ABC):
    """One sequence, read frame by frame.

    Attributes:
        name: `subjectXX_groupY_timeZ`.
        subject, group, time: the numbers in it.
        body: whose shape coefficients the poses hold.
        event_frames, pose_frames, image_frames: sorted numbers of the frames that are there.
        interval_frames: of the intervals whose single events are there, and not only their event frame.
    """

    layout: str
    event_frames: tuple[int, ...]
    pose_frames: tuple[int, ...]
    image_frames: tuple[int, ...]
    interval_frames: tuple[int, ...] = ()

    def __init__(self, root: Path, name: str, body: BodySource) -> None:
        match = SEQUENCE_NAME.fullmatch(name)
        if match is None:
            raise FormatError(f"{name!r}: sequences of MMHPSD are called subjectXX_groupY_timeZ.")
        self.root, self.name, self.body = root, name, body
        self.subject, self.group, self.time = (int(number) for number in match.groups())

    @abstractmethod
    def event_frame(self, k: int) -> NDArray[np.bool_]:
        """(256, 256, 4) bool: which pixels fired in four equal parts of the time from gray frame k to k + 1.

        Raises:
            MissingAssetError, FormatError: the file is absent or damaged.
        """

    @abstractmethod
    def image(self, k: int) -> NDArray[np.uint8]:
        """(256, 256) gray frame k. Errors as in `event_frame`."""

    @abstractmethod
    def pose_record(self, k: int) -> dict[str, Any]:
        """beta, theta, tran, joints3d and joints2d of frame k as stored. Errors as in `event_frame`."""

    def events(self, k: int) -> Events:
        """Events from gray frame k to k + 1, times as stored.

        Raises:
            FormatError: this release holds event frames only.
        """
        raise FormatError(f"{self.root}: {self.name} holds event frames, but no single events (layout A).")

    def flow(self, k: int) -> NDArray[np.float32]:
        """(2, 256, 256) predicted flow in pixels from gray frame k to k + 2.

        Raises:
            FormatError: this release holds no flow.
        """
        raise FormatError(f"{self.root}: {self.name} comes without flow (layout B).")

    def estimate(self, k: int) -> ImageEstimate:
        """The estimate from gray frame k alone.

        Raises:
            FormatError: this release holds none.
        """
        raise FormatError(f"{self.root}: {self.name} comes without estimates from pictures (layout B).")

    def poses(self, frames: Sequence[int]) -> StoredPoses:
        """Poses of some frames.

        Raises:
            MissingAssetError, FormatError: a file is absent or damaged.
            UnitError: places are not in metres.
        """
        records = [_pose_arrays(self.pose_record(k), f"{self.name}, pose {k}") for k in frames]
        beta, theta, tran, joints3d, joints2d = (
            np.stack(column) if records else np.zeros((0, *shape))
            for column, shape in zip(
                zip(*records, strict=True) if records else [()] * 5,
                ((10,), (24, 3), (3,), (24, 3), (24, 2)),
                strict=True,
            )
        )
        if records and np.abs(tran).max() > FAR_M:
            raise UnitError(
                f"{self.root}: {self.name} stands {np.abs(tran).max():.0f} m away; expected metres, which "
                "these are not."
            )
        return StoredPoses(
            np.asarray(frames, np.int64), self.body_params(beta, theta, tran), joints3d, joints2d
        )

    def body_params(
        self, beta: NDArray[np.float64], theta: NDArray[np.float64], tran: NDArray[np.float64]
    ) -> BodyParams:
        """BodyParams of the set's own body from (*, 10), (*, 24, 3) and (*, 3)."""
        return BodyParams(
            betas=beta,
            global_orient=theta[..., 0, :],
            body_pose=theta[..., 1:, :],
            transl=tran,
            model=self.body.model,
            gender=self.body.gender,
        )

    def clip_starts(self, num_frames: int, *, single_events: bool = False) -> list[int]:
        """First frames of clips over `num_frames` intervals that miss neither pose nor event frame (or single
        events).

        EventHPE's rule: the frame `num_frames` places further in the list of poses is `num_frames` later.
        """
        poses = self.pose_frames
        whole = [a for a, b in zip(poses, poses[num_frames:], strict=False) if b == a + num_frames]
        there = set(self.interval_frames if single_events else self.event_frames)
        return [a for a in whole if all(k in there for k in range(a, a + num_frames))]


def numbers_in(folder: Path, pattern: str) -> tuple[int, ...]:
    """Sorted numbers in the names of a folder's files; (?P<k>...) of the pattern is the number."""
    if not folder.is_dir():
        return ()
    matches = (re.fullmatch(pattern, path.name) for path in folder.iterdir())
    return tuple(sorted(int(match["k"]) for match in matches if match))


def check_event_frame(frame: NDArray[Any], where: str) -> NDArray[np.bool_]:
    """(256, 256, 4) bool of a stored event frame, which holds nothing but 0 and 1.

    Raises:
        FormatError: it holds other values.
    """
    if frame.shape != (*MMHPSD_SIZE, 4) or int(frame.max()) > 1:
        raise FormatError(
            f"{where}: an event frame is (256, 256, 4) of 0 and 1; got {frame.shape}, up to {frame.max()}."
        )
    return frame.astype(bool)


def _pose_arrays(record: dict[str, Any], where: str) -> tuple[NDArray[np.float64], ...]:
    """The five arrays of a pose in one form, whatever empty axes they were stored with."""
    arrays = {}
    for name, size in _POSE_PARTS.items():
        arrays[name] = numbers_of(record[name], size, f"{where}: {name}")
    joints2d = np.asarray(record["joints2d"], np.float64)
    if joints2d.size not in (48, 72) or not np.isfinite(joints2d).all():
        raise FormatError(
            f"{where}: joints2d must be (24, 2) or (24, 3) finite numbers; got {joints2d.shape}."
        )
    return (
        arrays["beta"],
        arrays["theta"].reshape(24, 3),
        arrays["tran"],
        arrays["joints3d"].reshape(24, 3),
        joints2d.reshape(24, -1)[:, :2],
    )


def numbers_of(value: Any, size: int, where: str) -> NDArray[np.float64]:
    """(size,) finite float64 of an array with so many entries.

    Raises:
        FormatError: it has another size, or values that are not finite.
    """
    if not isinstance(value, np.ndarray) or value.size != size or value.dtype.kind not in "fiu":
        got = value.shape if isinstance(value, np.ndarray) else type(value).__name__
        raise FormatError(f"{where} must hold {size} numbers; got {got}.")
    flat = value.astype(np.float64).ravel()
    if not np.isfinite(flat).all():
        raise FormatError(f"{where} holds values that are not finite.")
    return flat
