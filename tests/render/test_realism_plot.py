"""One picture of two sets of recordings."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from eventhpe.errors import FormatError, ShapeError
from eventhpe.render.realism_plot import Histograms, Strip, _logarithmic, plot_realism

BLUE, ORANGE = (0, 114, 178), (213, 94, 0)
SIZES = [(128, 128), (260, 346), (128, 128)]


def strip(real: list[float], synthetic: list[float], *, log: bool = False) -> Strip:
    return Strip("events / s", np.array(real), np.array(synthetic), log=log, floor=0.1, note="distance 1.0")


def histograms(real: int, synthetic: int, *, empty: bool = False) -> Histograms:
    rng = np.random.default_rng(0)
    rows = rng.random((real + synthetic, 20)) * (not empty)
    return Histograms("intervals", 10.0 ** np.linspace(0, 5, 21), rows[:real] / 10, rows[real:] / 10)


def drawn(path: Path, strips: list[Strip], below: list[Histograms], synthetic: int = 3) -> np.ndarray:
    plot_realism(
        path, strips, below, real_sizes=SIZES, synthetic_sizes=SIZES[:synthetic], title="Real and synthetic"
    )
    image = cv2.imread(str(path))
    assert image is not None and path.read_bytes().startswith(b"\x89PNG")
    return image[..., ::-1]


def count(image: np.ndarray, color: tuple[int, int, int]) -> int:
    return int((np.abs(image.astype(int) - color).max(-1) < 40).sum())


def test_both_sets_and_the_histograms_are_drawn(tmp_path: Path) -> None:
    pair = strip([1.0, 2.0, 3.0], [2.0, 30.0, 4.0], log=True)
    image = drawn(tmp_path / "a.png", [pair], [])
    assert count(image, BLUE) > 200 and count(image, ORANGE) > 200
    more = drawn(tmp_path / "b.png", [pair], [histograms(3, 3)])
    assert count(more, BLUE) > 2 * count(image, BLUE) and more.shape[0] > image.shape[0]
    many = drawn(tmp_path / "c.png", [pair] * 13, [])
    assert many.shape[0] > 2 * image.shape[0] and many.shape[1] == image.shape[1]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png", "c.png"]


def test_a_dot_stands_where_its_value_is(tmp_path: Path) -> None:
    """The synthetic recordings lie to the right of the real ones, on both kinds of axes."""
    for log in (False, True):
        apart = strip([1.0, 2.0, 3.0], [20.0, 30.0, 40.0], log=log)
        image = drawn(tmp_path / "a.png", [apart], []).astype(int)
        panel = image[: int(0.75 * image.shape[0])]
        columns = [np.flatnonzero((np.abs(panel - c).max(-1) < 40).any(axis=0)) for c in (BLUE, ORANGE)]
        assert columns[0].max() < columns[1].min(), log


def test_unknown_values_and_zeros(tmp_path: Path) -> None:
    unknown = strip([np.nan] * 3, [np.nan, 0.0, 5.0], log=True)
    blank = drawn(tmp_path / "a.png", [unknown], [histograms(3, 3, empty=True)])
    known = drawn(tmp_path / "b.png", [strip([1.0, 1.0, 1.0], [1.0] * 3)], [histograms(3, 3)])
    assert 0 < count(blank, BLUE) < count(known, BLUE)


@pytest.mark.parametrize(("low", "high"), [(16, 100), (0.9, 1.1), (0.001, 0.5), (2, 30), (1, 1e6), (5, 5)])
def test_labels_of_a_logarithmic_axis_do_not_touch(low: float, high: float) -> None:
    figure = Figure(figsize=(2.5, 1.5))
    canvas = FigureCanvasAgg(figure)
    ax = figure.subplots()
    ax.plot([low, high], [0, 1])
    _logarithmic(ax)
    ax.tick_params(labelsize=8)
    canvas.draw()
    first, last = ax.get_xlim()
    ticks = [t for t in ax.xaxis.get_major_ticks() if first <= t.get_loc() <= last and t.label1.get_text()]
    boxes = sorted((t.label1.get_window_extent().x0, t.label1.get_window_extent().x1) for t in ticks)
    assert boxes and all(a[1] < b[0] for a, b in pairwise(boxes))
    assert not any("10^" in t.label1.get_text() for t in ticks)


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match="3 real and 2 synthetic values, for 3 and 3"):
        drawn(tmp_path / "a.png", [strip([1.0, 2.0, 3.0], [1.0, 2.0])], [])
    with pytest.raises(ShapeError, match="floor"):
        Strip("a", np.ones(1), np.ones(1), log=True)
    with pytest.raises(ShapeError, match=r"synthetic must be \(recordings, 20\)"):
        Histograms("a", np.arange(1.0, 22.0), np.ones((2, 20)), np.ones((2, 19)))
    with pytest.raises(FormatError, match="folder"):
        drawn(tmp_path / "no" / "a.png", [strip([1.0] * 3, [1.0] * 3)], [])
    assert not list(tmp_path.iterdir())


def test_no_global_state() -> None:
    code = "import sys, eventhpe.render.realism_plot; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
