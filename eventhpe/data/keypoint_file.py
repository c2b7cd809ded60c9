"""Files of tracked 3D keypoints: DHP19's Vicon .mat, npz, and CSV with named columns."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eventhpe.body.motion_file import Y_UP_TO_Z_UP
from eventhpe.body.smpl_file import read_npz
from eventhpe.errors import FormatError, UnitError
from eventhpe.geometry.skeleton import DHP19_SKELETON, SMPL_SKELETON, Keypoints, Skeleton

F64 = NDArray[np.float64]
Unit = Literal["mm", "m"]
Axis = Literal["y", "z"]
Names = Literal["dhp19", "smpl"]

DHP19_HZ = 100.0
"""Rate of DHP19's Vicon system."""

_MAX_BYTES = 1 << 30
_COLUMN = re.compile(r"(?P<name>.+?)[ _.:/-](?P<axis>[xyzXYZ])$")
_TIMES = {"t_us": 1.0, "time_us": 1.0, "t_ms": 1e3, "time_ms": 1e3, "t_s": 1e6, "time_s": 1e6}
_HOW = "Expected DHP19's .mat (XYZPOS), .npz with xyz and names, or .csv with head_x, head_y, head_z ..."


@dataclass(frozen=True)
class _Raw:
    """Positions (T, J, 3) as stored, names, and what the file itself says."""

    xyz: F64
    names: tuple[str, ...]
    t_us: NDArray[np.int64] | None = None
    confidence: F64 | None = None


def read_keypoints(
    path: str | Path,
    *,
    rate_hz: float | None = None,
    unit: Unit | None = None,
    up: Axis | None = None,
    names: Names | None = None,
) -> tuple[Keypoints, NDArray[np.int64]]:
    """Keypoints in our world frame (Y up, metres), and their times.

    Args:
        path: .mat with the struct XYZPOS (DHP19), .npz with `xyz` (T, J, 3) and `names` (J,) and optionally
            `t_us` (T,) and `confidence` (T, J), or .csv with columns NAME_x, NAME_y, NAME_z and optionally
            t_us, t_ms or t_s. Missing values are NaN or empty. Names are ours or DHP19's ("shoulderR").
        rate_hz: frames per second where the file has no times; 100 for .mat.
        unit: of the numbers; "mm" for .mat, else "m".
        up: axis that points up; "z" for .mat, else "y". Z up is turned by x, z, -y.
        names: "dhp19" for DHP19's markers, "smpl" for joints; default: DHP19's if all are among its 13.
    Returns:
        keypoints over (T, J) and (T,) int64 microseconds.
    Raises:
        FormatError: another kind of file, damaged, names unknown, or no rate.
        UnitError: the rate is not positive.
    """
    path = Path(path)
    kind = path.suffix.lower()
    readers = {".mat": _read_mat, ".npz": _read_npz, ".csv": _read_csv}
    if kind not in readers:
        raise FormatError(f"{path}: files ending in {kind or 'nothing'} hold no keypoints. {_HOW}")
    if not path.is_file():
        raise FormatError(f"{path}: no such file.")
    raw = readers[kind](path)
    is_vicon = kind == ".mat"
    xyz = raw.xyz * (1e-3 if (unit or ("mm" if is_vicon else "m")) == "mm" else 1.0)
    if (up or ("z" if is_vicon else "y")) == "z":
        xyz = xyz @ Y_UP_TO_Z_UP  # its transpose, from the left
    skeleton = _skeleton(path, raw.names, names)
    confidence = np.ones(xyz.shape[:2]) if raw.confidence is None else raw.confidence
    keypoints = Keypoints(skeleton, confidence, xyz=xyz, frame="world")
    return keypoints, _times(path, raw, rate_hz or (DHP19_HZ if is_vicon else None))


def _times(path: Path, raw: _Raw, rate_hz: float | None) -> NDArray[np.int64]:
    if raw.t_us is not None:
        return raw.t_us
    if rate_hz is None:
        raise FormatError(f"{path}: no times in the file; say how many frames per second with --rate.")
    if not 0 < rate_hz <= 1e5:
        raise UnitError(f"the rate must be frames per second, positive; got {rate_hz}.")
    return np.rint(np.arange(len(raw.xyz)) * (1e6 / rate_hz)).astype(np.int64)


def _our_name(name: str) -> str:
    """ "shoulderR" becomes "shoulder_right"; other names stay."""
    name = name.strip()
    for end, side in (("R", "_right"), ("L", "_left")):
        ours = name[: -len(end)] + side
        if name.endswith(end) and ours in DHP19_SKELETON.joints:
            return ours
    return name


def _skeleton(path: Path, stored: tuple[str, ...], names: Names | None) -> Skeleton:
    ours = tuple(map(_our_name, stored))
    if len(set(ours)) < len(ours):
        raise FormatError(f"{path}: a keypoint stands there twice: {', '.join(stored)}.")
    if names is None:
        names = "dhp19" if set(ours) <= set(DHP19_SKELETON.joints) else "smpl"
    known = DHP19_SKELETON if names == "dhp19" else SMPL_SKELETON
    if unknown := [name for name in ours if name not in known.joints]:
        raise FormatError(
            f"{path}: unknown keypoints {', '.join(unknown)}; {names} has {', '.join(known.joints)}."
        )
    return Skeleton(known.name, ours, (-1,) * len(ours))


