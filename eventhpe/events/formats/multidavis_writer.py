"""AEDAT 2.0 of several cameras on one clock: what jAER's `MultiDAVIS346BCameraChip` records, as in DHP19.

Records as in AEDAT 2.0 of one DAVIS346 (big-endian 32-bit address, 32-bit µs), with the camera number in
the address:

    bits 30..22  259 - row        bit 11    1 = ON                      bits 3..0  camera
    bits 21..12  345 - column     bit 10    1 = special: an external input, only its time means anything

`aedat2.Aedat2Reader` reads it back. Rules: SensorsINI/DHP19 (its MATLAB reader) and jAER (docs/formats.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventhpe.atomic import AtomicWriter, PendingFile
from eventhpe.errors import FormatError, ShapeError
from eventhpe.events.formats.sensors import sensor_by_name, sensor_of_chip
from eventhpe.events.types import Events, RawEvents

MULTIDAVIS346_CLASS = "ch.unizh.ini.jaer.chip.multicamera.MultiDAVIS346BCameraChip"
"""Java class in the header; readers look at what follows the last dot."""

SPECIAL = 0x400
"""Address of an external input; jAER writes the camera number over the kind of edge."""

_SENSOR = sensor_by_name("MultiDAVIS346")
_Y_SHIFT, _X_SHIFT, _P_SHIFT = 22, 12, 11
_WRITE_BLOCK = 1 << 17  # records


def pack_addresses(x: NDArray[Any], y: NDArray[Any], p: NDArray[Any], camera: NDArray[Any]) -> NDArray[Any]:
    """(N,) uint32 address words of events at column x, row y, polarity p in {0, 1}, camera 0..3.

    The caller has checked that they lie inside the sensor.
    """
    height, width = _SENSOR.size
    address = (np.uint32(height - 1) - y.astype(np.uint32)) << np.uint32(_Y_SHIFT)
    address |= (np.uint32(width - 1) - x.astype(np.uint32)) << np.uint32(_X_SHIFT)
    address |= p.astype(np.uint32) << np.uint32(_P_SHIFT)
    address |= camera.astype(np.uint32)
    return address


def _header_lines(comment: str) -> list[str]:
    return [
        "#!AER-DAT2.0",
        "# This is a raw AE data file - do not edit",
        "# Data format is int32 address, int32 timestamp (8 bytes total), repeated for each event",
        "# Timestamps tick is 1 us",
        "# written by eventhpe",
        *(["# " + " ".join(comment.split())] if comment else []),
        f"# AEChip: {MULTIDAVIS346_CLASS}",
        # Some readers of DHP19 take this line for the last one, others go by the "#" alone.
        "#End of Preferences for this AEChip",
    ]


def _checked_header(path: Path, lines: Sequence[str]) -> list[str]:
    for line in lines:
        if not line.startswith("#") or not line.isascii() or not line.isprintable():
            raise FormatError(
                f"{path}: header lines must be printable ASCII that begins with #; got {line!r}."
            )
    if not lines or not lines[0].startswith("#!AER-DAT2"):
        raise FormatError(f"{path}: the first header line must be #!AER-DAT2.0; got {list(lines[:1])}.")
    chips = [line[1:].strip()[7:] for line in lines if line[1:].strip().startswith("AEChip:")]
    if len(chips) != 1 or sensor_of_chip(chips[0]) != _SENSOR:
        raise FormatError(
            f"{path}: one header line must be '# AEChip: {MULTIDAVIS346_CLASS}', else readers take the wrong "
            f"bits; got {chips}."
        )
    return list(lines)


class MultiDavisWriter(AtomicWriter):
    """Write events of up to four DAVIS346 as one AEDAT 2.0 file, in time order over all of them.

    The file takes its name when it is closed; as a context manager, when the block ends without an exception.

    Args:
        path: file to write.
        t_offset_us: added to every time; all must then lie in 0..2^32-1 µs (71 minutes), because readers of
            such files do not undo a wrap. DHP19's background filter starts with a map of zeros and lets
            everything pass up to 70,000 µs, so recordings should begin later than that.
        comment: a line for the header.
        header: all header lines without line ends, instead of those written by default.
        dummy_first: begin with a record that means nothing: an OFF event of camera 0 at column 0, row 0, 1 µs
            before the first record. DHP19's reader drops the first record of every file.
    Raises:
        FormatError: a header that readers would not accept, or the folder does not exist.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        t_offset_us: int = 1_000_000,
        comment: str = "",
        header: Sequence[str] | None = None,
        dummy_first: bool = True,
    ) -> None:
        self._path = Path(path)
        lines = _checked_header(self._path, _header_lines(comment) if header is None else header)
        self._offset, self._dummy_first = np.int64(t_offset_us), dummy_first
        self._last: int | None = None
        self._words = np.empty((_WRITE_BLOCK, 2), ">u4")
        self._pending = PendingFile(self._path)
        self._file = self._pending.temporary.open("wb")
        self._file.write("".join(line + "\r\n" for line in lines).encode("ascii"))

    def append(self, events: Events, camera: int) -> None:
        """Write the next events, all of one camera (0..3).

        Raises:
            FormatError: as `append_merged`.
        """
        if events.sensor_size != _SENSOR.size:
            raise FormatError(
                f"{self._path}: made for sensor_size {_SENSOR.size}; got events of {events.sensor_size}."
            )
        self.append_merged(events.t, events.x, events.y, events.p, np.full(len(events), camera))

    def append_merged(
        self, t: ArrayLike, x: ArrayLike, y: ArrayLike, p: ArrayLike, camera: ArrayLike
    ) -> None:
        """Write the next events, of several cameras.

        Args:
            t: (N,) integer µs, non-decreasing, also over calls.
            x, y: (N,) integer columns 0..345 and rows 0..259.
            p: (N,) 1 = ON, 0 = OFF.
            camera: (N,) 0..3.
        Raises:
            ShapeError: columns of several lengths, or not of integers.
            FormatError: times that decrease or that 32 bits cannot carry, events outside the sensor,
                polarities above 1, cameras above 3, or, without a dummy record, a first event that readers
                would take for a header line.
        """
        times = _integers(self._path, "t", t)
        columns = {"x": x, "y": y, "p": p, "camera": camera}
        given = {name: _integers(self._path, name, values) for name, values in columns.items()}
        lengths = {"t": len(times)} | {name: len(values) for name, values in given.items()}
        if len(set(lengths.values())) != 1:
            raise ShapeError(f"{self._path}: event columns must have one length; got {lengths}.")
        height, width = _SENSOR.size
        for name, end in (("x", width), ("y", height), ("p", 2), ("camera", _SENSOR.cameras)):
            values = given[name]
            if len(values) and not 0 <= int(values.min()) <= int(values.max()) < end:
                raise FormatError(
                    f"{self._path}: {name} must lie in 0..{end - 1}; got {values.min()}..{values.max()}."
                )
        for i in range(0, len(times), _WRITE_BLOCK):
            part = slice(i, i + _WRITE_BLOCK)
            self._write(pack_addresses(*(values[part] for values in given.values())), times[part])

    def append_words(self, addresses: ArrayLike, t: ArrayLike) -> None:
        """Write records whose address words, (N,) integers of 32 bits, are given as they shall stand in the
        file: special events, or the damaged ones of a test file. Only time is checked.

        Raises:
            ShapeError, FormatError: as `append_merged`.
        """
        words, times = _integers(self._path, "addresses", addresses), _integers(self._path, "t", t)
        if len(words) != len(times):
            raise ShapeError(f"{self._path}: {len(words)} addresses for {len(times)} times.")
        if len(words) and not 0 <= int(words.min()) <= int(words.max()) < 1 << 32:
            raise FormatError(f"{self._path}: addresses must have 32 bits; got {words.min()}..{words.max()}.")
        for i in range(0, len(times), _WRITE_BLOCK):
            self._write(words[i : i + _WRITE_BLOCK].astype(np.uint32), times[i : i + _WRITE_BLOCK])

    def special(self, t_us: int, camera: int = 0) -> None:
        """Write an external input, as the start and stop triggers of DHP19 are.

        Raises:
            FormatError: as `append_merged`.
        """
        if not 0 <= camera < _SENSOR.cameras:
            raise FormatError(f"{self._path}: camera must lie in 0..{_SENSOR.cameras - 1}; got {camera}.")
        self.append_words([SPECIAL | camera], [t_us])

    def _write(self, addresses: NDArray[Any], t: NDArray[Any]) -> None:
        """Write (N,) uint32 addresses, 0 < N <= _WRITE_BLOCK, after a check of their times."""
        t = t.astype(np.int64) + self._offset
        previous = t[0] if self._last is None else np.int64(self._last)
        if int(np.diff(t, prepend=previous).min()) < 0:
            raise FormatError(
                f"{self._path}: times must not decrease; {t.min()} µs came after {previous} µs."
            )
        if int(t[0]) < 0 or int(t[-1]) >= 1 << 32:
            raise FormatError(
                f"{self._path}: times must fit into 32-bit µs; got {t[0]}..{t[-1]} µs with t_offset_us = "
                f"{self._offset}. Use another t_offset_us."
            )
        if self._last is None:
            first = np.zeros(1, np.uint8)
            if self._dummy_first:
                self._put(pack_addresses(first, first, first, first), np.maximum(t[:1] - 1, 0))
            elif int(addresses[0]) >> 24 == ord("#"):
                raise FormatError(
                    f"{self._path}: the first record would begin with the byte of '#' (rows 116 to 119), and "
                    "readers would take it for a header line. Use dummy_first=True."
                )
        self._last = int(t[-1])
        self._put(addresses, t)

    def _put(self, addresses: NDArray[Any], t: NDArray[np.int64]) -> None:
        words = self._words[: len(t)]
        words[:, 0], words[:, 1] = addresses, t
        self._file.write(words.data)

    def close(self) -> None:
        """Complete the file and give it its name."""
        self._file.close()
        self._pending.close()

    def discard(self) -> None:
        """Give up and remove what was written."""
        self._file.close()
        self._pending.discard()


