"""The benchmarks of reading and converting: their files hold what they should, their verdicts are right."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "tools" / "bench"
COUNT = 20_000


@pytest.fixture(scope="module")
def bench() -> Any:
    """Gives modules of the benchmarks by name; they are no package."""
    sys.path.insert(0, str(FOLDER))
    yield import_module
    sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def sources(bench: Any) -> dict[str, Any]:
    """Streams that repeat three times within the files."""
    streams = bench("streams")
    sizes = {"davis": (260, 346), "vga": (480, 640)}
    return {name: streams.synthetic(size, COUNT * 2 // 5) for name, size in sizes.items()}


def run(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(FOLDER / script), *arguments], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


KINDS = (
    "aedat2", "aedat31", "aedat4-none", "aedat4-lz4", "aedat4-zstd", "dat", "evt2", "evt21-little",
    "evt21-legacy", "evt3", "ecf", "text", "csv", "bag",
)  # fmt: skip


def test_every_kind_is_tried_here_and_has_a_target(bench: Any) -> None:
    assert set(KINDS) == set(bench("streams").KINDS) == set(bench("decode").TARGETS)


@pytest.mark.parametrize("kind", KINDS)
def test_files_hold_the_events_of_their_stream(
    bench: Any, sources: dict[str, Any], tmp_path: Path, kind: str
) -> None:
    streams, readers = bench("streams"), bench("readers")
    stream = sources[streams.KINDS[kind].stream]
    path, facts = streams.make(tmp_path, kind, stream, COUNT)
    base = stream.base
    assert facts.count == COUNT and facts.first_us == streams.KINDS[kind].start_us
    half = slice(0, COUNT - 2 * len(base))
    for axis in "xyp":
        column = getattr(base, axis).astype(np.int64)
        assert getattr(facts, f"sum_{axis}") == 2 * column.sum() + column[half].sum()
    for name in (readers.OURS, readers.OURS_BLOCKS):
        found = readers.READERS[name].facts(path)
        assert readers.compare(found, facts, base.sensor_size) == ""
    written = path.stat().st_mtime_ns
    assert streams.make(tmp_path, kind, stream, COUNT) == (path, facts)
    assert path.stat().st_mtime_ns == written


def test_evt3_has_vectors_and_camera_clock_words(bench: Any, tmp_path: Path) -> None:
    streams = bench("streams")
    rows = np.repeat(np.arange(400), 50)  # 50 neighbours at one time in each row
    columns = np.tile(np.arange(100, 150), 400)
    events = streams.Events(
        rows * 100, columns.astype(np.uint16), rows.astype(np.uint16), np.ones(COUNT, np.uint8), (480, 640)
    )
    stream = streams.Stream("rows", events, 40960)
    path, facts = streams.make(tmp_path, "evt3", stream, COUNT)
    assert bench("readers").READERS["eventhpe, blocks"].facts(path) == facts
    data = path.read_bytes()
    kinds = np.bincount(np.frombuffer(data[data.index(b"% end\n") + 6 :], "<u2") >> 12, minlength=16)
    # Columns 100 to 127 and 128 to 149 make two vectors of three mask words.
    assert kinds[[2, 3, 4, 5, 6, 0]].tolist() == [0, 800, 1600, 800, 400, 400]
    assert kinds[8] == 399 * 100 // 16 + 1


def test_readers_with_other_events_are_found_out(bench: Any) -> None:
    streams, readers = bench("streams"), bench("readers")
    right = streams.Facts(10, 30, 40, 5, 1000, 2000, 5000)
    size = (20, 50)
    assert readers.compare(right, right, size) == ""
    assert readers.compare(replace(right, sum_x=49 * 10 - 30), right, size) == "x not turned"
    assert readers.compare(replace(right, sum_y=19 * 10 - 40), right, size) == "y not turned"
    late = replace(right, first_us=0, last_us=1000)
    assert readers.compare(late, right, size) == "clock starts at 0 µs"
    for change in ({"count": 9}, {"sum_x": 31}, {"sum_p": 4}, {"last_us": 2001}, {"sum_t_from_first": 4999}):
        with pytest.raises(readers.WrongEventsError):
            readers.compare(replace(right, **change), right, size)


def test_targets_compare_whole_arrays_with_the_rival(bench: Any) -> None:
    decode = bench("decode")

    def rated(**rates: float) -> dict[str, Any]:
        names = {"ours": "eventhpe, whole arrays", "blocks": "eventhpe, blocks"}
        return {"readers": {names.get(k, k): {"mev_per_cpu_second": v} for k, v in rates.items()}}

    results = {
        "evt21-legacy": rated(ours=90.0, blocks=150.0, evutils=100.0),
        "evt21-little": rated(ours=60.0, blocks=150.0),
    }
    target, stretch = decode.judge("evt21-legacy", results)
    assert target["met"] and not stretch["met"] and target["ratio"]["eventhpe, blocks"] == 1.5
    assert stretch["stretch"] and stretch["ratio"]["eventhpe, whole arrays"] == 0.9
    (other,) = decode.judge("evt21-little", results)  # its rival reads the other word order only
    assert other["rival"] == "evutils (evt21-legacy)" and not other["met"]
    results["evt21-legacy"]["readers"]["evutils"] = {"failure": "wrong t"}
    assert decode.judge("evt21-little", results) == []


def test_workers_survive_errors_and_their_death_is_told(bench: Any, tmp_path: Path) -> None:
    timing = bench("timing")
    script = tmp_path / "worker.py"
    script.write_text(
        f"import sys, os; sys.path.insert(0, {str(FOLDER)!r}); import timing\n"
        "def die(): os._exit(3)\n"
        "def shout(): print('noise'); return 7\n"
        "timing.serve({'one': lambda x: 1 / x, 'die': die, 'shout': shout,"
        " 'time': lambda: timing.timed(lambda: sum(range(10**5)))})\n"
    )
    with timing.Worker([str(script)]) as worker:
        assert worker.ask(do="one", x=4) == 0.25
        with pytest.raises(timing.WorkerError, match="ZeroDivisionError"):
            worker.ask(do="one", x=0)
        assert worker.ask(do="shout") == 7
        assert worker.seconds(do="time").cpu > 0
        with pytest.raises(timing.WorkerError, match="exit code 3"):
            worker.ask(do="die")


def test_decode_runs(tmp_path: Path) -> None:
    out = tmp_path / "decode.json"
    options = ["--events", str(COUNT), "--rounds", "1", "--formats", "aedat2", "--output", str(out)]
    ours = ["eventhpe, whole arrays", "eventhpe, blocks", "floor, fresh arrays", "floor, reused arrays"]
    told = run("decode.py", *options, "--readers", *ours)
    result = json.loads(out.read_text())["results"]["aedat2"]
    assert list(result["readers"]) == ours and result["events"] == COUNT
    assert all(r["mev_per_cpu_second"] > 0 for r in result["readers"].values())
    assert [t["rival"] for t in result["targets"]] == ["floor, fresh arrays"]
    assert "AEDAT 2.0: 20,000 events, 8.01 bytes each" in told


def test_convert_runs(tmp_path: Path) -> None:
    out = tmp_path / "convert.json"
    run("convert.py", "--events", str(COUNT), "--rounds", "1", "--formats", "dat", "--output", str(out))
    result = json.loads(out.read_text())["results"]["dat"]
    decode, write, whole = (result[k]["mev_per_cpu_second"] for k in ("decode", "write", "convert"))
    assert result["whole_to_parts"] == pytest.approx(whole * (1 / decode + 1 / write), rel=0.01)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="resident memory is told by Linux only")
def test_memory_runs(tmp_path: Path) -> None:
    out = tmp_path / "memory.json"
    run("memory.py", "--gigabytes", "0.0005", "--formats", "evt3", "--output", str(out))
    result = json.loads(out.read_text())["results"]["evt3"]
    assert result["events"] > 10_000 and 20 < result["imports_mb"] <= result["peak_mb"]
    assert result["above_imports_mb"] == pytest.approx(result["peak_mb"] - result["imports_mb"], abs=0.2)
