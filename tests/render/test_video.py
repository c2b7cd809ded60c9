"""H.264 files: decoded again and compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eventhpe.errors import FormatError, ShapeError, UnitError
from eventhpe.render.video import VideoWriter

av = pytest.importorskip("av")


def decode(path: Path) -> tuple[object, list[np.ndarray]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(stream)]
        return (stream.codec_context.name, stream.codec_context.pix_fmt, stream.average_rate), frames


@pytest.mark.parametrize("size", [(64, 96), (65, 97)])
def test_round_trip(tmp_path: Path, size: tuple[int, int]) -> None:
    colors = [(200, 60, 40), (30, 180, 90), (40, 60, 220)]
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, size, 12.5) as video:
        assert not path.exists()
        for k in range(9):
            video.write(np.full((*size, 3), colors[k % 3], np.uint8))
    assert video.frames_written == 9
    (codec, pix_fmt, rate), frames = decode(path)
    assert codec == "h264" and pix_fmt == "yuv420p" and float(rate) == 12.5
    assert len(frames) == 9
    for k, frame in enumerate(frames):
        assert frame.shape == (size[0] + size[0] % 2, size[1] + size[1] % 2, 3)
        np.testing.assert_allclose(frame[:60, :90].mean((0, 1)), colors[k % 3], atol=4)
    head = path.read_bytes()
    assert head.index(b"moov") < head.index(b"mdat")  # can start before it is loaded
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mp4"]


def test_nothing_is_left_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"the old film")
    with pytest.raises(KeyError), VideoWriter(path, (32, 32), 10) as video:
        video.write(np.zeros((32, 32, 3), np.uint8))
        raise KeyError
    with pytest.raises(ShapeError, match=r"\(32, 32, 3\)"), VideoWriter(path, (32, 32), 10) as video:
        video.write(np.zeros((32, 30, 3), np.uint8))
    with pytest.raises(FormatError, match="no frame"), VideoWriter(path, (32, 32), 10):
        pass
    assert path.read_bytes() == b"the old film"
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mp4"]


def test_bad_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnitError, match="fps"):
        VideoWriter(tmp_path / "a.mp4", (32, 32), 0)
    with pytest.raises(FormatError, match="folder"):
        VideoWriter(tmp_path / "no" / "a.mp4", (32, 32), 10)
    with pytest.raises(FormatError, match="not open"):
        VideoWriter(tmp_path / "a.mp4", (32, 32), 10).write(np.zeros((32, 32, 3), np.uint8))