def _integers(path: Path, name: str, values: ArrayLike) -> NDArray[Any]:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iub"):
        raise ShapeError(f"{path}: {name} must be (N,) integers; got {array.shape} {array.dtype}.")
    return array


def merge_streams(streams: Mapping[int, Iterable[Events]]) -> Iterator[RawEvents]:
    """Events of several cameras on one clock, in the order of (time, camera number), block by block.

    Events of one time always come in one block, and the order does not depend on how the streams are cut into
    blocks. Memory holds one block of each stream and their merged events (more only where a stream holds more
    than a block of events of one time).

    Args:
        streams: camera number -> blocks of its events, times non-decreasing within and over blocks.
    Raises:
        FormatError: the sensors differ, or the times of a stream decrease.
    """
    sources = {camera: iter(streams[camera]) for camera in sorted(streams)}
    waiting: dict[int, Events] = {}
    for camera in list(sources):
        _refill(waiting, sources, camera)
    while waiting:
        # Whatever a stream has yet to give is not earlier than the last event it has given.
        ends = {camera: int(waiting[camera].t[-1]) for camera in sources}
        horizon = min(ends.values()) if ends else None
        ready: dict[int, Events] = {}
        for camera, events in list(waiting.items()):
            upto = len(events) if horizon is None else int(np.searchsorted(events.t, horizon, side="left"))
            if upto:
                ready[camera] = events.slice(0, upto)
            if upto < len(events):
                waiting[camera] = events.slice(upto, len(events))
            else:
                del waiting[camera]
        if ready:
            yield _merged(ready)
        for camera, end in ends.items():
            if end == horizon:
                _refill(waiting, sources, camera)


