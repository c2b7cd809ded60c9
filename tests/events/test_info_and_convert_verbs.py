"""`eventhpe info` and `eventhpe convert`, called as functions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from eventhpe.cli import convert, info
from eventhpe.errors import FormatError
from eventhpe.events.formats.aedat2 import write_aedat2
from eventhpe.events.open import open_recording
from eventhpe.events.types import Events


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    events = Events.from_columns(
        np.sort(rng.integers(0, 10**6, 500)),
        rng.integers(0, 346, 500),
        rng.integers(0, 260, 500),
        [0, 1] * 250,
        (260, 346),
    )
    write_aedat2(tmp_path / "a.aedat", events, t_offset_us=77)
    return tmp_path / "a.aedat"


def test_info_json(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert info.run(info.Options(source, json=True)) == 0
    told = json.loads(capsys.readouterr().out)
    agreed = (
        "format sensor_size num_events t_first_us t_last_us num_on num_off x_min x_max y_min y_max".split()
    )
    assert set(agreed) <= set(told)
    raw = open_recording(source).read_raw()
    assert told["format"] == "AEDAT 2.0" and told["sensor_size"] == [260, 346] and told["num_events"] == 500
    assert (told["t_first_us"], told["t_last_us"]) == (raw.t[0], raw.t[-1])
    assert told["num_on"] == told["num_off"] == 250 and told["x_max"] == raw.x.max()


def test_info_table(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source.write_bytes(source.read_bytes() + b"abc")
    assert info.run(info.Options(source)) == 0
    text = capsys.readouterr().out
    assert "346 x 260 pixels" in text and "500 (250 ON, 250 OFF)" in text and "3 bytes at the end" in text


def test_convert_then_read(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "b.h5"
    assert convert.run(convert.Options(source, out, compression="gzip")) == 0
    assert "500 events" in capsys.readouterr().out
    with open_recording(out) as a, open_recording(source) as b:
        for column in "txyp":
            assert np.array_equal(getattr(a.read(), column), getattr(b.read(), column))
        assert a.t_offset_us == b.t_offset_us and a.info().t_first_us == b.info().t_first_us
    with pytest.raises(FormatError, match="--overwrite"):
        convert.run(convert.Options(source, out))
    assert convert.run(convert.Options(source, out, overwrite=True)) == 0
