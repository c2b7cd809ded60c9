"""Everything the decoding benchmark times: our two ways to read, what reading must cost, other libraries.

Other libraries are called the way their documents tell to get all events as NumPy arrays. Those under the GPL
are only measured here; the package imports none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from streams import KINDS, Facts

from eventhpe.events.open import open_recording

Columns = tuple[Any, Any, Any, Any]  # t, x, y, p

OURS = "eventhpe, whole arrays"
OURS_BLOCKS = "eventhpe, blocks"
FLOOR = "floor, fresh arrays"
FLOOR_BLOCKS = "floor, reused arrays"
AEDAT4 = ("aedat4-none", "aedat4-lz4", "aedat4-zstd")
_FLOOR_EVENTS = 1 << 17


@dataclass(frozen=True)
class Reader:
    """One way to read.

    Attributes:
        load: reads a file and returns (t, x, y, p) arrays with t in µs, or (blocks) just runs through them.
        kinds: what it can be asked to read.
        package: distribution that must be installed.
        walk: for readers by blocks: the blocks with absolute times, to check what was read.
        seconds: whether t comes as float seconds.
    """

    load: Callable[[Path], Any]
    kinds: tuple[str, ...]
    package: str = "eventhpe"
    walk: Callable[[Path], Iterator[Columns]] | None = None
    seconds: bool = False

    def facts(self, path: Path) -> Facts:
        """What is in the file, says this reader."""
        if self.walk is not None:
            return Facts.of(self.walk(path))
        t, x, y, p = self.load(path)
        return Facts.of(iter([(np.rint(np.asarray(t) * 1e6) if self.seconds else t, x, y, p)]))


def _ours(path: Path) -> Any:
    with open_recording(path) as recording:
        return recording.read()


def _ours_checked(path: Path) -> Iterator[Columns]:
    with open_recording(path) as recording:
        events = recording.read()
        yield events.t + np.int64(recording.t_offset_us), events.x, events.y, events.p


def _our_blocks(path: Path) -> int:
    with open_recording(path) as recording:
        return sum(len(events) for _, events in recording.once())


def _our_blocks_checked(path: Path) -> Iterator[Columns]:
    with open_recording(path) as recording:
        for offset, events in recording.once():
            yield events.t + np.int64(offset), events.x, events.y, events.p


def read_and_fill(path: Path, count: int, *, reuse: bool) -> object:
    """Read the file in blocks and fill the columns of `count` events, without decoding anything."""
    room = min(count, _FLOOR_EVENTS) if reuse else count
    columns = [np.empty(room, d) for d in (np.int64, np.uint16, np.uint16, np.uint8)]
    size = path.stat().st_size
    buffer = np.empty(max(1, size * _FLOOR_EVENTS // max(count, 1)), np.uint8)
    with path.open("rb", buffering=0) as file:
        for start in range(0, count, _FLOOR_EVENTS):
            file.readinto(buffer.data)
            place = slice(0, min(room, count - start)) if reuse else slice(start, start + _FLOOR_EVENTS)
            for column in columns:
                column[place] = 1
        while file.readinto(buffer.data):
            pass
    return columns


def _evutils(path: Path) -> Columns:
    from evutils.io import EventReader

    with EventReader(path) as reader:
        events = reader.read_all()
    return events.t, events.x, events.y, events.p


def _dv_recording(path: Path) -> Iterator[Any]:
    import dv_processing as dv

    recording = dv.io.MonoCameraRecording(str(path))
    while recording.isRunning():
        batch = recording.getNextEventBatch()
        if batch is not None:
            yield batch


def _dv_batches(path: Path) -> Columns:
    events = np.concatenate([batch.numpy() for batch in _dv_recording(path)])
    return events["timestamp"], events["x"], events["y"], events["polarity"]


def _dv_store(path: Path) -> Columns:
    import dv_processing as dv

    store = dv.EventStore()
    for batch in _dv_recording(path):
        store.add(batch)
    events = store.numpy()
    return events["timestamp"], events["x"], events["y"], events["polarity"]


def _fields(events: Any, polarity: str = "p") -> Columns:
    return events["t"], events["x"], events["y"], events[polarity]


def _aedat(path: Path) -> Columns:
    import aedat

    packets = [packet["events"] for packet in aedat.Decoder(str(path)) if "events" in packet]
    return _fields(np.concatenate(packets), "on")


def _faery(path: Path) -> Columns:
    import faery

    return _fields(faery.events_stream_from_file(path).to_array(), "on")


def _eventcv(path: Path) -> Columns:
    import eventcv

    options = {"topic": "/dvs/events"} if path.suffix == ".bag" else {}
    table = eventcv.load(str(path), **options).numpy()
    return table[:, 2], table[:, 0], table[:, 1], table[:, 3]


def _expelliarmus(path: Path) -> Columns:
    from expelliarmus import Wizard

    encoding = "dat" if path.suffix == ".dat" else path.name.split("-")[0]
    return _fields(Wizard(encoding=encoding).read(path))


def _evt3(path: Path) -> Columns:
    import evt3

    events = evt3.decode_file(str(path))
    return events.timestamp, events.x, events.y, events.polarity


def _polars_csv(path: Path) -> Columns:
    import polars

    return _fields({c.name: c.to_numpy() for c in polars.read_csv(path)})


def _polars_text(path: Path) -> Columns:
    import polars

    frame = polars.read_csv(
        path, separator=" ", skip_rows=1, has_header=False, new_columns=["t", "x", "y", "p"]
    )
    return _fields({c.name: c.to_numpy() for c in frame})


_ALL = tuple(KINDS)
READERS = {
    OURS: Reader(_ours, _ALL, walk=_ours_checked),
    OURS_BLOCKS: Reader(_our_blocks, _ALL, walk=_our_blocks_checked),
    "evutils": Reader(_evutils, tuple(k for k in _ALL if k not in ("text", "bag")), "evutils"),
    "dv-processing, one store": Reader(_dv_store, AEDAT4, "dv-processing"),
    "dv-processing, batches": Reader(_dv_batches, AEDAT4, "dv-processing"),
    "aedat": Reader(_aedat, AEDAT4, "aedat"),
    "faery": Reader(_faery, (*AEDAT4, "dat", "evt2", "evt3", "csv"), "faery"),
    "eventcv": Reader(
        _eventcv, ("aedat2", *AEDAT4, "dat", "evt2", "evt3", "ecf", "text", "csv", "bag"), "eventcv"
    ),
    "expelliarmus": Reader(_expelliarmus, ("dat", "evt2", "evt3"), "expelliarmus"),
    "evt3": Reader(_evt3, ("evt3",), "evt3"),
    "polars": Reader(_polars_csv, ("csv",), "polars"),
    "polars, float seconds": Reader(_polars_text, ("text",), "polars", seconds=True),
}
FLOORS = {FLOOR: False, FLOOR_BLOCKS: True}


class WrongEventsError(Exception):
    """A reader found other events than the file holds."""


def compare(found: Facts, expected: Facts, size: tuple[int, int]) -> str:
    """What is different but fair (axes not turned, a shifted clock), "" where nothing is.

    Raises:
        WrongEventsError: the events differ otherwise.
    """
    notes, wrong = [], []
    if found.count != expected.count:
        raise WrongEventsError(f"{found.count:,} events instead of {expected.count:,}")
    for axis, length in (("x", size[1]), ("y", size[0])):
        got, right = getattr(found, f"sum_{axis}"), getattr(expected, f"sum_{axis}")
        if got == (length - 1) * expected.count - right != right:
            notes.append(f"{axis} not turned")
        elif got != right:
            wrong.append(axis)
    if found.sum_p != expected.sum_p:
        wrong.append("p")
    span, right_span = found.last_us - found.first_us, expected.last_us - expected.first_us
    if span != right_span or found.sum_t_from_first != expected.sum_t_from_first:
        wrong.append(f"t (ends {span - right_span:+,} µs)")
    elif found.first_us != expected.first_us:
        notes.append(f"clock starts at {found.first_us:,} µs")
    if wrong:
        raise WrongEventsError(f"wrong {', '.join(wrong)}")
    return ", ".join(notes)
