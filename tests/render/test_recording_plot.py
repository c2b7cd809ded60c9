"""One picture of a whole recording."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from eventhpe.errors import FormatError
from eventhpe.events.overview import look_over
from eventhpe.events.recording import Recording
from eventhpe.events.types import Events
from eventhpe.render.recording_plot import informative_times, moment_us, plot_recording

BLUE, ORANGE, CYAN = (0, 114, 178), (213, 94, 0), (0, 229, 255)


def some_recording(
    n: int, duration_us: int, size: tuple[int, int], *, hot: bool = False, burst: bool = False
) -> Recording:
    rng = np.random.default_rng(0)
    t = rng.integers(0, duration_us, n)
    if burst:
        t[: n // 2] = rng.integers(0.7 * duration_us, 0.71 * duration_us, n // 2)
    x, y = rng.integers(0, size[1], n), rng.integers(0, size[0], n)
    if hot:
        x[::4], y[::4] = 3, 4
    return Recording.from_events(
        Events.from_columns(np.sort(t), x, y, np.arange(n) % 2, size), source="folder/thing.raw"
    )


def drawn(recording: Recording, path: Path) -> np.ndarray:
    plot_recording(path, recording, look_over(recording.blocks(), recording.sensor_size))
    image = cv2.imread(str(path))
    assert image is not None and path.read_bytes().startswith(b"\x89PNG")
    return image[..., ::-1]


def count(image: np.ndarray, color: tuple[int, int, int], within: int = 50) -> int:
    return int((np.abs(image.astype(int) - color).max(-1) < within).sum())


def test_rates_hot_pixels_and_remarks_are_drawn(tmp_path: Path) -> None:
    plain = drawn(some_recording(20_000, 2_000_000, (48, 64)), tmp_path / "a.png")
    assert count(plain, BLUE) > 5000 and count(plain, ORANGE) > 5000
    assert count(plain, CYAN, 30) == 0
    hot = drawn(some_recording(20_000, 2_000_000, (48, 64), hot=True), tmp_path / "b.png")
    assert count(hot, CYAN, 30) > 20, "a ring around the hot pixel"
    assert hot.shape[0] > plain.shape[0], "one line of remarks more"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("n", "duration_us", "size"),
    [
        (0, 1, (40, 60)),
        (1, 1, (40, 60)),
        (7, 100, (1, 1)),
        (3000, 9000, (720, 1280)),
        (500, 10**10, (42, 78)),
    ],
)
def test_unusual_recordings(n: int, duration_us: int, size: tuple[int, int], tmp_path: Path) -> None:
    image = drawn(some_recording(n, duration_us, size), tmp_path / "a.png")
    assert image.shape[1] == 1320 and 500 < image.shape[0] < 1500


def test_moments_are_the_busiest_of_each_quarter() -> None:
    recording = some_recording(40_000, 4_000_000, (48, 64), burst=True)
    seen = look_over(recording.blocks(), recording.sensor_size)
    length = moment_us(seen)
    assert 1 <= length <= 50_000
    starts = informative_times(seen, length)
    assert len(starts) == 4 and starts == sorted(starts)
    assert all(k * 1_000_000 - length <= s < (k + 1) * 1_000_000 for k, s in enumerate(starts))
    assert 2_790_000 < starts[2] + length / 2 < 2_850_000
    slow = look_over(some_recording(100, 60_000_000, (48, 64)).blocks(), (48, 64))
    assert moment_us(slow) == 50_000
    quick = look_over(some_recording(100_000, 100_000, (48, 64)).blocks(), (48, 64))
    assert moment_us(quick) == pytest.approx(0.06 * 48 * 64, rel=0.1), "about 184 events at one per µs"


def test_missing_folder_and_no_global_state(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="folder"):
        drawn(some_recording(10, 1000, (4, 4)), tmp_path / "no" / "a.png")
    code = "import sys, eventhpe.render.recording_plot; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
