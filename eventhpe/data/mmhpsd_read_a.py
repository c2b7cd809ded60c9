"""Read layout A of MMHPSD (the release of EventHPE); the files are listed in `mmhpsd_layout_a`.

Pickles go through `safe_pickle`: nothing in them is executed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.data.image_file import read_image
from eventhpe.data.mmhpsd_layout_a import FLOW_SCALE
from eventhpe.data.mmhpsd_sequence import MMHPSD_SIZE
from eventhpe.data.mmhpsd_stored import (
    SEQUENCE_NAME,
    BodySource,
    ImageEstimate,
    StoredSequence,
    check_event_frame,
    numbers_in,
    numbers_of,
)
from eventhpe.data.safe_pickle import read_pickle
from eventhpe.errors import FormatError

FOLDERS_A = ("events_256", "pose_events")
"""Folders by which layout A is recognised."""

_PARTS = ("beta", "theta", "tran", "joints3d", "joints2d")


def names_a(root: Path) -> list[str]:
    """Sequences that have event frames or poses, sorted."""
    found = {
        path.name
        for folder in FOLDERS_A
        if (root / folder).is_dir()
        for path in (root / folder).iterdir()
        if SEQUENCE_NAME.fullmatch(path.name)
    }
    return sorted(found)


class SequenceA(StoredSequence):
    """A sequence of layout A.

    Poses are those that `pose_info.pkl` lists and whose files are there (without the list: all files).

    Raises:
        FormatError: `pose_info.pkl` is damaged.
    """

    layout = "A"

    def __init__(self, root: Path, name: str, body: BodySource) -> None:
        super().__init__(root, name, body)
        self._events = root / "events_256" / name
        self._images = root / "full_pic_256" / name
        self._poses = root / "pose_events" / name
        self._flows = root / "pred_flow_events_256" / name
        self._estimates = root / "hmr_results" / name
        self.event_frames = numbers_in(self._events, r"event(?P<k>\d{4,})\.png")
        self.image_frames = numbers_in(self._images, r"fullpic(?P<k>\d{4,})\.jpg")
        self.flow_frames = numbers_in(self._flows, r"flow(?P<k>\d{4,})\.pkl")
        self.estimate_frames = numbers_in(self._estimates, r"fullpic(?P<k>\d{4,})_hmr\.pkl")
        files = numbers_in(self._poses, r"pose(?P<k>\d{4,})\.pkl")
        info = self._poses / "pose_info.pkl"
        listed = set(whole_numbers(read_pickle(info), info)) if info.is_file() else set(files)
        self.pose_frames = tuple(k for k in files if k in listed)

    def event_frame(self, k: int) -> NDArray[np.bool_]:
        path = self._events / f"event{k:04d}.png"
        return check_event_frame(read_image(path, MMHPSD_SIZE, 4), str(path))

    def image(self, k: int) -> NDArray[np.uint8]:
        return read_image(self._images / f"fullpic{k:04d}.jpg", MMHPSD_SIZE, 1)

    def pose_record(self, k: int) -> dict[str, Any]:
        path = self._poses / f"pose{k:04d}.pkl"
        return dict(zip(_PARTS, _five(read_pickle(path), path), strict=True))

    def flow(self, k: int) -> NDArray[np.float32]:
        path = self._flows / f"flow{k:04d}.pkl"
        stored = read_pickle(path)
        if (
            not isinstance(stored, np.ndarray)
            or stored.shape != (2, *MMHPSD_SIZE)
            or stored.dtype != np.int16
        ):
            raise FormatError(f"{path}: flow must be (2, 256, 256) int16; got {_seen(stored)}.")
        return (stored / np.float32(FLOW_SCALE)).astype(np.float32)

    def estimate(self, k: int) -> ImageEstimate:
        path = self._estimates / f"fullpic{k:04d}_hmr.pkl"
        joints2d, joints3d, params, tran, feature = _five(read_pickle(path), path)
        values = numbers_of(params, 85, f"{path}: params")  # camera 3, theta 72, beta 10
        body = self.body_params(
            values[75:], values[3:75].reshape(24, 3), numbers_of(tran, 3, f"{path}: tran")
        )
        return ImageEstimate(
            params=body,
            joints3d=numbers_of(joints3d, 72, f"{path}: joints3d").reshape(24, 3),
            joints2d=numbers_of(joints2d, 48, f"{path}: joints2d").reshape(24, 2),
            feature=numbers_of(feature, 2048, f"{path}: feature").astype(np.float32),
        )

    def event_counts(self) -> dict[int, int]:
        """Non-zero entries of each event frame as `<seq>_info.pkl` lists them.

        Raises:
            MissingAssetError, FormatError: the list is absent or damaged.
        """
        path = self._events / f"{self.name}_info.pkl"
        stored = read_pickle(path)
        if not isinstance(stored, list | tuple) or len(stored) != 2 or len(stored[0]) != len(stored[1]):
            raise FormatError(f"{path}: must hold numbers of frames and as many counts; got {_seen(stored)}.")
        return dict(zip(whole_numbers(stored[0], path), whole_numbers(stored[1], path), strict=True))


def read_track_list(path: Path) -> list[tuple[str, int]]:
    """(sequence, first frame) of the clips that `train_track0802.pkl` or `test_track0802.pkl` lists.

    Raises:
        MissingAssetError, FormatError: the list is absent or damaged.
    """
    stored = read_pickle(path)
    if not isinstance(stored, list | tuple) or not all(
        isinstance(c, list | tuple) and len(c) == 2 and isinstance(c[0], str) and isinstance(c[1], int)
        for c in stored
    ):
        raise FormatError(f"{path}: must be a list of (sequence, first frame); got {_seen(stored)}.")
    return [(name, first) for name, first in stored]


def whole_numbers(value: Any, path: Path) -> list[int]:
    """A list or array of whole numbers as a list."""
    items = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(items, list | tuple) or not all(type(k) is int for k in items):
        raise FormatError(f"{path}: must hold a list of whole numbers; got {_seen(value)}.")
    return list(items)


def _five(stored: Any, path: Path) -> tuple[Any, ...]:
    if not isinstance(stored, list | tuple) or len(stored) != 5:
        raise FormatError(f"{path}: must hold five arrays; got {_seen(stored)}.")
    return tuple(stored)


def _seen(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.shape} {value.dtype}"
    size = f" of {len(value)}" if isinstance(value, list | tuple | dict) else ""
    return f"{type(value).__name__}{size}"
