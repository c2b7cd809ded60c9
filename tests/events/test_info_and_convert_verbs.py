"""`eventhpe info` and `eventhpe convert`, called as functions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from eventhpe.cli import convert, info
from eventhpe.errors import FormatError, UnitError
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
    assert convert.run(convert.Options([source], output=out, compression="gzip")) == 0
    assert "500 events" in capsys.readouterr().out
    with open_recording(out) as a, open_recording(source) as b:
        for column in "txyp":
            assert np.array_equal(getattr(a.read(), column), getattr(b.read(), column))
        assert a.t_offset_us == b.t_offset_us and a.info().t_first_us == b.info().t_first_us
    assert convert.run(convert.Options([source], output=out)) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert convert.run(convert.Options([source], output=out, overwrite=True)) == 0
    assert convert.run(convert.Options([source], output=out)) == 0
    assert "already converted" in capsys.readouterr().out


def test_convert_a_folder(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in/more").mkdir(parents=True)
    (tmp_path / "in/a.aedat").write_bytes(source.read_bytes())
    (tmp_path / "in/more/b.aedat").write_bytes(source.read_bytes()[:-3])
    assert convert.run(convert.Options([tmp_path / "in"], output=tmp_path / "out")) == 0
    told = capsys.readouterr()
    assert "2 converted, 0 there already, 0 failed" in told.out and "5 bytes at the end" in told.err
    assert open_recording(tmp_path / "out/more/b.h5").num_events == 499
    assert len((tmp_path / "out/convert-report.jsonl").read_text().splitlines()) == 2
    with pytest.raises(FormatError, match="need a folder"):
        convert.run(convert.Options([tmp_path / "in"], output=source))


def test_convert_with_changes_and_back(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calibration = tmp_path / "c.yaml"
    calibration.write_text("{fx: 300, fy: 300, cx: 172.5, cy: 129.5}")
    options = convert.Options(
        [source], output=tmp_path / "b.h5", start=0.2, stop=0.9, undistort=calibration,
        crop=(10, 20, 128, 128), flip="both", refractory_us=10, hot_pixels=True,
    )  # fmt: skip
    assert convert.run(options) == 0
    assert convert.run(convert.Options([tmp_path / "b.h5"], output=tmp_path / "c.aedat")) == 0
    assert convert.run(convert.Options([tmp_path / "b.h5"], output=tmp_path / "c.aedat4")) == 0
    with open_recording(source) as recording:
        e = recording.read()
    t0 = open_recording(source).t_offset_us
    inside = (e.t >= 200_000) & (e.t < 900_000) & (e.x >= 10) & (e.x < 138) & (e.y >= 20) & (e.y < 148)
    for name, label in (("b.h5", "eventhpe HDF5"), ("c.aedat", "AEDAT 2.0"), ("c.aedat4", "AEDAT 4.0")):
        with open_recording(tmp_path / name) as recording:
            raw = recording.read_raw()
            assert recording.format == label and recording.sensor_size == (128, 128)
            assert np.isin(raw.t - t0, e.t[inside]).all() and 10 < len(raw) <= inside.sum()
            x_of = dict(
                zip((e.t[inside] + t0).tolist(), (137 - e.x[inside].astype(int)).tolist(), strict=True)
            )
            assert [x_of[t] for t in raw.t.tolist()] == raw.x.tolist()
    with pytest.raises(UnitError, match="LEFT TOP WIDTH HEIGHT"):
        convert.run(convert.Options([source], output=tmp_path / "d.h5", crop=(1, 2)))
    assert convert.run(convert.Options([source], output=tmp_path / "d.h5", crop=(300, 0, 100, 100))) == 2
    assert "does not lie inside" in capsys.readouterr().err and not (tmp_path / "d.h5").exists()


@pytest.mark.parametrize("options", [{"stream": "all"}, {"undistort": True}])
def test_a_recording_that_cannot_be_opened_stops_no_other(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: dict
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/good.aedat").write_bytes(source.read_bytes())
    (tmp_path / "in/bad.aedat").write_bytes(b"#!AER-DAT2.0\r\n# AEChip: unheard.of.Chip\r\n" + bytes(80))
    if "undistort" in options:
        options = {"undistort": tmp_path / "c.yaml"}
        options["undistort"].write_text("{fx: 300, fy: 300, cx: 172.5, cy: 129.5}")
    assert convert.run(convert.Options([tmp_path / "in"], output=tmp_path / "out", **options)) == 2
    told = capsys.readouterr()
    assert "1 converted, 0 there already, 1 failed" in told.out and "unheard.of.Chip" in told.err
    assert open_recording(tmp_path / "out/good.h5").num_events == 500
    lines = (tmp_path / "out/convert-report.jsonl").read_text().splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["failed", "done"]
