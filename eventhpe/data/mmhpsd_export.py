"""Synthetic recordings in the files and folders of MMHPSD, for everything that reads MMHPSD."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from eventhpe.data.mmhpsd_layout_a import README_A, marker_a, write_layout_a
from eventhpe.data.mmhpsd_layout_b import README_B, marker_b, write_layout_b
from eventhpe.data.mmhpsd_sequence import SequenceReader, SequenceSource
from eventhpe.data.resumable import open_folder, write_once
from eventhpe.errors import FormatError

Layout = Literal["A", "B"]


def export_mmhpsd(root: str | Path, *, layout: Layout, sequences: Sequence[SequenceSource]) -> list[Path]:
    """Write sequences as one of the two releases of MMHPSD has them.

    The files are listed in `mmhpsd_layout_a` and `mmhpsd_layout_b`; `README.txt` says what differs from
    MMHPSD, `sources/<seq>.json` which recording a sequence comes from. Every file appears when it is
    complete, and files that are there are kept: an export that was interrupted goes on where it stopped.
    Several processes may add different sequences to one folder. Equal recordings give equal bytes. Memory
    holds one interval of events and the poses of one sequence.

    Args:
        root: folder of the data set; it is made if it does not exist.
        layout: "A" = the release of EventHPE, "B" = the later one.
        sequences: recordings and the sequences that they become, each name once.
    Returns:
        For each sequence the file that is written last, so that its presence says the sequence is complete.
    Raises:
        FormatError: no such layout; a name twice; a recording that cannot be such a sequence; a sequence
            that is there from another recording.
        CalibrationError, ShapeError: see `SequenceReader`.
    """
    if layout not in get_args(Layout):
        raise FormatError(f"layout must be 'A' or 'B'; got {layout!r}.")
    names = [source.name for source in sequences]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise FormatError(f"sequences must have different names; {', '.join(twice)} came more than once.")
    root = open_folder(Path(root))
    write_once(root / "README.txt", (README_A if layout == "A" else README_B).encode)
    done = []
    for source in sequences:
        with SequenceReader(source) as reader:
            _claim(root, reader)
            done.append((write_layout_a if layout == "A" else write_layout_b)(root, reader))
    return done


def sequence_marker(root: Path, layout: Layout, name: str) -> Path:
    """The file of a sequence that is written last."""
    return marker_a(root, name) if layout == "A" else marker_b(root, name)


def _claim(root: Path, reader: SequenceReader) -> None:
    """Note which recording a sequence comes from; refuse to mix two of them."""
    source = reader.source
    path = open_folder(root / "sources") / f"{source.name}.json"
    note = {
        "recording": source.recording.name,
        "checksum": reader.fingerprint(),
        "body_model": "open",
        "frames": reader.num_frames,
        "missing": list(source.missing),
    }
    content = (json.dumps(note, indent=1, sort_keys=True) + "\n").encode()
    write_once(path, bytes, content)
    if path.read_bytes() != content:
        raise FormatError(
            f"{path}: {source.name} is there already, from another recording than {source.recording} or "
            f"with other missing frames. Export into another folder, or remove the sequence first."
        )
