"""Videos of a recording alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eventhpe.errors import FormatError, ShapeError, UnitError
from eventhpe.events.memory import MemoryBackend
from eventhpe.events.recording import Recording
from eventhpe.events.types import Events, GrayFrames
from eventhpe.render import event_movie
from eventhpe.render.event_movie import EventPainter, MovieOptions, part_us, window_counts, write_event_movie
from eventhpe.render.overlay import event_image

av = pytest.importorskip("av")
SIZE = (40, 56)


def moving_edge(seconds: float = 1.0) -> Events:
    """A column that moves to the right, one pixel per 20 ms; ON in the upper half, OFF in the lower."""
    steps = int(seconds * 50)
    k, y = np.mgrid[:steps, : SIZE[0]].reshape(2, -1)
    return Events.from_columns(k * 20_000 + y, k % SIZE[1], y, y < 20, SIZE)


class WithFrames(MemoryBackend):
    """Gray frames of one value each, 100 ms apart."""

    shape = SIZE

    def frames(self) -> GrayFrames:
        times = np.arange(5, dtype=np.int64) * 100_000 + 50_000
        return GrayFrames(times, lambda k: np.full(self.shape, 50 * k, np.uint8))


@pytest.fixture
def recording() -> Recording:
    return Recording.from_events(moving_edge())


def decode(path: Path) -> tuple[float, list[np.ndarray]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(stream)]
        return float(stream.average_rate), frames


def lit_columns(frame: np.ndarray, scale: int) -> list[int]:
    """Columns with light below the label."""
    rows = frame[15 * scale :: scale][:, scale // 2 :: scale].astype(int).max(-1)
    return np.flatnonzero((rows > 60).mean(0) > 0.5).tolist()


def test_each_picture_shows_its_own_moment(recording: Recording, tmp_path: Path) -> None:
    out = tmp_path / "a.mp4"
    assert write_event_movie(out, recording, MovieOptions(fps=50, scale=4)) == 50
    fps, frames = decode(out)
    assert fps == 50 and len(frames) == 50 and frames[0].shape == (160, 224, 3)
    for k in (0, 11, 30, 49):
        assert lit_columns(frames[k], 4) == [k], "moves to the right, one pixel per picture"
    upper, lower = (
        frames[30][rows, 30 * 4 : 31 * 4].mean((0, 1)) for rows in (slice(50, 76), slice(84, 150))
    )
    assert upper[2] > upper[0] + 50 and lower[0] > lower[2] + 50, "ON is blue, OFF is orange; y goes down"
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_slow_motion_window_and_part(recording: Recording, tmp_path: Path) -> None:
    out = tmp_path / "a.mp4"
    how = MovieOptions(fps=25, slow=4, start_s=0.2, stop_s=0.4, scale=4)
    assert how.period_us == 10_000 and write_event_movie(out, recording, how) == 20
    fps, frames = decode(out)
    assert fps == 25 and len(frames) == 20
    assert [lit_columns(f, 4) for f in frames[:6]] == [[10], [], [11], [], [12], []]

    trail = MovieOptions(fps=50, window_us=100_000, scale=4)
    assert write_event_movie(out, recording, trail) == 50
    assert lit_columns(decode(out)[1][20], 4) == [16, 17, 18, 19, 20]
    assert write_event_movie(out, recording, MovieOptions(fps=10, slow=0.5, scale=1)) == 5
    assert lit_columns(decode(out)[1][1], 1) == list(range(10, 20)), "twice as fast: 200 ms per picture"


def test_silence_gives_pictures_too(tmp_path: Path) -> None:
    events = moving_edge(0.2)
    t = events.t.copy()
    t[len(t) // 2 :] += 4_000_000
    recording = Recording.from_events(Events(t, events.x, events.y, events.p, SIZE))
    assert write_event_movie(tmp_path / "a.mp4", recording, MovieOptions(fps=10)) == 42
    frames = decode(tmp_path / "a.mp4")[1]
    assert len(frames) == 42 and max(f[60:].max() for f in frames[2:40]) < 60
    empty = Recording.from_events(Events.empty(SIZE))
    assert write_event_movie(tmp_path / "b.mp4", empty, MovieOptions()) == 1


def test_light_style_and_frames_beneath(tmp_path: Path) -> None:
    out = tmp_path / "a.mp4"
    recording = Recording(WithFrames(moving_edge(), t_offset_us=0, source="memory"))
    for style, low, span in (("dark", 0.0, 0.55), ("light", 110.0, 0.57)):
        how = MovieOptions(fps=50, style=style, frames=True, scale=2)
        write_event_movie(out, recording, how)
        frames = decode(out)[1]
        for k, latest in ((0, 0), (4, 0), (10, 1), (40, 4)):  # before the first frame: the first
            assert np.abs(frames[k][50:, 100:].astype(float).mean() - (low + span * 50 * latest)) < 6
    write_event_movie(out, recording, MovieOptions(fps=50, style="light", scale=2))
    assert decode(out)[1][0][40:, 30:].mean() > 245

    with pytest.raises(FormatError, match="holds no gray frames; leave out --frames"):
        write_event_movie(out, Recording.from_events(moving_edge()), MovieOptions(frames=True))
    odd = WithFrames(moving_edge(), t_offset_us=0, source="memory")
    odd.shape = (20, 30)
    with pytest.raises(ShapeError, match=r"gray frame 0 is \(20, 30\), the sensor \(40, 56\)"):
        write_event_movie(tmp_path / "b.mp4", Recording(odd), MovieOptions(frames=True))
    assert not (tmp_path / "b.mp4").exists()


@pytest.mark.parametrize("style", ["dark", "light"])
def test_colours_are_those_of_event_pictures(style: str) -> None:
    rng = np.random.default_rng(0)
    n = 20_000
    events = Events.from_columns(
        np.arange(n), rng.integers(0, 56, n) ** 2 // 60, rng.integers(0, 40, n), rng.random(n) < 0.3, SIZE
    )
    recording = Recording.from_events(events)
    for t1 in (0, 500, 3000):
        on, off = window_counts(recording, 0, t1)
        assert max(on.max(), off.max()) <= 63
        picture = EventPainter(style, 2.0).paint(on, off)
        wanted = event_image(events.between(0, t1), style=style, full_at=2.0)
        assert np.abs(picture.astype(int) - wanted).max() <= 1
    on, off = np.full(SIZE, 900, np.float32), np.full(SIZE, 300, np.float32)
    many = EventPainter(style, 2.0).paint(on, off)
    few = EventPainter(style, 2.0).paint(on / 30, off / 30)
    assert np.abs(many.astype(int) - few).max() <= 2, "a pixel's mixture stays when counts are large"
    assert EventPainter(style, 2.0).paint(on * 0, off, np.zeros(SIZE, np.float32)).std(axis=(0, 1)).max() == 0


def test_long_windows_are_added_up_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    events = moving_edge()
    recording = Recording.from_events(events)
    whole = window_counts(recording, 100_000, 900_000)
    read: list[int] = []
    true_read = recording.read
    monkeypatch.setattr(recording, "read", lambda i, j: read.append(j - i) or true_read(i, j))
    monkeypatch.setattr(event_movie, "PART_EVENTS", 300)
    parts = window_counts(recording, 100_000, 900_000)
    assert max(read) == 300 and sum(read) == 1600
    assert all(np.array_equal(a, b) for a, b in zip(whole, parts, strict=True))
    assert whole[0].sum() + whole[1].sum() == 1600


def test_wrong_options_are_told(recording: Recording, tmp_path: Path) -> None:
    for wrong, complaint in (
        ({"fps": 0}, "fps must be > 0"),
        ({"fps": float("nan")}, "fps must be > 0"),
        ({"slow": -1}, "slow must be > 0"),
        ({"fps": 60, "slow": 1e6}, "take a smaller product"),
        ({"window_us": 0}, "window_us must be at least 1"),
        ({"scale": 0}, "scale must be a whole number"),
        ({"style": "red"}, "style must be one of dark, light"),
    ):
        with pytest.raises(UnitError, match=complaint):
            MovieOptions(**wrong)  # type: ignore[arg-type]
    for start, stop in ((2.0, None), (0.5, 0.5), (0.5, 0.2)):
        with pytest.raises(UnitError, match=r"nothing lies between .* the recording ends at 0\.98004 s"):
            part_us(recording, MovieOptions(start_s=start, stop_s=stop))
    with pytest.raises(UnitError, match="start must be seconds from the beginning"):
        part_us(recording, MovieOptions(start_s=-1))
    assert part_us(recording, MovieOptions(start_s=0.1, stop_s=9)) == (100_000, 980_040)
    assert list(tmp_path.iterdir()) == []
