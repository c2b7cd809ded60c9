"""Is a folder with MMHPSD whole? Both layouts, file by file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from eventhpe.data.inspection import Inspection
from eventhpe.data.mmhpsd import MMHPSD
from eventhpe.data.mmhpsd_read_a import SequenceA, read_track_list, whole_numbers
from eventhpe.data.mmhpsd_read_b import SequenceB
from eventhpe.data.mmhpsd_sequence import NUM_GROUPS, NUM_SUBJECTS, NUM_TIMES, sequence_name
from eventhpe.data.mmhpsd_stored import StoredSequence
from eventhpe.data.safe_pickle import read_pickle
from eventhpe.errors import EventHPEError

RELEASED = 178
"""Sequences of the release, of 180 that were recorded; which two are absent is not told."""


def inspect_mmhpsd(root: str | Path) -> Inspection:
    """Look at every file that the sequences of a folder must have.

    Besides, the first and the last file of each kind of every sequence are read completely.

    Raises:
        MissingAssetError, FormatError: the folder holds no MMHPSD, or both layouts.
    """
    data = MMHPSD(root)
    found = Inspection(f"mmhpsd, layout {data.layout}", data.root)
    own = data.body.model == "open"
    found.facts.append(
        f"{len(data.names)} sequences of {'our own making' if own else f'{RELEASED} released'}"
    )
    if not own:
        _look_for_sequences(found, data)
    frames = poses = 0
    for name in data.names:
        try:
            sequence = data.sequence(name)
        except EventHPEError as error:
            found.add(data.root / "pose_events" / name / "pose_info.pkl", str(error).split(": ", 1)[-1])
            continue
        if isinstance(sequence, SequenceA):
            _look_at_a(found, sequence)
        elif isinstance(sequence, SequenceB):
            _look_at_b(found, sequence)
        frames, poses = frames + len(sequence.image_frames), poses + len(sequence.pose_frames)
    if data.layout == "A":
        for split in ("train", "test"):
            path = data.root / f"{split}_track0802.pkl"
            found.look_at([path], grave=False)
            if path.is_file():
                found.try_reading(path, lambda path=path: read_track_list(path))  # type: ignore[misc]
    found.facts.append(f"{frames:,} gray frames, {poses:,} poses; body model {data.body.model}")
    return found


def _look_for_sequences(found: Inspection, data: MMHPSD) -> None:
    expected = {
        sequence_name(s, g, t)
        for s in range(1, NUM_SUBJECTS + 1)
        for g in range(1, NUM_GROUPS + 1)
        for t in range(1, NUM_TIMES + 1)
    }
    absent = sorted(expected - set(data.names))
    folder = data.root / ("events_256" if data.layout == "A" else "mmhpsd_events")
    for name in absent:
        found.add(folder / name, "is absent", grave=len(absent) > len(expected) - RELEASED)


def _look_at_a(found: Inspection, s: SequenceA) -> None:
    root, name = s.root, s.name
    events, pictures = root / "events_256" / name, root / "full_pic_256" / name
    poses, flows = root / "pose_events" / name, root / "pred_flow_events_256" / name
    estimates = root / "hmr_results" / name
    lists = [events / f"{name}_info.pkl", poses / "pose_info.pkl"]
    found.look_at(lists)
    expected: Iterable[int] = _intervals(s)
    if lists[0].is_file():
        found.try_reading(lists[0], s.event_counts)
        try:
            expected = sorted({*s.event_counts(), *expected})
        except EventHPEError:
            pass  # noted above
    _series(found, events, "event{:04d}.png", s.event_frames, expected)
    _series(found, pictures, "fullpic{:04d}.jpg", s.image_frames, expected)
    listed = whole_numbers(read_pickle(lists[1]), lists[1]) if lists[1].is_file() else s.pose_frames
    _series(found, poses, "pose{:04d}.pkl", s.pose_frames, listed)
    _optional(
        found, flows, "flow{:04d}.pkl", s.flow_frames, "flow; only the parity ShapeNet's cache needs it"
    )
    _optional(
        found, estimates, "fullpic{:04d}_hmr.pkl", s.estimate_frames,
        "estimates from pictures; starts from them cannot be evaluated",
    )  # fmt: skip
    _read_ends(found, s)
    for k in _ends(s.flow_frames):
        found.try_reading(flows / f"flow{k:04d}.pkl", lambda k=k: s.flow(k))  # type: ignore[misc]
    for k in _ends(s.estimate_frames):
        found.try_reading(
            estimates / f"fullpic{k:04d}_hmr.pkl", lambda k=k: s.estimate(k)  # type: ignore[misc]
        )  # fmt: skip


def _look_at_b(found: Inspection, s: SequenceB) -> None:
    folder = s.root / "mmhpsd_events" / s.name
    expected = _intervals(s)
    if not s.event_frames:
        found.add(folder / "events_frame_04", "is absent or empty, and so is events")
    if s.packed_frames:
        _series(found, folder / "events_frame_04", "events_{:04d}.npz", s.packed_frames, expected)
    else:
        found.add(folder / "events_frame_04", "is absent; frames are made from single events", grave=False)
    _optional(found, folder / "events", "events_{:04d}.npz", s.interval_frames, "single events (counts)")
    if s.interval_frames:
        found.gaps(folder / "events", "events_{:04d}.npz", s.interval_frames, expected)
    _series(found, folder / "poses", "pose_{:04d}.npz", s.pose_frames, s.pose_frames)
    if not s.pose_frames:
        found.add(folder / "poses", "is absent or empty")
    pictures = s.root / "mmhpsd_grayscale_img" / s.name / "imgs"
    _series(found, pictures, "fullpic{:04d}.jpg", s.image_frames, expected)
    _read_ends(found, s)
    for k in _ends(s.interval_frames):
        found.try_reading(
            folder / "events" / f"events_{k:04d}.npz", lambda k=k: s.events(k)  # type: ignore[misc]
        )  # fmt: skip


def _series(
    found: Inspection, folder: Path, name: str, there: Sequence[int], expected: Iterable[int]
) -> None:
    """Files of one kind: those that are there are looked at, those expected beside them are absent."""
    found.look_at(folder / name.format(k) for k in there)
    found.gaps(folder, name, there, expected)


def _optional(found: Inspection, folder: Path, name: str, there: Sequence[int], what: str) -> None:
    if there:
        found.look_at(folder / name.format(k) for k in there)
    else:
        found.add(folder, f"is absent or empty: no {what}", grave=False)


def _read_ends(found: Inspection, s: StoredSequence) -> None:
    """Read the first and the last event frame, picture and pose."""
    for numbers, where, read in (
        (s.event_frames, _event_path, s.event_frame),
        (s.image_frames, _image_path, s.image),
        (s.pose_frames, _pose_path, lambda k: s.poses([k])),
    ):
        for k in _ends(numbers):
            found.try_reading(where(s, k), lambda read=read, k=k: read(k))  # type: ignore[misc]


def _intervals(s: StoredSequence) -> range:
    """Intervals that must be there: up to the last one found, and to the last gray frame but one, as the
    authors leave out the last file of events."""
    return range(max(max(s.event_frames, default=-1), max(s.image_frames, default=0) - 2) + 1)


def _ends(numbers: Sequence[int]) -> list[int]:
    return sorted({numbers[0], numbers[-1]}) if numbers else []


def _event_path(s: StoredSequence, k: int) -> Path:
    if s.layout == "A":
        return s.root / "events_256" / s.name / f"event{k:04d}.png"
    return s.root / "mmhpsd_events" / s.name / "events_frame_04" / f"events_{k:04d}.npz"


def _image_path(s: StoredSequence, k: int) -> Path:
    folder = "full_pic_256" if s.layout == "A" else "mmhpsd_grayscale_img"
    base = s.root / folder / s.name
    return (base if s.layout == "A" else base / "imgs") / f"fullpic{k:04d}.jpg"


def _pose_path(s: StoredSequence, k: int) -> Path:
    if s.layout == "A":
        return s.root / "pose_events" / s.name / f"pose{k:04d}.pkl"
    return s.root / "mmhpsd_events" / s.name / "poses" / f"pose_{k:04d}.npz"
