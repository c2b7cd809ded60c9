"""Files that a recording can be written to, behind one face."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import FormatError
from eventhpe.events.store_writer import StoreWriter
from eventhpe.events.types import Events, ImuSamples, Triggers


@dataclass(frozen=True)
class Target:
    """A format to write: its short name, the usual file suffix, its compressions (the first is the
    default)."""

    name: str
    label: str
    suffix: str
    compressions: tuple[str, ...]


TARGETS = (
    Target("eventhpe", "eventhpe HDF5", ".h5", ("bitshuffle-lz4", "gzip", "none")),
    Target("aedat2", "AEDAT 2.0", ".aedat", ("none",)),
    Target("aedat4", "AEDAT 4.0", ".aedat4", ("lz4", "zstd", "none")),
    Target("dsec", "DSEC HDF5", ".h5", ("blosc-zstd",)),
)


def target_named(name: str) -> Target:
    """Raises FormatError for an unknown name."""
    for target in TARGETS:
        if target.name == name:
            return target
    raise FormatError(f"cannot write {name!r}; choose one of {', '.join(t.name for t in TARGETS)}.")


class Writer(Protocol):
    """What every writer offers. Those whose format has a place for them also have `append_frame`,
    `append_triggers` and `append_imu`."""

    def append(self, events: Events) -> None: ...

    def close(self) -> None: ...

    def discard(self) -> None: ...


class Sink:
    """A file being written; times are relative to the offset it was opened with.

    Attributes:
        notes: what the format could not hold.
    """

    def __init__(self, writer: Writer, label: str) -> None:
        self._writer = writer
        self._label = label
        self.notes: list[str] = []

    def append(self, events: Events) -> None:
        """The next block of events, in time order."""
        self._writer.append(events)

    def append_frame(self, t_us: int, image: NDArray[np.uint8]) -> None:
        """A gray frame, (H, W) uint8."""
        self._beside("gray frames", "append_frame", t_us, image)

    def append_triggers(self, triggers: Triggers) -> None:
        """All triggers; those that the format cannot tell apart are left out and told."""
        held = getattr(self._writer, "holds_triggers", None)
        if held is not None:
            keep = held(triggers)
            if not keep.all():
                self.notes.append(
                    f"{int((~keep).sum()):,} triggers left out: {self._label} has no place for their inputs"
                )
                triggers = Triggers(triggers.t_us[keep], triggers.value[keep], triggers.channel[keep])
        if len(triggers):
            self._beside("triggers", "append_triggers", triggers)

    def append_imu(self, imu: ImuSamples) -> None:
        """All IMU samples."""
        if len(imu):
            self._beside("IMU samples", "append_imu", imu)

    def append_labels(self, labels: h5py.Group, *, registered: bool) -> None:
        """Labels of a synthetic recording; `registered`: they still belong to the events."""
        if isinstance(self._writer, StoreWriter) and registered:
            labels.file.copy(labels, self._writer.file, "labels")
        else:
            self.notes.append("labels left out: they belong to the recording as it was")

    def _beside(self, what: str, method: str, *arguments: Any) -> None:
        note = f"{what} left out: {self._label} has no place for them"
        if not hasattr(self._writer, method):
            if note not in self.notes:
                self.notes.append(note)
            return
        getattr(self._writer, method)(*arguments)

    def finish(self, provenance: dict[str, Any], duration_us: int) -> None:
        """Complete the file and give it its name; formats without a place for provenance drop it."""
        if hasattr(self._writer, "provenance"):
            self._writer.provenance = provenance
        if isinstance(self._writer, StoreWriter):
            self._writer.duration_us = duration_us
        self._writer.close()

    def discard(self) -> None:
        """Give up and remove what was written."""
        self._writer.discard()


def open_sink(
    path: Path,
    target: str,
    sensor_size: tuple[int, int],
    t_offset_us: int,
    compression: str | None = None,
    comment: str = "",
) -> Sink:
    """A new file of the target format.

    Args:
        comment: a line for the header of formats that keep no provenance.
    Raises:
        FormatError: unknown target or compression, or a sensor that the format cannot describe.
    """
    kind = target_named(target)
    compression = kind.compressions[0] if compression is None else compression
    if compression not in kind.compressions:
        raise FormatError(
            f"{kind.label} has no compression {compression!r}; choose one of {', '.join(kind.compressions)}."
        )
    note = ""
    if kind.name == "aedat2" and not 0 <= t_offset_us < 1 << 32:
        note = f"times count from 0: {t_offset_us} µs does not fit into the 32 bits of {kind.label}"
        t_offset_us = 0
    sink = Sink(_open_writer(path, kind.name, sensor_size, t_offset_us, compression, comment), kind.label)
    sink.notes += [note] if note else []
    return sink


def _open_writer(
    path: Path, name: str, sensor_size: tuple[int, int], t_offset_us: int, compression: str, comment: str
) -> Writer:
    # Imports wait until a format is written: each pulls its own libraries.
    if name == "aedat2":
        from eventhpe.events.formats.aedat2 import Aedat2Writer

        return Aedat2Writer(path, sensor_size, t_offset_us=t_offset_us, comment=comment)
    if name == "aedat4":
        from eventhpe.events.formats.aedat4_writer import Aedat4Writer

        return Aedat4Writer(
            path, sensor_size, t_offset_us=t_offset_us, compression=compression, comment=comment
        )
    if name == "dsec":
        from eventhpe.events.formats.dsec_writer import DsecWriter

        return DsecWriter(path, sensor_size, t_offset_us=t_offset_us)
    return StoreWriter(path, sensor_size, t_offset_us=t_offset_us, compression=compression)