def _refill(waiting: dict[int, Events], sources: dict[int, Iterator[Events]], camera: int) -> None:
    """Append the next block of a camera to what waits of it; forget the source when it has no more."""
    for events in sources[camera]:
        if not len(events):
            continue
        held = waiting.get(camera)
        size = next((other.sensor_size for other in waiting.values()), events.sensor_size)
        if events.sensor_size != size:
            raise FormatError(f"camera {camera} has sensor_size {events.sensor_size}, another one {size}.")
        steps = np.diff(events.t, prepend=events.t[0] if held is None else held.t[-1])
        if int(steps.min()) < 0:
            raise FormatError(
                f"times of camera {camera} decrease; streams must be in time order to be merged."
            )
        if held is not None:
            t, x, y, p = (np.concatenate([getattr(held, c), getattr(events, c)]) for c in "txyp")
            events = Events(t, x, y, p, size)
        waiting[camera] = events
        return
    del sources[camera]


def _merged(parts: Mapping[int, Events]) -> RawEvents:
    """One block of several cameras' events; `parts` in the order of camera numbers."""
    columns = {name: np.concatenate([getattr(events, name) for events in parts.values()]) for name in "txyp"}
    lengths = [len(events) for events in parts.values()]
    camera = np.repeat(np.array(list(parts), np.uint8), lengths)
    order = np.argsort(columns["t"], kind="stable")
    t, x, y, p = (columns[name][order] for name in "txyp")
    return RawEvents(t, x, y, p, camera[order], next(iter(parts.values())).sensor_size)
