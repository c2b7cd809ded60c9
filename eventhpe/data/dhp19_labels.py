"""Marker positions of DHP19: the files, labels of windows, and faults.

Positions are (N, 13, 3) millimetres in DHP19's world (Z up) at 100 Hz, row 0 at the start, joints in the
order of `DHP19_SKELETON`; NaN where a marker is missing. Left and right are the subject's.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io
from numpy.typing import NDArray

from eventhpe.data.dhp19_export import MARKER_STEP_US, VICON_FIELDS
from eventhpe.errors import FormatError, MissingAssetError

Array = NDArray[np.float64]

KNOWN_EXCHANGES: dict[tuple[int, int, int], tuple[str, str]] = {
    (1, 2, 6): ("hipR", "hipL"),
    (2, 4, 5): ("elbowR", "handR"),
}
"""(subject, session, movement) -> markers that look exchanged (SensorsINI/DHP19, issue 23); both are in the
training set, and the authors left them as they are."""

_INDEX = {name: j for j, name in enumerate(VICON_FIELDS)}
_MOST_ROWS = 1_000_000  # close to three hours
# Upper arm and forearm are about 300 mm, and an exchanged hand is up to twice that from the shoulder.
_FAR_SHARE, _NEAR_SHARE = 0.3, 0.2


def read_vicon(path: str | Path) -> Array:
    """(N, 13, 3) millimetres from a file of Vicon_data, by the names of its fields.

    Raises:
        MissingAssetError: there is no such file.
        FormatError: not a MATLAB 5 or 7 file with XYZPOS and 13 fields of N x 3 numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingAssetError(
            f"{path}: no such file; markers come in DHP19's folder Vicon_data (datasets/dhp19/README.md)."
        )
    expected = "expected a MATLAB 5 or 7 file with the struct XYZPOS, 13 fields of N x 3 millimetres"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            held = scipy.io.loadmat(path, variable_names=["XYZPOS"])["XYZPOS"]
        fields = held[0, 0]
        columns = [np.asarray(fields[name], np.float64) for name in VICON_FIELDS]
    except MemoryError as error:
        raise FormatError(f"{path}: {expected}; its sizes are impossible.") from error
    except Exception as error:  # SciPy lets whatever damage causes through, of any class
        raise FormatError(f"{path}: {expected}; {type(error).__name__}: {error}") from error
    shapes = {name: column.shape for name, column in zip(VICON_FIELDS, columns, strict=True)}
    n = len(columns[0]) if columns[0].ndim else 0
    if any(shape != (n, 3) for shape in shapes.values()) or not 0 < n <= _MOST_ROWS:
        raise FormatError(f"{path}: {expected}; the shapes are {shapes}.")
    return np.stack(columns, axis=1)


