"""Camera calibration files, and what is assumed when there is none."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import yaml

from eventhpe.errors import CalibrationError, FormatError
from eventhpe.geometry.camera import Camera

ASSUMED_FIELD_OF_VIEW_DEG = 56.0
"""Horizontal field of view assumed without calibration: the usual 4.5-6 mm lenses on DVS128 and DAVIS."""


def assumed_camera(sensor_size: tuple[int, int]) -> Camera:
    """A camera without distortion and with a usual lens; distances scale with the true focal length."""
    h, w = sensor_size
    return Camera.from_focal(0.5 * max(w, h) / np.tan(np.deg2rad(ASSUMED_FIELD_OF_VIEW_DEG) / 2), sensor_size)


def read_calibration(path: str | Path, sensor_size: tuple[int, int]) -> Camera:
    """Read intrinsics from YAML or JSON: `fx, fy, cx, cy` or `K` (3x3), optionally `dist` (k1 k2 p1 p2 k3).

    Raises:
        FormatError: not a readable mapping.
        CalibrationError: numbers are missing, impossible, or belong to another image size.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise FormatError(f"{path}: cannot read a calibration ({error}).") from error
    if not isinstance(values, dict):
        raise FormatError(f"{path}: expected a mapping with fx, fy, cx, cy (or K) and optionally dist, size.")
    try:
        if "K" in values:
            K = np.asarray(values["K"], dtype=np.float64).reshape(3, 3)
        else:
            fx, fy, cx, cy = (float(values[k]) for k in ("fx", "fy", "cx", "cy"))
            K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        dist = np.zeros(5)
        given = np.asarray(values.get("dist", []), dtype=np.float64).ravel()
        if len(given) > 5:
            raise CalibrationError(
                f"{path}: dist must hold at most k1, k2, p1, p2, k3; got {len(given)} numbers."
            )
        dist[: len(given)] = given
        size = tuple(int(s) for s in values.get("size", sensor_size))
    except KeyError as error:
        raise CalibrationError(
            f"{path}: missing {error}; expected fx, fy, cx, cy (or K), optionally dist, size."
        ) from None
    except (TypeError, ValueError) as error:
        raise CalibrationError(f"{path}: a value is not a number of the right shape ({error}).") from None
    if size != tuple(sensor_size):
        raise CalibrationError(
            f"{path}: calibrated for (H, W) = {size}, but the recording is {tuple(sensor_size)}."
        )
    if K[1, 0] or np.any(K[2] != [0, 0, 1]):
        raise CalibrationError(f"{path}: K must be upper triangular with last row 0 0 1; got {K.tolist()}.")
    return Camera(K=K, size=sensor_size, dist=dist)


def write_calibration(path: str | Path, camera: Camera) -> None:
    """Write intrinsics, atomically, so that `read_calibration` returns the same camera."""
    values = {
        "K": camera.K.tolist(),
        "dist": camera.dist.tolist(),
        "size": list(camera.size),
    }
    path = Path(path)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(yaml.safe_dump(values, sort_keys=False))
    os.replace(temporary, path)
