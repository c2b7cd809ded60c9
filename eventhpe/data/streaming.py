"""Training data that is generated while training runs: new people for every step, or a cached set of them.

Work is cut into groups: a few recordings, and the batches drawn from them. Group g depends on (seed, g) alone
and groups are handed out in order, so the batches are the same at any number of workers, and a training goes
on at any batch where it stopped.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch.utils.data import IterableDataset

from eventhpe.atomic import PendingFile
from eventhpe.data.generator import GeneratorConfig
from eventhpe.data.ordered_pool import ordered_map
from eventhpe.data.plan import Job, make_recording
from eventhpe.data.sample import Clip, FlowPair, collate
from eventhpe.data.settings_file import settings_text
from eventhpe.data.synthetic import ClipDataset, FlowDataset
from eventhpe.errors import FormatError, ShapeError


@dataclass(frozen=True)
class ClipSamples:
    """Clips for ShapeNet, drawn as `ClipDataset` does."""

    num_windows: int
    size_px: int
    kind: str = "counts"
    augment: bool = True
    rest_pelvis_x: float = 0.0
    steady_crop: bool = False

    def open(self, folder: Path, length: int, seed: int) -> ClipDataset:
        """The data set over a folder of recordings."""
        return ClipDataset(
            folder, length=length, num_windows=self.num_windows, size_px=self.size_px, kind=self.kind,
            seed=seed, augment=self.augment, rest_pelvis_x=self.rest_pelvis_x, steady_crop=self.steady_crop,
        )  # fmt: skip


@dataclass(frozen=True)
class FlowSamples:
    """Windows for FlowNet, drawn as `FlowDataset` does."""

    size_px: int
    kind: str = "counts"
    augment: bool = True

    def open(self, folder: Path, length: int, seed: int) -> FlowDataset:
        """The data set over a folder of recordings."""
        return FlowDataset(
            folder, length=length, size_px=self.size_px, kind=self.kind, seed=seed, augment=self.augment
        )


class Samples(Protocol):
    """How samples are drawn from a folder of recordings."""

    def open(self, folder: Path, length: int, seed: int) -> Any: ...


@dataclass(frozen=True)
class StreamConfig:
    """Where a stream's recordings come from.

    Attributes:
        generator: settings of the recordings.
        motions: folder of clips to draw from; held-out subjects are left out.
        seed: of recordings and samples.
        recordings: how many a group holds.
        batches: how many are drawn from a group.
        cache: folder to keep recordings in, for more passes over them; None = used once and removed.
        num_groups: groups until the stream begins again with the same recordings (in new samples); 0 = never.
            With a cache they are then read instead of made.
    Raises:
        ShapeError: a number that makes no sense; the field is named.
    """

    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    motions: Path | None = None
    seed: int = 0
    recordings: int = 4
    batches: int = 6
    cache: Path | None = None
    num_groups: int = 0

    def __post_init__(self) -> None:
        for name, least in (("recordings", 1), ("batches", 1), ("num_groups", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise ShapeError(f"StreamConfig.{name} must be at least {least}; got {getattr(self, name)}.")
        if self.cache is not None and self.num_groups == 0:
            raise ShapeError("StreamConfig.cache needs num_groups, or it would grow without end.")


class SampleStream(IterableDataset[Any]):
    """Endless batches, in an order that depends on the configuration alone.

    Iterating raises FormatError where the cache holds recordings that were made otherwise.

    Args:
        config: where recordings come from.
        samples: what is drawn from them.
        batch_size: samples in a batch.
        workers: processes that generate ahead; 0 = this process.

    Attributes:
        offset: samples to pass over, to go on where an earlier run stopped; a multiple of the batch size.
    """

    def __init__(self, config: StreamConfig, samples: Samples, *, batch_size: int, workers: int) -> None:
        self.config, self.samples, self.batch_size, self.workers = config, samples, batch_size, workers
        self.offset = 0

    @property
    def num_recordings(self) -> int:
        """Different recordings in the stream; 0 = without end."""
        return self.config.num_groups * self.config.recordings

    def __iter__(self) -> Iterator[Clip | FlowPair]:
        _claim_cache(self.config)
        skip, first = self.offset // self.batch_size, 0
        first, skip = divmod(skip, self.config.batches)
        # The scratch folder is ours, not the workers': they may be killed in the middle of a group.
        with tempfile.TemporaryDirectory(prefix="eventhpe-stream-") as scratch:
            tasks = (
                _Task(self.config, self.samples, self.batch_size, number, Path(scratch))
                for number in count(first)
            )
            with closing(ordered_map(_make_group, tasks, workers=self.workers)) as groups:
                for batches in groups:
                    yield from batches[skip:]
                    skip = 0


@dataclass(frozen=True)
class _Task:
    config: StreamConfig
    samples: Samples
    batch_size: int
    number: int
    """Place in the stream; groups repeat after `num_groups`, their samples do not."""
    scratch: Path
    """Folder for recordings that are not kept."""


def _make_group(task: _Task) -> list[Clip | FlowPair]:
    """Make (or find) the recordings of a group and draw its batches."""
    c = task.config
    group = task.number % c.num_groups if c.num_groups else task.number
    if c.cache is None:
        with tempfile.TemporaryDirectory(dir=task.scratch) as folder:
            return _draw_batches(task, _record(c, Path(folder), group))
    return _draw_batches(task, _record(c, c.cache / f"{group:06d}", group))


def _claim_cache(config: StreamConfig) -> None:
    """Write down in the cache how its recordings are made.

    Raises:
        FormatError: it holds recordings that were made otherwise.
    """
    if config.cache is None:
        return
    text = (
        f"# eventhpe stream: seed {config.seed}, {config.recordings} recordings in a group, "
        f"motions {config.motions}\n{settings_text(config.generator)}"
    )
    config.cache.mkdir(parents=True, exist_ok=True)
    path = config.cache / "settings.yaml"
    if not path.exists():
        with PendingFile(path) as pending:
            pending.temporary.write_text(text)
    elif path.read_text() != text:
        raise FormatError(
            f"{path}: the recordings of this cache were made with another preset, seed, motions or settings; "
            "give another folder."
        )


def _record(config: StreamConfig, folder: Path, group: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(config.recordings):
        output = folder / f"{n:03d}.h5"
        if not output.exists():
            index = group * config.recordings + n
            make_recording(Job(output, config.generator, config.seed, index, motions=config.motions))
    return folder


def _draw_batches(task: _Task, folder: Path) -> list[Clip | FlowPair]:
    length = task.config.batches * task.batch_size
    seed = int(np.random.default_rng([task.config.seed, 77, task.number]).integers(2**31))
    drawn = task.samples.open(folder, length, seed)
    samples = [drawn[i] for i in range(length)]
    drawn.close()
    B = task.batch_size
    return [collate(samples[k : k + B]) for k in range(0, length, B)]


def stream_config(preset: GeneratorConfig, *, motions: Path | None, seed: int, flow: bool) -> StreamConfig:
    """Stream of a preset's recordings; dense flow is stored only where samples need it."""
    return StreamConfig(replace(preset, flow_labels=flow), motions=motions, seed=seed)
