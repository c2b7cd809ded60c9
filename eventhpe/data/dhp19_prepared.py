"""DHP19 as frames and labels on disk: names, layout and reading of what the authors' script leaves.

    h5_dataset_7500_events/346x260/S1_session1_mov1_7500events.h5          /DVS  (N, 260, 346, 4)
    h5_dataset_7500_events/346x260/S1_session1_mov1_7500events_label.h5    /XYZ  (N, 3, 13) millimetres

Shapes are h5py's; MATLAB sees them reversed. The last axis of /DVS is the camera number of the files. The
authors' files hold 0..255 as float64; `prepare` writes uint8 and adds what is known of each window. Sets of
other windows (`prepare --mode modern`) have the same layout under names of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eventhpe.data.dhp19 import MOVEMENTS_PER_SESSION
from eventhpe.data.dhp19_cameras import DHP19_SIZE
from eventhpe.errors import FormatError, MissingAssetError
from eventhpe.events.formats.hdf5 import ProcessHandle, checked_dataset, hdf5_errors
from eventhpe.geometry.skeleton import DHP19_SKELETON

SIZE_FOLDER = "346x260"
OFFICIAL_VARIANT = "7500events"
"""Windows of 30,000 events over four cameras, named by their quarter."""

_JOINTS = len(DHP19_SKELETON.joints)
_NAME = re.compile(r"S(\d+)_session(\d+)_mov(\d+)_([A-Za-z0-9]+)(?:_ch(\d))?\.h5")


@dataclass(frozen=True, order=True)
class PreparedName:
    """What a prepared file is of.

    Attributes:
        subject, session, movement: as in `DHP19Movement`.
        variant: how windows were cut, e.g. "7500events".
        channel: camera number 0..3 where each camera has windows of its own, else None.
    """

    subject: int
    session: int
    movement: int
    variant: str = OFFICIAL_VARIANT
    channel: int | None = None

    @classmethod
    def parse(cls, file_name: str) -> PreparedName | None:
        """From the name of a file of frames; None for any other file."""
        match = _NAME.fullmatch(file_name)
        if match is None:
            return None
        s, e, m = (int(number) for number in match.groups()[:3])
        if not (1 <= s <= 17 and 1 <= e <= 5 and 1 <= m <= MOVEMENTS_PER_SESSION[e - 1]):
            return None
        return cls(s, e, m, match[4], None if match[5] is None else int(match[5]))

    @property
    def stem(self) -> str:
        base = f"S{self.subject}_session{self.session}_mov{self.movement}_{self.variant}"
        return base if self.channel is None else f"{base}_ch{self.channel}"

    def folder(self, root: Path) -> Path:
        """Folder of the variant; the authors put an underscore between number and word."""
        split = re.sub(r"(?<=\d)(?=[a-z])", "_", self.variant, count=1)
        return root / f"h5_dataset_{split}" / SIZE_FOLDER

    def frames_path(self, root: Path) -> Path:
        return self.folder(root) / f"{self.stem}.h5"

    def labels_path(self, root: Path) -> Path:
        return self.folder(root) / f"{self.stem}_label.h5"


class PreparedRecording:
    """Frames and labels of one movement (of one camera of it, where each has windows of its own).

    Frames are read one by one; labels once. Safe to pass to worker processes and to use after a fork.

    Attributes:
        name: which movement.
        frames_path, labels_path: the two files.
    """

    def __init__(self, name: PreparedName, frames_path: Path) -> None:
        self.name = name
        self.frames_path = frames_path
        self.labels_path = frames_path.with_name(f"{frames_path.stem}_label.h5")
        self._handle = ProcessHandle(frames_path)
        self._checked: set[str] = set()

    @property
    def subject(self) -> int:
        return self.name.subject

    @property
    def session(self) -> int:
        return self.name.session

    @property
    def movement(self) -> int:
        return self.name.movement

    @property
    def channel(self) -> int | None:
        """The camera, where frames are of one camera; then their last axis has one entry."""
        return self.name.channel

    @property
    def num_frames(self) -> int:
        return len(self.labels)

    @cached_property
    def labels(self) -> NDArray[np.float64]:
        """(N, 13, 3) millimetres in DHP19's world, joints of `DHP19_SKELETON`; NaN where missing."""
        xyz = self._column("XYZ", 3, "f", (3, _JOINTS))
        assert xyz is not None  # a set without labels has raised
        labels = np.ascontiguousarray(np.swapaxes(xyz, 1, 2), np.float64)
        labels.flags.writeable = False
        return labels

    @cached_property
    def t_last_us(self) -> NDArray[np.int64] | None:
        """(N,) time of each window's last event on the file's clock; None in the authors' own files."""
        return self._column("windows/t_last_us", 1, "iu", ())

    @cached_property
    def num_events(self) -> NDArray[np.int64] | None:
        """(N, C) events of each camera in each window; None in the authors' own files."""
        return self._column("windows/num_events", 2, "iu", None)

    def frames(self, k: int) -> NDArray[np.uint8]:
        """Frame k, (260, 346, C) uint8; C = 4 in order of camera numbers, or 1.

        Raises:
            IndexError: there is no such frame.
            FormatError: a damaged file, or values that are not integers of 0..255.
        """
        image = self._item("DVS", k, 3)
        if image.dtype == np.uint8:
            return image
        small = image.astype(np.uint8)
        if not np.array_equal(small, image):
            raise FormatError(f"{self.frames_path}: /DVS must hold integers of 0..255; frame {k} does not.")
        return small

    def voxels(self, k: int) -> NDArray[np.float32]:
        """Voxel grids of window k, (C, B, 260, 346) float32; for sets made with `--voxel-bins`.

        Raises:
            IndexError, FormatError: as `frames`, or the set holds images.
        """
        return self._item("voxels", k, 4).astype(np.float32, copy=False)

    def close(self) -> None:
        """Close the file of frames; reading opens it again."""
        self._handle.close()
        self._checked.clear()

    def _item(self, dataset: str, k: int, ndim: int) -> NDArray:
        n = self.num_frames
        if not -n <= k < n:
            raise IndexError(f"{self.frames_path}: frame {k} of {n}")
        if dataset not in self._checked:
            with self._handle.opening() as file:
                data = checked_dataset(file, dataset, self.frames_path, ndim + 1, "iuf")
                height, width = DHP19_SIZE
                place = data.shape[1:3] if dataset == "DVS" else data.shape[3:]
                cameras = data.shape[-1] if dataset == "DVS" else data.shape[1]
                expected = 4 if self.channel is None else 1
                if place != (height, width) or cameras != expected or len(data) != n:
                    raise FormatError(
                        f"{self.frames_path}: /{dataset} must hold {n} items (as many as labels) of "
                        f"{height} x {width} pixels and {expected} camera(s); its shape is {data.shape}."
                    )
                self._checked.add(dataset)
        k %= n
        with hdf5_errors(self.frames_path):
            return self._handle.rows(dataset, k, k + 1)[0]

    def _column(self, dataset: str, ndim: int, kinds: str, rest: tuple[int, ...] | None) -> NDArray | None:
        if not self.labels_path.is_file():
            raise MissingAssetError(
                f"{self.labels_path}: is not there, but {self.frames_path.name} is; prepare this movement "
                "again, or remove it."
            )
        handle = ProcessHandle(self.labels_path)
        with handle.opening() as file:
            if dataset not in file and dataset != "XYZ":
                handle.close()
                return None
            data = checked_dataset(file, dataset, self.labels_path, ndim, kinds)
            if rest is not None and data.shape[1:] != rest:
                raise FormatError(
                    f"{self.labels_path}: /{dataset} must be (N, {', '.join(map(str, rest))}) as h5py sees "
                    f"it; its shape is {data.shape}."
                )
            values = np.asarray(data[:])
        handle.close()
        return values

    def __len__(self) -> int:
        return self.num_frames

    def __repr__(self) -> str:
        return f"PreparedRecording({self.name.stem!r})"


