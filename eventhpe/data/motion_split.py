"""Which person a motion file shows, and whether that person is held out for evaluation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eventhpe.data.motions import HELD_OUT_PREFIXES, file_checksum

HELD_OUT_SUBJECTS = frozenset(prefix.rstrip("_") for prefix in HELD_OUT_PREFIXES)
"""Subjects that are never trained on, as `subject_of` names them."""

_HEIGHTS = 8
_TOLERANCE = 1.5e-4

_CMU_NAME = re.compile(r"(?:^|[^a-z0-9])cmu[ _-]?0*(\d{1,3})(?!\d)", re.IGNORECASE)
_CMU_TRIAL = re.compile(
    r"^(?:(?:m|mir|mirror|mirrored|flip|flipped|copy|rev|reversed)[ _-]+)*0*(\d{1,3})_\d{2}(?!\d)",
    re.IGNORECASE,
)
_CMU_FOLDER = re.compile(r"^0*(\d{1,3})(?:_0*(\d{1,3}))?(?!\d)")

BENCHMARK_CONTENT: dict[str, tuple[int, tuple[float, ...]]] = {
    "955928d169bf394f": (225, (1.07046, 0.99792, 0.95197, 0.99365, 0.95372, 1.01236, 0.97910, 1.04081)),
    "8006f0c8ce044d71": (294, (0.96405, 0.98530, 0.99833, 0.99934, 1.00705, 1.02289, 1.03643, 0.98660)),
    "d2fe3697b70146d5": (282, (1.28746, 0.92559, 0.55381, 1.19374, 1.28270, 0.62796, 0.84114, 1.28759)),
    "1dae922ae4d0792b": (420, (0.98503, 1.01677, 1.03107, 1.01667, 1.01129, 0.99081, 0.98330, 0.96505)),
    "fb29f24b67c7e318": (539, (1.01219, 0.99251, 0.99241, 1.00230, 0.99181, 1.00470, 0.99281, 1.01129)),
    "c01b4042f0ad9109": (456, (1.00457, 1.01247, 0.97915, 0.96345, 1.02069, 1.01375, 1.00542, 1.00051)),
    "58fabe19b295f905": (350, (1.00161, 1.00235, 0.99476, 0.99569, 1.00225, 1.00475, 0.99023, 1.00836)),
    "064b1a84f15093e8": (325, (1.15803, 1.13852, 0.92099, 0.79785, 1.09623, 1.01944, 0.75409, 1.11484)),
    "7a4206606397b4ce": (260, (0.99581, 0.99740, 0.99590, 0.99890, 1.00387, 0.99937, 1.00377, 1.00499)),
    "2854230d99b71b9e": (220, (1.00260, 1.00250, 0.99054, 1.00229, 0.99581, 1.01101, 1.00635, 0.98891)),
    "68bf511936b5bd35": (417, (0.99934, 1.00248, 0.99777, 0.98973, 0.99962, 1.00452, 0.99777, 1.00877)),
    "459e895217f7f559": (240, (1.06383, 1.05430, 1.05803, 1.05135, 1.01469, 0.93705, 0.91199, 0.90875)),
    "fe6617c2507613e6": (240, (0.99982, 1.00001, 0.99973, 1.00039, 1.00039, 0.99973, 0.99992, 1.00001)),
    "0bde8c8ec2cfab7f": (419, (0.91895, 0.98544, 1.01563, 0.98046, 1.00153, 1.02858, 1.03385, 1.03556)),
    "20612ff1d97aba42": (450, (1.03636, 1.05311, 0.99444, 1.00396, 1.00873, 0.95891, 1.00396, 0.94053)),
    "5c55b1a840d2ff42": (444, (1.12545, 0.88372, 0.93269, 0.99141, 1.01776, 1.01647, 0.99542, 1.03709)),
    "77670167788bce9a": (425, (0.84353, 0.87076, 1.01107, 1.14367, 0.90869, 1.10418, 1.13084, 0.98726)),
    "146523325f159730": (425, (1.00383, 0.99546, 0.96725, 0.97227, 1.01002, 0.99469, 1.04492, 1.01156)),
    "6321a199198a73b6": (425, (0.99981, 0.99176, 1.00747, 1.00149, 1.01577, 0.99929, 0.99189, 0.99253)),
    "16fbe7851d3278d4": (425, (1.01093, 1.04239, 0.98540, 0.97534, 0.99713, 0.99816, 0.99932, 0.99133)),
}  # fmt: skip
"""The clips of benchmark-v1, in its order, by content: first 16 hex digits of the SHA-256 -> number of
frames, and the root's height in eight frames from the first to the last, divided by their mean. Heights
outlive mirroring, turning, another unit and new line ends; a checksum does not."""


@dataclass(frozen=True)
class MotionFile:
    """A motion file and who performs in it.

    Attributes:
        path: a BVH clip, or an npz motion.
        subject: see `subject_of`.
        held_out: kept for evaluation.
    """

    path: Path
    subject: str
    held_out: bool


def subject_of(path: str | Path, folder: str | Path) -> str:
    """The performer's name, from the name of a file inside `folder`.

    The first rule that applies: "cmu" and a number in the name ("cmu14_20_squat1", "mirrored_cmu14_20") gives
    "cmu14"; so does a file below .../CMU/14/, as AMASS sorts them; so does CMU's own naming ("14_20.bvh"); so
    does a parent folder with "cmu" and a number. Otherwise the parent folder is the subject, with the one
    above it where that lies in `folder` too (AMASS: "KIT/3").
    """
    return _subjects(Path(path), Path(folder))[0]


def classify(path: Path, folder: Path) -> MotionFile:
    """Who performs in a file and whether it is held out: by any rule of `subject_of`, or by content.

    Content is compared for BVH clips only: benchmark-v1 has no others.
    """
    subjects = _subjects(path, folder)
    held_out = not HELD_OUT_SUBJECTS.isdisjoint(subjects)
    if not held_out and path.suffix.lower() == ".bvh":
        held_out = file_checksum(path) in BENCHMARK_CONTENT or is_benchmark_clip(path)
    return MotionFile(path, subjects[0], held_out)


def _subjects(path: Path, folder: Path) -> list[str]:
    """Every subject that a rule finds, the one of the first rule in front; at least one."""
    found: list[str] = []
    absolute = (
        (folder.resolve() / path.relative_to(folder)) if path.is_relative_to(folder) else path.resolve()
    )
    inside = path.relative_to(folder).parts[:-1] if path.is_relative_to(folder) else ()
    names = {path.stem: None, path.resolve().stem: None}  # a link may hide the name
    for stem in names:
        found += [f"cmu{n}" for n in _CMU_NAME.findall(stem)]
    for parts in (absolute.parts[:-1], path.resolve().parts[:-1]):
        for above, here in pairwise(parts):
            match = _CMU_FOLDER.match(here)
            if above.lower() == "cmu" and match:  # "60_61" is a couple
                found += [f"cmu{n}" for n in match.groups() if n is not None]
    for stem in names:
        found += [f"cmu{n}" for n in _CMU_TRIAL.findall(stem)]
    for part in reversed((folder.resolve().name, *inside)):
        found += [f"cmu{n}" for n in _CMU_NAME.findall(part)]
    if not found:
        found = ["/".join(inside[-2:]) or folder.resolve().name]
    return found


def is_benchmark_clip(path: Path) -> bool:
    """Whether a BVH clip is one of benchmark-v1 by its root's heights: mirrored and rewritten copies too."""
    heights = root_heights(path)
    if heights is None:
        return False
    frames, profile = heights
    for known_frames, known in BENCHMARK_CONTENT.values():
        if frames == known_frames:
            for order in (profile, profile[::-1]):
                if np.abs(order - known).max() < _TOLERANCE:
                    return True
    return False


def root_heights(path: Path) -> tuple[int, NDArray[np.float64]] | None:
    """Frames of a BVH clip and its root's height in eight of them, divided by their mean.

    Reads a few numbers only. None where they cannot be read: judging the file is `read_bvh`'s task.
    """
    lines = path.read_bytes().decode("ascii", "replace").splitlines()
    channels = next((line.split() for line in lines if line.strip().upper().startswith("CHANNELS")), [])
    names = [word.lower() for word in channels[2:]]
    start = next((i for i, line in enumerate(lines) if line.strip().upper() == "MOTION"), len(lines))
    rows = [line for line in lines[start + 3 :] if line.strip()]
    if "yposition" not in names or not rows:
        return None
    column = names.index("yposition")
    try:
        chosen = [rows[i] for i in np.rint(np.linspace(0, len(rows) - 1, _HEIGHTS)).astype(int)]
        values = np.array([float(row.split(None, column + 1)[column]) for row in chosen])
    except (ValueError, IndexError):
        return None
    mean = values.mean()
    return (len(rows), values / mean) if np.isfinite(values).all() and mean > 0 else None
