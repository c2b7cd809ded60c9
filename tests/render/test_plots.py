"""Plots: valid pictures that show the data, and no global state."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest

from eventhpe.errors import ShapeError, UnitError
from eventhpe.render.plots import plot_event_rate, plot_joint_curves, plot_trajectory


def decoded(png: bytes) -> np.ndarray:
    assert png.startswith(b"\x89PNG")
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image[..., ::-1]


def count(image: np.ndarray, color: tuple[int, int, int], within: int = 60) -> int:
    """Pixels of about that colour; thin lines are mixed with their surroundings."""
    return int((np.abs(image.astype(int) - color).max(-1) < within).sum())


def test_event_rate_draws_both_polarities() -> None:
    edges, on = np.arange(0, 2_050_000, 50_000), np.arange(40) * 10
    both = decoded(plot_event_rate(edges, on, on[::-1]))
    assert count(both, (0, 114, 178)) > 200 and count(both, (213, 94, 0)) > 200
    decoded(plot_event_rate([0, 10], [5], [0]))
    with pytest.raises(UnitError, match="edges_us"):
        plot_event_rate([3, 3], [1], [1])
    with pytest.raises(ShapeError, match="counts must be"):
        plot_event_rate(edges, on[:-1], on)


def test_joint_curves_mark_doubt_and_leave_gaps() -> None:
    t = np.arange(50) * 20_000
    xyz = np.sin(t[:, None, None] * 1e-6 * np.arange(1, 4)) * np.ones((50, 5, 3))
    sure = decoded(plot_joint_curves(t, xyz, list("abcde"), np.ones((50, 5))))
    trust = np.ones((50, 5))
    trust[10:30, 2] = 0.1
    unsure = decoded(plot_joint_curves(t, xyz, list("abcde"), trust))
    gray = (221, 221, 221)
    assert count(unsure, gray, 5) > count(sure, gray, 5) + 1000
    xyz[:, 1] = np.nan
    xyz[5:45, 3] = np.nan
    assert count(decoded(plot_joint_curves(t, xyz, list("abcde"))), (0, 114, 178)) < count(
        sure, (0, 114, 178)
    )
    with pytest.raises(ShapeError, match="names"):
        plot_joint_curves(t, xyz, ["a"])
    with pytest.raises(ShapeError, match=r"\(T, J, 3\)"):
        plot_joint_curves(t[:-1], xyz, list("abcde"))
    with pytest.raises(ShapeError, match="confidence"):
        plot_joint_curves(t, xyz, list("abcde"), trust.T)


def test_trajectory() -> None:
    t = np.arange(50) * 20_000
    path = np.stack([np.cos(t * 1e-6), 0 * t, np.sin(t * 1e-6)], -1)
    camera, world = (decoded(plot_trajectory(t, path, frame=f)) for f in ("camera", "world"))
    assert count(camera, (68, 1, 84)) > 10  # viridis, dark end
    assert (camera.shape != world.shape) or (camera != world).any()
    with pytest.raises(UnitError, match="frame"):
        plot_trajectory(t, path, frame="room")


def test_pyplot_is_not_loaded() -> None:
    code = (
        "import sys, eventhpe.render.plots as p; p.plot_event_rate([0, 1], [1], [0]); "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