class PreparedDHP19:
    """All prepared recordings under a folder, in order of subject, session and movement.

    Args:
        root: what was given to `prepare` as output, or a folder in it, or the authors' own files.
        variant: which set, where the folder holds several ("7500events", "50000us" ...).
    Raises:
        MissingAssetError: nothing is there.
        FormatError: several sets and no choice, or none of that name.
    """

    def __init__(self, root: str | Path, variant: str | None = None) -> None:
        self.root = Path(root)
        found: dict[PreparedName, Path] = {}
        for pattern in ("*.h5", "*/*.h5", "*/*/*.h5"):
            for path in self.root.glob(pattern):
                name = PreparedName.parse(path.name)
                if name is not None:
                    found.setdefault(name, path)
        if not found:
            raise MissingAssetError(
                f"{root}: expected S1_session1_mov1_7500events.h5 and the like; found none. "
                "`eventhpe prepare dhp19 ROOT -o OUT` makes them from DHP19's recordings."
            )
        variants = sorted({name.variant for name in found})
        if variant is None and len(variants) > 1:
            raise FormatError(f"{root}: holds several sets, {', '.join(variants)}; say which with variant=.")
        if variant is not None and variant not in variants:
            raise FormatError(f"{root}: no set {variant!r}; there is {', '.join(variants)}.")
        self.variant = variant or variants[0]
        self.recordings: tuple[PreparedRecording, ...] = tuple(
            PreparedRecording(name, found[name])
            for name in sorted(found, key=lambda n: (n.subject, n.session, n.movement, n.channel or 0))
            if name.variant == self.variant
        )

    def of(self, subjects: tuple[int, ...]) -> tuple[PreparedRecording, ...]:
        """Recordings of these subjects."""
        return tuple(r for r in self.recordings if r.subject in subjects)

    def close(self) -> None:
        for recording in self.recordings:
            recording.close()

    def __len__(self) -> int:
        return len(self.recordings)

    def __iter__(self) -> Iterator[PreparedRecording]:
        return iter(self.recordings)

    def __getitem__(self, k: int) -> PreparedRecording:
        return self.recordings[k]
