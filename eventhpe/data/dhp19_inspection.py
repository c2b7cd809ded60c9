"""Is a folder with DHP19 whole? The recordings as released, or the frames that are prepared from them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from eventhpe.data.dhp19 import MOVEMENTS_PER_SESSION
from eventhpe.data.dhp19_prepared import PreparedName, PreparedRecording
from eventhpe.data.inspection import Inspection
from eventhpe.errors import FormatError, MissingAssetError

NUM_SUBJECTS = 17

KNOWN_ABSENT = ((1, 4, 2),)
"""(subject, session, movement) that the release lacks."""

_OWN = b"synthetic recording in the format of DHP19"
_MATRICES = ("P1", "P2", "P3", "P4")


def inspect_dhp19(root: str | Path) -> Inspection:
    """Look at every file that a folder with DHP19 must have.

    Raises:
        MissingAssetError: neither recordings nor prepared files are there.
    """
    root = Path(root)
    if (root / "DVS_movies").is_dir() or (root / "Vicon_data").is_dir():
        return _raw(root)
    prepared = sorted({path for pattern in ("*.h5", "*/*.h5", "*/*/*.h5") for path in root.glob(pattern)})
    named = [(name, path) for path in prepared if (name := PreparedName.parse(path.name)) is not None]
    if named:
        return _prepared(root, named)
    raise MissingAssetError(
        f"{root}: expected DVS_movies/S1/session1/mov1.aedat ... with Vicon_data and P_matrices (DHP19 as "
        "released), or S1_session1_mov1_7500events.h5 ... (prepared); found neither. "
        "datasets/dhp19/README.md says where the data come from."
    )


def _raw(root: Path) -> Inspection:
    found = Inspection("dhp19, recordings", root)
    whole_set = [
        (s, e, m)
        for s in range(1, NUM_SUBJECTS + 1)
        for e, last in enumerate(MOVEMENTS_PER_SESSION, start=1)
        for m in range(1, last + 1)
    ]
    recordings = {
        (s, e, m): root / "DVS_movies" / f"S{s}" / f"session{e}" / f"mov{m}.aedat" for s, e, m in whole_set
    }
    labels = {(s, e, m): root / "Vicon_data" / f"S{s}_{e}_{m}.mat" for s, e, m in whole_set}
    there = [which for which in whole_set if recordings[which].is_file() or labels[which].is_file()]
    own = _is_own(recordings[which] for which in there)
    expected = there if own else whole_set
    for which in expected:
        found.look_at([recordings[which], labels[which]], grave=which not in KNOWN_ABSENT)
    matrices = [root / "P_matrices" / f"{name}.npy" for name in _MATRICES]
    found.look_at(matrices)
    for path in matrices:
        if path.is_file():
            found.try_reading(path, lambda path=path: _check_matrix(path))  # type: ignore[misc]
    found.look_at([root / "P_matrices" / "camera_positions.npy"], grave=False)
    complete = sum(recordings[which].is_file() and labels[which].is_file() for which in there)
    of = "of our own making" if own else f"of {len(whole_set)}"
    found.facts.append(f"{complete} recordings with labels {of}, {len({s for s, _, _ in there})} subjects")
    return found


def _prepared(root: Path, named: list[tuple[PreparedName, Path]]) -> Inspection:
    found = Inspection("dhp19, prepared", root)
    frames = 0
    for name, path in named:
        recording = PreparedRecording(name, path)
        found.look_at([path, recording.labels_path])
        if path.is_file() and recording.labels_path.is_file():
            found.try_reading(recording.labels_path, lambda r=recording: r.labels)  # type: ignore[misc]
            found.try_reading(path, lambda r=recording: _read_ends(r))  # type: ignore[misc]
            frames += recording.num_frames if found.whole else 0
        recording.close()
    variants = ", ".join(sorted({name.variant for name, _ in named}))
    found.facts.append(
        f"{len(named)} files of frames ({variants}), {len({name.subject for name, _ in named})} subjects"
    )
    if found.whole:
        found.facts.append(f"{frames:,} frames with labels")
    return found


def _read_ends(recording: PreparedRecording) -> None:
    if recording.num_frames:
        recording.frames(0)
        recording.frames(recording.num_frames - 1)


def _is_own(paths: Iterable[Path]) -> bool:
    """Whether the recordings were made by this package; their headers say so."""
    for path in paths:
        if path.is_file():
            with path.open("rb") as file:
                return _OWN in file.read(4096)
    return False


def _check_matrix(path: Path) -> None:
    try:
        matrix = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise FormatError(f"{path}: {error}") from error
    if matrix.shape != (3, 4) or matrix.dtype.kind != "f" or not np.isfinite(matrix).all():
        raise FormatError(f"{path}: must be a (3, 4) matrix of numbers; got {matrix.shape} {matrix.dtype}.")