def _read_mat(path: Path) -> _Raw:
    import scipy.io

    if path.stat().st_size > _MAX_BYTES:
        raise FormatError(f"{path}: larger than 1 GiB; no such Vicon file exists.")
    try:
        content: Any = scipy.io.loadmat(str(path), variable_names=["XYZPOS"])["XYZPOS"]
        fields = content.dtype.names or ()
        record = content.reshape(-1)[0]
        values = {name: np.asarray(record[name], np.float64) for name in fields}
    except KeyError:
        raise FormatError(f"{path}: no variable XYZPOS in it; is it one of DHP19's Vicon_data?") from None
    except Exception as error:  # scipy raises whatever a damaged file trips over
        raise FormatError(f"{path}: cannot be read as MATLAB file ({error}). Fetch it again.") from None
    order = [name for name in fields if _our_name(name) in DHP19_SKELETON.joints]
    shapes = {values[name].shape for name in order}
    if not order or len(shapes) != 1 or (shape := shapes.pop())[1:] != (3,):
        found = ", ".join(f"{n} {v.shape}" for n, v in values.items()) or "no fields"
        raise FormatError(f"{path}: XYZPOS must hold DHP19's markers as (N, 3) arrays each; found {found}.")
    return _Raw(np.stack([values[name] for name in order], 1).reshape(shape[0], -1, 3), tuple(order))


def _read_npz(path: Path) -> _Raw:
    arrays = read_npz(path, ("xyz", "names", "t_us", "confidence"))
    if missing := [key for key in ("xyz", "names") if key not in arrays]:
        raise FormatError(f"{path}: no {' and no '.join(missing)} in it. {_HOW}")
    xyz, names = arrays["xyz"], arrays["names"]
    if xyz.ndim != 3 or xyz.shape[2] != 3 or xyz.dtype.kind not in "fiu":
        raise FormatError(f"{path}: xyz must be numbers (T, J, 3); found {xyz.shape} {xyz.dtype}.")
    if names.shape != xyz.shape[1:2] or names.dtype.kind != "U":
        raise FormatError(f"{path}: names must be {xyz.shape[1]} strings; found {names.shape} {names.dtype}.")
    t_us, confidence = arrays.get("t_us"), arrays.get("confidence")
    if t_us is not None and (t_us.shape != xyz.shape[:1] or t_us.dtype.kind not in "iu"):
        raise FormatError(
            f"{path}: t_us must be {len(xyz)} integer microseconds; found {t_us.shape} {t_us.dtype}."
        )
    if confidence is not None and (confidence.shape != xyz.shape[:2] or confidence.dtype.kind not in "fiu"):
        raise FormatError(f"{path}: confidence must be {xyz.shape[:2]}; found {confidence.shape}.")
    return _Raw(
        xyz.astype(np.float64),
        tuple(map(str, names)),
        None if t_us is None else t_us.astype(np.int64),
        None if confidence is None else confidence.astype(np.float64),
    )


def _read_csv(path: Path) -> _Raw:
    if path.stat().st_size > _MAX_BYTES:
        raise FormatError(f"{path}: larger than 1 GiB; cut it into recordings first.")
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = [row for row in csv.reader(stream) if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path}: no text of comma-separated values ({error}).") from None
    if len(rows) < 2:
        raise FormatError(f"{path}: expected a line of column names and at least one line of numbers.")
    header = [cell.strip() for cell in rows[0]]
    columns: dict[str, dict[str, int]] = {}
    for i, cell in enumerate(header):
        if match := _COLUMN.fullmatch(cell):
            columns.setdefault(match["name"], {})[match["axis"].lower()] = i
    broken = [name for name, axes in columns.items() if len(axes) != 3]
    if not columns or broken:
        what = f"columns of {', '.join(broken)} are incomplete" if broken else "no such columns"
        raise FormatError(f"{path}: expected NAME_x, NAME_y and NAME_z for every keypoint; {what}.")
    table = np.full((len(rows) - 1, len(header)), np.nan)
    for r, row in enumerate(rows[1:]):
        if len(row) != len(header):
            raise FormatError(f"{path}: line {r + 2} has {len(row)} cells; the first has {len(header)}.")
        for c, cell in enumerate(row):
            if text := cell.strip():
                try:
                    table[r, c] = float(text)
                except ValueError:
                    raise FormatError(
                        f"{path}: line {r + 2}, column {header[c]!r}: {text!r} is no number."
                    ) from None
    ids = [[axes[a] for a in "xyz"] for axes in columns.values()]
    stamps = next(((header.index(n), scale) for n, scale in _TIMES.items() if n in header), None)
    t_us = None
    if stamps is not None:
        time = table[:, stamps[0]] * stamps[1]
        if not np.isfinite(time).all() or np.abs(time).max() > 2**62:
            raise FormatError(f"{path}: column {header[stamps[0]]!r} holds values that are no times.")
        t_us = np.rint(time).astype(np.int64)
    return _Raw(table[:, ids], tuple(columns), t_us)
