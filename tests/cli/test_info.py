"""`eventhpe info`: the words, the JSON, the picture, the check."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from eventhpe.cli.info import describe, span
from eventhpe.cli.main import main
from eventhpe.events.memory import MemoryBackend
from eventhpe.events.overview import look_over
from eventhpe.events.recording import Recording
from eventhpe.events.store_writer import StoreWriter
from eventhpe.events.types import Events, ImuSamples, Triggers

SIZE = (48, 64)
PROMISED = (
    "format sensor_size num_events t_first_us t_last_us num_on num_off x_min x_max y_min y_max duration_us "
    "mean_rate_hz streams num_frames num_triggers warnings"
).split()


def eventful() -> Events:
    """20,000 events in 2 s, a third of them from pixel (3, 4), and 0.7 s of silence."""
    rng = np.random.default_rng(0)
    t = np.sort(rng.integers(0, 1_300_000, 20_000))
    t[t >= 500_000] += 700_000
    x, y = rng.integers(0, 64, 20_000), rng.integers(0, 48, 20_000)
    x[::3], y[::3] = 3, 4
    return Events.from_columns(t, x, y, rng.random(20_000) < 0.4, SIZE)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    with StoreWriter(tmp_path / "a.h5", SIZE, t_offset_us=5000) as writer:
        writer.append(eventful())
    return tmp_path / "a.h5"


class Rich(MemoryBackend):
    def triggers(self) -> Triggers:
        t = np.array([-2, 900_000])
        return Triggers(t, np.array([1, 0], np.uint8), np.zeros(2, np.uint8))

    def imu(self) -> ImuSamples:
        zeros = np.zeros((3, 3), np.float32)
        return ImuSamples(np.array([0, 10, 1_500_000]), zeros, zeros, np.zeros(3, np.float32))


def test_json_keeps_its_keys_and_adds_an_overview(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(store), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    events = eventful()
    assert set(PROMISED) <= set(told) and told["num_events"] == 20_000 and told["sensor_size"] == [48, 64]
    assert (told["t_first_us"], told["num_on"]) == (int(events.t[0]) + 5000, int(events.p.sum()))
    seen = told["overview"]
    assert seen["num_hot_pixels"] == 1 and seen["hot_pixels"][0]["x"] == 3 and seen["hot_pixels"][0]["y"] == 4
    assert seen["num_gaps"] == 1 and 700_000 <= seen["gaps"][0]["duration_us"] < 705_000
    assert sum(seen["rate"]["on"]) == told["num_on"] and seen["on_share"] == told["num_on"] / 20_000


def test_words_say_what_is_there_and_what_to_do(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(store)]) == 0
    lines = capsys.readouterr().out.splitlines()
    row = {line[:14].strip(): line[15:] for line in lines}
    assert row["sensor"] == "64 x 48 pixels" and row["events"].startswith("20,000 (")
    assert row["rate"].startswith("median ") and "peak " in row["rate"]
    assert row["silences"].startswith("1 over 10 ms: 70") and row["silences"].endswith(" s")
    looks = [line for line in lines if line.startswith("look")]
    assert len(looks) == 2
    assert "1 hot pixel with 33 % of the events: convert with --hot-pixels" in looks[0]
    assert "1 silence" in looks[1]


def test_everything_beside_the_events_is_told() -> None:
    recording = Recording(Rich(eventful(), t_offset_us=0, source="thing.raw"))
    info, spans = recording.info(), span(recording)
    text = describe(info, look_over(recording.blocks(), SIZE), spans)
    assert "triggers       2 from 0.000 to 0.900 s" in text
    assert "IMU samples    3 from 0.000 to 1.500 s" in text
    assert "gray frames" not in text and "cameras" not in text and "time jumps" not in text
    more = replace(
        info, streams=("left", "right"), num_backward=4, largest_backward_us=12_345, num_frames=2,
        warnings=("3 bytes lost",), elements={"packets": 17},
    )  # fmt: skip
    text = describe(more, look_over(recording.blocks(), SIZE), spans | {"frames": "from 0.1 to 0.2 s"})
    for part in (
        "cameras        0 = left, 1 = right; --stream chooses",
        "time jumps     back at 4 events, by 12,345 µs at most",
        "note           3 bytes lost",
        "stored         17 packets",
        "gray frames    2 from 0.1 to 0.2 s",
    ):
        assert part in text


def test_an_empty_recording_is_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with StoreWriter(tmp_path / "a.h5", SIZE) as writer:
        writer.append(Events.empty(SIZE))
    assert main(["info", str(tmp_path / "a.h5")]) == 0
    told = capsys.readouterr().out
    assert "0 (0 ON, 0 OFF)" in told and "rate  " not in told.replace("mean rate", "")
    assert main(["info", str(tmp_path / "a.h5"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["overview"]["peak_rate_hz"] == 0


def test_plot(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.png"
    assert main(["info", str(store), "--plot", str(out)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG") and str(out) in capsys.readouterr().out
    assert main(["info", str(store), "--json", "--plot", str(out)]) == 0
    json.loads(capsys.readouterr().out)
    assert main(["info", str(store), "--plot", str(tmp_path / "a.jpg")]) == 2
    told = capsys.readouterr()
    assert "pictures are written as .png" in told.err and told.out == ""


def test_verify(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(store), "--verify"]) == 0
    assert "verified: " in capsys.readouterr().out
    assert main(["info", str(store), "--verify", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["findings"] == []
    with h5py.File(store, "r+") as file:
        x = file["events/x"]
        x[7] = (int(x[7]) + 1) % 64
    assert main(["info", str(store), "--verify"]) == 1
    told = capsys.readouterr().out
    assert "\nwrong          " in told and "verified" not in told
    assert main(["info", str(store), "--verify", "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["findings"]) == 1


def test_time_unit_is_passed_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "a.txt"
    text.write_text("64 48\n" + "".join(f"{k} {k % 64} {k % 48} {k % 2}\n" for k in range(100)))
    assert main(["info", str(text), "--json", "--time-unit", "ms"]) == 0
    assert json.loads(capsys.readouterr().out)["duration_us"] == 99_000
    with pytest.raises(SystemExit):
        main(["info", str(text), "--time-unit", "days"])
