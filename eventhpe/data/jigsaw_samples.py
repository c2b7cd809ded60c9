"""Crops of moving people from any recordings, without labels, for jigsaw puzzles (shapenet/hsjp.py).

Person boxes come from event density, as captures find people. Windows have random lengths, so that event
rates tell nothing; what is drawn depends on (seed, index) alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from eventhpe.data.crops import SquareCrop
from eventhpe.data.windows import INPUT_KINDS, WINDOW_US, window_frames
from eventhpe.errors import FormatError, MissingAssetError, ShapeError
from eventhpe.events.filters import background_activity, hot_pixel_mask, select
from eventhpe.events.formats.sniff import sniff
from eventhpe.events.frames import count_frame, crop_counts
from eventhpe.events.open import open_recording
from eventhpe.events.person_box import PersonFinder
from eventhpe.events.recording import Recording
from eventhpe.events.types import Events
from eventhpe.shapenet.jigsaw import LIVE_SHARE, live_patches

SUPPORT_US = 20_000
"""Support time of the noise filter before people are looked for, as in a capture."""

TRIES = 60
"""Draws after which a folder counts as one without moving people."""

_BEFORE, _AFTER = 6, 5
"""Windows around the end of a sample in which its person is looked for."""


class JigsawSample(NamedTuple):
    """One crop (or a batch of them, with a leading B).

    Attributes:
        frames: (C, S, S) float32 network input.
        counts: (n,) int64 events per patch, row by row.
    """

    frames: Tensor
    counts: Tensor


@dataclass(frozen=True)
class JigsawSamples:
    """How samples are drawn.

    Attributes:
        size_px: S, side of the network input.
        rows, columns: of patches; both divide S.
        kind: input kind (see data.windows).
        augment: vary crop, polarity and pixels, and mirror. Off: windows still differ in length.
        window_us: shortest and longest window, drawn log-uniformly.
        dropout: up to this share of the pixels is silenced.
        live_share: of the crop's mean events per patch; a patch with less is blank, and a crop of which more
            than half is blank is not used.
    Raises:
        ShapeError: a number that makes no sense; the field is named.
    """

    size_px: int
    rows: int = 4
    columns: int = 4
    kind: str = "counts"
    augment: bool = True
    window_us: tuple[int, int] = (20_000, 200_000)
    dropout: float = 0.1
    live_share: float = LIVE_SHARE

    def __post_init__(self) -> None:
        if self.kind not in INPUT_KINDS:
            raise ShapeError(
                f"JigsawSamples.kind must be one of {', '.join(INPUT_KINDS)}; got {self.kind!r}."
            )
        if (
            min(self.size_px, self.rows, self.columns) < 1
            or self.size_px % self.rows + self.size_px % self.columns
        ):
            raise ShapeError(
                f"JigsawSamples.rows and columns must divide size_px; got {self.rows} x {self.columns} "
                f"patches of {self.size_px} px."
            )
        if not 8 <= self.window_us[0] <= self.window_us[1]:
            raise ShapeError(f"JigsawSamples.window_us must be (low, high) in µs; got {self.window_us}.")
        for name in ("dropout", "live_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ShapeError(f"JigsawSamples.{name} must lie in [0, 1); got {getattr(self, name)}.")

    def open(self, folder: str | Path | Sequence[Path], length: int, seed: int) -> JigsawDataset:
        """The data set over all recordings under a folder, of any format, or over chosen ones."""
        paths = list(folder) if not isinstance(folder, str | Path) else event_files(folder)
        return JigsawDataset(paths, self, length=length, seed=seed)


def event_files(folder: str | Path) -> list[Path]:
    """The files under a folder, subfolders included, that are event recordings by content; or the one file.

    Raises:
        MissingAssetError: there are none.
    """
    folder = Path(folder)
    files = [folder] if folder.is_file() else sorted(p for p in folder.rglob("*") if p.is_file())
    found = [path for path in files if _is_recording(path)]
    if not found:
        raise MissingAssetError(
            f"{folder}: none of {len(files)} files is an event recording; docs/formats.md lists what can be "
            "read."
        )
    return found


def _is_recording(path: Path) -> bool:
    try:
        sniff(path)
    except FormatError:
        return False
    return True


class JigsawDataset(Dataset[JigsawSample]):
    """Samples from recordings; opened on first use in each process.

    Args:
        paths: recordings.
        options: how samples are drawn.
        length: samples in one pass.
        seed: of the draws.
    """

    def __init__(self, paths: Sequence[Path], options: JigsawSamples, *, length: int, seed: int = 0) -> None:
        self.paths, self.options, self.length, self.seed = list(paths), options, length, seed
        self.offset = 0
        """Added to every index, to go on where an earlier run stopped."""
        self._open: dict[Path, Recording] = {}

    def close(self) -> None:
        """Close the recordings; they are opened again when a sample needs them."""
        for recording in self._open.values():
            recording.close()
        self._open.clear()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> JigsawSample:
        if not 0 <= index < self.length:
            raise IndexError(index)
        rng = np.random.default_rng([self.seed, self.offset + index])
        for _ in range(TRIES):
            sample = self._draw(self._recording(self.paths[int(rng.integers(len(self.paths)))]), rng)
            if sample is not None:
                return sample
        raise FormatError(
            f"{self.paths[0].parent}: found no moving person in {TRIES} draws from {len(self.paths)} "
            "recordings; see what is in them with `eventhpe info`."
        )

    def _recording(self, path: Path) -> Recording:
        if path not in self._open:
            self._open[path] = open_recording(path)
        return self._open[path]

    def _draw(self, recording: Recording, rng: np.random.Generator) -> JigsawSample | None:
        o = self.options
        length = int(np.exp(rng.uniform(*np.log(o.window_us))))
        if recording.end_us <= length:
            return None
        t1 = int(rng.integers(length, recording.end_us)) + 1
        start = max(0, t1 - _BEFORE * WINDOW_US)
        around = recording.between(min(start, t1 - length), t1 + _AFTER * WINDOW_US)
        around = select(around, ~hot_pixel_mask(count_frame(around))[around.y, around.x])
        crop = person_crop(around, start, t1, rng if o.augment else None)
        if crop is None:
            return None
        events = around.between(t1 - length, t1)
        if o.augment:
            events = thin_pixels(events, rng, o.dropout)
        frames = window_frames(events, crop, t0_us=t1 - length, t1_us=t1, out_px=o.size_px, kind=o.kind)
        counts = patch_counts(
            events, crop, t0_us=t1 - length, t1_us=t1, size_px=o.size_px, grid=(o.rows, o.columns)
        )
        if o.augment and rng.random() < 0.5:
            frames = np.ascontiguousarray(frames[:, :, ::-1])
            counts = np.ascontiguousarray(counts[:, ::-1])
        sample = JigsawSample(torch.from_numpy(frames), torch.from_numpy(counts.reshape(-1)))
        live = live_patches(sample.counts, o.live_share)
        return sample if 2 * int(live.sum()) >= live.numel() else None


def person_crop(
    events: Events, start_us: int, t1_us: int, rng: np.random.Generator | None
) -> SquareCrop | None:
    """Square around the person of the window that ends at t1; None where nobody moves.

    Args:
        events: of half a second around it, from `start_us` on.
        rng: to vary margin and place; None = margin 1.2, centred.
    """
    finder, end = PersonFinder(), t1_us + _AFTER * WINDOW_US
    densities = [
        finder.density(background_activity(events.between(t, t + WINDOW_US), dt_us=SUPPORT_US))
        for t in range(start_us, end - WINDOW_US + 1, WINDOW_US)
    ]
    box = finder.boxes(densities, events.sensor_size)[max(0, (t1_us - start_us) // WINDOW_US - 1)]
    if box is None:
        return None
    if rng is None:
        return SquareCrop.around(box, 1.2)
    crop = SquareCrop.around(box, float(rng.uniform(1.0, 1.4)))
    dx, dy = np.clip(rng.normal(0, 0.05, 2), -0.1, 0.1) * crop.side
    return SquareCrop(crop.left + dx, crop.top + dy, crop.side)


def thin_pixels(events: Events, rng: np.random.Generator, dropout: float) -> Events:
    """Silence a share of the pixels, up to `dropout`, and swap the polarities of all events or of none."""
    silent = rng.random(events.sensor_size) < rng.uniform(0, dropout)
    kept = select(events, ~silent[events.y, events.x])
    if rng.random() < 0.5:
        return kept
    return Events(kept.t, kept.x, kept.y, (1 - kept.p).astype(np.uint8), kept.sensor_size)


def patch_counts(
    events: Events, crop: SquareCrop, *, t0_us: int, t1_us: int, size_px: int, grid: tuple[int, int]
) -> NDArray[np.int64]:
    """(rows, columns) events in the patches of a crop that becomes size_px x size_px."""
    rows, columns = grid
    cells = crop_counts(
        events.between(t0_us, t1_us), t0_us=t0_us, t1_us=t1_us, left=crop.left, top=crop.top, side=crop.side,
        out_px=size_px, num_bins=1,
    ).sum(0, dtype=np.float64)  # fmt: skip
    patches = cells.reshape(rows, size_px // rows, columns, size_px // columns).sum((1, 3))
    return np.rint(patches).astype(np.int64)