def label_row(dt_us: int, rule: str = "matlab_round") -> int:
    """Number of the marker row, from 1, that a time dt_us after the start belongs to.

    The authors' floor(dt * 0.0001) + 1 works on unsigned integers in MATLAB: negative times become 0, and the
    product is rounded, half away from zero, before the floor ("matlab_round"). 0.0001 as a double is a little
    above 1/10000, so that halves stay halves; integers give the same.
    """
    dt_us = max(dt_us, 0)
    return (dt_us + MARKER_STEP_US // 2 if rule == "matlab_round" else dt_us) // MARKER_STEP_US + 1


def mean_label(xyz_mm: Array, first_row: int, last_row: int) -> Array:
    """(13, 3) mean over rows first_row..last_row (from 1, inclusive) of what is not missing; NaN where all
    is, or where there are no rows."""
    rows = xyz_mm[first_row - 1 : last_row]
    held = ~np.isnan(rows)
    count = held.sum(axis=0)
    total = np.where(held, rows, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def label_at(xyz_mm: Array, dt_us: int) -> Array:
    """(13, 3) position at a time dt_us >= 0 after the start, linear between rows; NaN beside missing rows."""
    k, rest = divmod(dt_us, MARKER_STEP_US)
    if rest == 0:
        return xyz_mm[k].copy()
    share = rest / MARKER_STEP_US
    return (1.0 - share) * xyz_mm[k] + share * xyz_mm[k + 1]


def exchanged(xyz_mm: Array, pair: tuple[str, str]) -> Array:
    """A copy with two markers exchanged: left and right only in the rows where hips and shoulders point
    opposite ways, others in all rows."""
    a, b = (_INDEX[name] for name in pair)
    rows = _turned_rows(xyz_mm) if pair[0][:-1] == pair[1][:-1] == "hip" else np.ones(len(xyz_mm), bool)
    fixed = xyz_mm.copy()
    fixed[rows, a], fixed[rows, b] = xyz_mm[rows, b], xyz_mm[rows, a]
    return fixed


@dataclass(frozen=True)
class ArmLengths:
    """Medians over a subject's recordings, mm: upper arm and forearm, both sides together."""

    upper_mm: float
    fore_mm: float

    @classmethod
    def of(cls, recordings: Iterable[Array]) -> ArmLengths:
        """From all recordings of a subject; the median over recordings outvotes exchanged ones."""
        upper, fore = [], []
        for xyz in recordings:
            for side in "RL":
                upper.append(_length(xyz, f"shoulder{side}", f"elbow{side}"))
                fore.append(_length(xyz, f"elbow{side}", f"hand{side}"))
        return cls(_median(upper), _median(fore))


def label_faults(xyz_mm: Array, arms: ArmLengths | None = None) -> tuple[str, ...]:
    """What is wrong with a recording's markers, a line for each fault.

    Args:
        arms: lengths of the subject's arms; None: hands and elbows are not checked.
    """
    faults = []
    missing = np.isnan(xyz_mm).any(axis=-1).mean(axis=0)
    for name, share in zip(VICON_FIELDS, missing, strict=True):
        if share == 1:
            faults.append(f"{name} is missing throughout")
        elif share > 0:
            faults.append(f"{name} is missing in {100 * share:.1f} % of the rows")
    known = ~np.isnan(xyz_mm[:, [_INDEX[n] for n in _TRUNK]]).any(axis=(1, 2))
    turned = _turned_rows(xyz_mm)[known]
    if len(turned) and turned.mean() > 0.02:
        faults.append(
            f"left and right look exchanged at hips or shoulders in {100 * turned.mean():.0f} % of the rows"
        )
    for side in "RL" if arms is not None else "":
        assert arms is not None
        as_told = _length(xyz_mm, f"shoulder{side}", f"elbow{side}")
        if abs(as_told - arms.upper_mm) > _FAR_SHARE * arms.upper_mm:
            other = _length(xyz_mm, f"shoulder{side}", f"hand{side}")
            swapped = abs(other - arms.upper_mm) < _NEAR_SHARE * arms.upper_mm
            faults.append(
                f"shoulder{side} to elbow{side} is {as_told:.0f} mm, the subject's median "
                f"{arms.upper_mm:.0f} mm"
                + (f": elbow{side} and hand{side} look exchanged" if swapped else "")
            )
        fore = _length(xyz_mm, f"elbow{side}", f"hand{side}")
        if abs(fore - arms.fore_mm) > _FAR_SHARE * arms.fore_mm:
            faults.append(
                f"elbow{side} to hand{side} is {fore:.0f} mm, the subject's median {arms.fore_mm:.0f} mm"
            )
    return tuple(faults)


def arm_lengths(recordings: Mapping[int, Iterable[Path]]) -> dict[int, ArmLengths]:
    """Subject -> arm lengths, from all of the subject's files that can be read."""
    found = {}
    for subject, paths in recordings.items():
        read = []
        for path in paths:
            try:
                read.append(read_vicon(path))
            except (FormatError, MissingAssetError):
                continue  # its own preparation tells
        if read:
            found[subject] = ArmLengths.of(read)
    return found


_TRUNK = ("shoulderR", "shoulderL", "hipR", "hipL")


def _turned_rows(xyz_mm: Array) -> NDArray[np.bool_]:
    """(N,) rows in which shoulders and hips have their lefts on opposite sides."""
    right_shoulder, left_shoulder, right_hip, left_hip = (xyz_mm[:, _INDEX[n]] for n in _TRUNK)
    with np.errstate(invalid="ignore"):
        return np.einsum("ni,ni->n", left_shoulder - right_shoulder, left_hip - right_hip) < 0


def _length(xyz_mm: Array, a: str, b: str) -> float:
    """Median distance, NaN if never both are there."""
    return _median(np.linalg.norm(xyz_mm[:, _INDEX[a]] - xyz_mm[:, _INDEX[b]], axis=-1))


def _median(values: Iterable[float] | Array) -> float:
    array = np.asarray(list(values) if not isinstance(values, np.ndarray) else values)
    array = array[~np.isnan(array)]
    return float(np.median(array)) if len(array) else float("nan")
