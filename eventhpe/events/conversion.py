"""From one recording to another file: one pass, decoding ahead while the last block is written."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np

from eventhpe.errors import FormatError, ShapeError
from eventhpe.events.formats.hdf5 import open_hdf5
from eventhpe.events.recording import OutOfOrderError, Recording
from eventhpe.events.sinks import Sink, open_sink
from eventhpe.events.store import STORE_FORMAT
from eventhpe.events.transforms import Changes, Transform, apply
from eventhpe.events.types import Events, ImuSamples, Triggers

T = TypeVar("T")
_DEPTH = (
    2  # blocks decoded ahead; with the one being written and the one being decoded, `once` has four buffers
)


@dataclass(frozen=True)
class Converted:
    """What was written, and what a user should know of it; stands for its path where one is wanted."""

    path: Path
    num_events: int
    duration_us: int
    notes: tuple[str, ...]

    def __fspath__(self) -> str:
        return str(self.path)


def convert(
    recording: Recording,
    out: str | Path,
    *,
    target: str = "eventhpe",
    compression: str | None = None,
    changes: Changes | None = None,
    provenance: Mapping[str, str] | None = None,
    overwrite: bool = False,
    progress: Callable[[int], object] = lambda count: None,
) -> Converted:
    """Write a recording, block by block, with its gray frames, triggers and IMU samples.

    Args:
        recording: any open recording; its chosen stream is written.
        out: file to write; replaced only with overwrite=True. It appears when it is complete.
        target: "eventhpe", "aedat2", "aedat4" or "dsec".
        compression: what the target offers (`sinks.TARGETS`); None: its default.
        changes: what to leave out or to move.
        provenance: short words added to what is stored about the source, or to a comment in the header.
        progress: called after every block with the number of events read so far.
    Raises:
        FormatError: the output exists, or its format cannot hold this recording.
        UnitError, CalibrationError: changes that do not fit the recording.
    """
    out = Path(out)
    if out.exists() and not overwrite:
        raise FormatError(f"{out} exists already; say overwrite=True (--overwrite) to replace it.")
    job = _Job(recording, out, target, compression, changes or Changes(), provenance or {}, progress)
    try:
        return job.run(recording.once())
    except OutOfOrderError:  # by now a second pass knows how to sort
        return job.run((recording.t_offset_us, events) for events in recording.blocks())


@dataclass
class _Job:
    recording: Recording
    out: Path
    target: str
    compression: str | None
    changes: Changes
    provenance: Mapping[str, str]
    progress: Callable[[int], object]

    def run(self, blocks: Iterator[tuple[int, Events]]) -> Converted:
        transforms = self.changes.transforms(self.recording)
        sink: Sink | None = None
        read = written = 0
        try:
            for offset, events in ahead(blocks):
                if sink is None:
                    sink = self._sink(transforms, offset)
                read += len(events)
                kept = apply(transforms, self._in_time(events))
                if len(kept):
                    sink.append(kept)
                written += len(kept)
                self.progress(read)
            if sink is None:
                sink = self._sink(transforms, self.recording.t_offset_us)
            notes = (*self.recording.warnings, *self._beside(sink, transforms))
            self._labels(sink)
            stop, end = self.changes.stop_us, self.recording.end_us
            duration = max(0, (end if stop is None else min(end, stop)) - self.changes.start_us)
            sink.finish(self._provenance(transforms, notes), duration)
        except BaseException:
            if sink is not None:
                sink.discard()
            raise
        return Converted(self.out, written, duration, (*notes, *sink.notes))

    def _sink(self, transforms: list[Transform], offset: int) -> Sink:
        size = transforms[-1].sensor_size if transforms else self.recording.sensor_size
        comment = " ".join(f"{key}={value}" for key, value in self.provenance.items())
        start = offset + self.changes.start_us
        return open_sink(self.out, self.target, size, start, self.compression, comment)

    def _in_time(self, events: Events) -> Events:
        if self.changes.whole_time:
            return events
        start, stop = self.changes.start_us, self.changes.stop_us
        part = events.between(start, int(events.t[-1]) + 1 if stop is None else stop)
        return Events(part.t - np.int64(start), part.x, part.y, part.p, part.sensor_size)

    def _beside(self, sink: Sink, transforms: list[Transform]) -> list[str]:
        """Frames, triggers and IMU samples of the kept time; returns what had to be left out."""
        start, lost = self.changes.start_us, []
        frames, triggers, imu = self.recording.frames, self.recording.triggers, self.recording.imu
        for k in range(len(frames) if frames is not None else 0):
            assert frames is not None
            t = int(frames.t_us[k])
            if not self.changes.inside(t):
                continue
            try:
                image = frames[k]
                for transform in transforms:
                    image = transform.image(image)
                sink.append_frame(t - start, np.ascontiguousarray(image))
            except (FormatError, ShapeError) as error:
                lost.append(f"frame {k} left out: {error}")
        if triggers is not None:
            i, j = self._span(triggers.t_us)
            t_us = triggers.t_us[i:j] - np.int64(start)
            sink.append_triggers(Triggers(t_us, triggers.value[i:j], triggers.channel[i:j]))
        if imu is not None:
            i, j = self._span(imu.t_us)
            t_us = imu.t_us[i:j] - np.int64(start)
            sink.append_imu(ImuSamples(t_us, imu.accel[i:j], imu.gyro[i:j], imu.temperature[i:j]))
        return lost if len(lost) < 10 else [*lost[:3], f"{len(lost) - 3} more frames left out"]

    def _labels(self, sink: Sink) -> None:
        """What synthetic recordings carry beside what cameras do."""
        if self.recording.format != STORE_FORMAT:
            return
        with open_hdf5(Path(self.recording.source)) as file:
            if isinstance(file.get("labels"), h5py.Group):
                sink.append_labels(file["labels"], registered=self.changes == Changes())

    def _span(self, t_us: np.ndarray) -> tuple[int, int]:
        if self.changes.whole_time:
            return 0, len(t_us)
        stop = self.changes.stop_us
        j = len(t_us) if stop is None else int(np.searchsorted(t_us, stop))
        return int(np.searchsorted(t_us, self.changes.start_us)), j

    def _provenance(self, transforms: list[Transform], notes: tuple[str, ...]) -> dict[str, Any]:
        told: dict[str, Any] = {
            "source": Path(self.recording.source).name,
            "source_format": self.recording.format,
            "source_streams": list(self.recording.streams),
            "warnings": list(notes),
        }
        if transforms:
            told["transforms"] = [t.text for t in transforms]
        if not self.changes.whole_time:
            told["time_range_us"] = [self.changes.start_us, self.changes.stop_us]
        return {**told, **self.provenance}


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, made by a thread that works up to two items ahead (kernels and decompressors free the
    GIL)."""
    ready: queue.Queue[tuple[str, Any]] = queue.Queue(_DEPTH)
    stopped = threading.Event()

    def put(kind: str, value: Any) -> None:
        while not stopped.is_set():
            try:
                ready.put((kind, value), timeout=0.1)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put("item", item)
                if stopped.is_set():
                    return
            put("end", None)
        except BaseException as error:
            put("error", error)

    thread = threading.Thread(target=work, name="decode ahead", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = ready.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        stopped.set()
        thread.join()
