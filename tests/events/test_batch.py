"""Many recordings at once: names, reports, skipping, failures, workers that die, and kill -9."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eventhpe.atomic import PendingFile, remove_leftovers
from eventhpe.errors import FormatError
from eventhpe.events import batch
from eventhpe.events.batch import (
    Outcome,
    Unit,
    convert_unit,
    find_sources,
    made_from,
    name_outputs,
    per_stream,
    recipe,
    run_batch,
)
from eventhpe.events.formats.aedat2 import write_aedat2
from eventhpe.events.open import open_recording
from eventhpe.events.transforms import Changes
from eventhpe.events.types import Events
from eventhpe.geometry.camera import Camera

SIZE = (260, 346)


def some_events(n: int, seed: int) -> Events:
    rng = np.random.default_rng(seed)
    t = np.cumsum(rng.integers(0, 30, n))
    return Events.from_columns(
        t, rng.integers(0, 346, n), rng.integers(0, 260, n), rng.integers(0, 2, n), SIZE
    )


def recordings(folder: Path, count: int = 4, n: int = 2000) -> list[Path]:
    (folder / "day1").mkdir(parents=True)
    paths = [folder / ("day1" if k % 2 else ".") / f"walk{k}.aedat" for k in range(count)]
    for k, path in enumerate(paths):
        write_aedat2(path, some_events(n, k), t_offset_us=1000 * k)
    return paths


def units_of(source: Path, out: Path, **options: object) -> list[Unit]:
    named = name_outputs(find_sources([source]), out, str(options.get("target", "eventhpe")))
    return [Unit(s, o, **options) for s, o in named]


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.suffix == ".h5"
    }


def test_sources_of_files_folders_and_patterns(tmp_path: Path) -> None:
    paths = recordings(tmp_path / "in")
    (tmp_path / "in/notes.md").write_text("no recording")
    (tmp_path / "in/.hidden.aedat").write_bytes(paths[0].read_bytes())
    found = find_sources([tmp_path / "in"])
    assert [str(r) for _, r in found] == [
        "day1/walk1.aedat",
        "day1/walk3.aedat",
        "walk0.aedat",
        "walk2.aedat",
    ]
    assert [r.name for _, r in find_sources([tmp_path / "in/*.aedat"])] == ["walk0.aedat", "walk2.aedat"]
    assert [s for s, _ in find_sources([tmp_path / "in/*/walk3*", paths[0]])] == sorted([paths[3], paths[0]])
    for nothing in ("in/*.raw", "absent.aedat"):
        with pytest.raises(FormatError, match="no such file"):
            find_sources([tmp_path / nothing])
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match="no file in this folder"):
        find_sources([tmp_path / "empty"])


def test_names_of_outputs() -> None:
    sources = [(Path("/x") / n, Path(n)) for n in ("a.aedat", "a.raw", "b.aedat4", "d/a.raw")]
    named = [str(o) for _, o in name_outputs(sources, Path("out"), "eventhpe")]
    assert named == ["out/a.aedat.h5", "out/a.raw.h5", "out/b.h5", "out/d/a.h5"]
    assert str(name_outputs(sources[2:3], Path("out"), "aedat2")[0][1]) == "out/b.aedat"


def test_report_skipping_and_failures(tmp_path: Path) -> None:
    paths = recordings(tmp_path / "in")
    paths[1].write_bytes(b"#!AER-DAT2.0\r\n# AEChip: unheard.of.Chip\r\n" + bytes(80))
    units = units_of(tmp_path / "in", tmp_path / "out")
    report = tmp_path / "out/report.jsonl"
    seen: list[Outcome] = []
    outcomes = run_batch(units, report, told=seen.append)
    assert [o.status for o in outcomes] == ["failed", "done", "done", "done"] and len(seen) == 4
    assert "unheard.of.Chip" in outcomes[0].error and not units[0].output.exists()
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    assert [line["status"] for line in lines] == ["failed", "done", "done", "done"]
    assert lines[1]["num_events"] == 2000 and len(lines[1]["source_xxh3_128"]) == 32
    before = tree(tmp_path / "out")
    assert [o.status for o in run_batch(units, report)] == ["failed", "skipped", "skipped", "skipped"]
    assert tree(tmp_path / "out") == before

    # other bytes or other options are another conversion: refused, or done when told
    write_aedat2(paths[0], some_events(2000, 99))
    assert "--overwrite" in run_batch(units, None)[2].error
    done = run_batch([replace(u, overwrite=True) for u in units], None)
    assert [o.status for o in done] == ["failed", "skipped", "done", "skipped"]
    flipped = [replace(u, changes=Changes(flip="both")) for u in units]
    assert all(o.status == "failed" for o in run_batch(flipped, None))


@pytest.mark.parametrize("target", ["aedat2", "aedat4", "dsec"])
def test_other_targets_remember_their_making_too(tmp_path: Path, target: str) -> None:
    (source,) = recordings(tmp_path / "in", 1)
    unit = units_of(tmp_path / "in", tmp_path / "out", target=target)[0]
    unit.output.parent.mkdir()
    assert convert_unit(unit).status == "done"
    assert made_from(unit.output)["recipe"] == recipe(unit)
    assert convert_unit(unit).status == "skipped"
    with open_recording(unit.output) as a, open_recording(source) as b:
        for column in "txyp":
            assert np.array_equal(getattr(a.read(), column), getattr(b.read(), column))
        assert a.t_offset_us == b.t_offset_us
    unit.output.write_bytes(b"something else")
    assert "not made by this conversion" in convert_unit(unit).error


def test_recipes_tell_options_apart() -> None:
    unit = Unit(Path("a"), Path("b"))
    others = [
        replace(unit, sensor="DVS128"), replace(unit, stream=1), replace(unit, compression="gzip"),
        replace(unit, changes=Changes(downsample=2)),
        replace(unit, changes=Changes(undistort=Camera.from_focal(50, (9, 9)))),
        replace(unit, changes=Changes(undistort=Camera.from_focal(51, (9, 9)))),
    ]  # fmt: skip
    assert len({recipe(u) for u in (unit, *others)}) == 7
    assert recipe(unit) == recipe(replace(unit, source=Path("c"), output=Path("d"), overwrite=True))


def test_a_unit_for_every_camera(tmp_path: Path) -> None:
    (source,) = recordings(tmp_path / "in", 1)
    unit = Unit(source, tmp_path / "o.h5")
    assert per_stream(unit) == [unit]
    four = per_stream(replace(unit, sensor="MultiDAVIS346"))
    assert [u.output.name for u in four] == [f"o.camera{k}.h5" for k in range(4)]
    assert [u.stream for u in four] == [0, 1, 2, 3]


def _dies(unit: Unit) -> Outcome:
    if "walk3" in unit.source.name:
        os.kill(os.getpid(), signal.SIGKILL)
    return convert_unit(unit)


def test_processes_give_the_same_files(tmp_path: Path) -> None:
    recordings(tmp_path / "in")
    run_batch(units_of(tmp_path / "in", tmp_path / "one"), None)
    outcomes = run_batch(units_of(tmp_path / "in", tmp_path / "two"), tmp_path / "two/r.jsonl", jobs=2)
    assert [o.status for o in outcomes] == ["done"] * 4
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_a_worker_that_dies_takes_one_recording_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings(tmp_path / "in")
    monkeypatch.setattr(batch, "convert_unit", _dies)
    outcomes = run_batch(units_of(tmp_path / "in", tmp_path / "out"), None, jobs=2)
    by_name = {Path(o.source).name: o for o in outcomes}
    assert by_name["walk3.aedat"].status == "failed" and "died" in by_name["walk3.aedat"].error
    assert all(by_name[f"walk{k}.aedat"].status == "done" for k in (0, 1, 2))


@pytest.mark.slow
def test_killed_at_any_instant_then_run_again(tmp_path: Path) -> None:
    """kill -9 in the middle, the same command again: the files of an undisturbed run, and nothing else."""
    recordings(tmp_path / "in", 4, n=400_000)
    units = units_of(tmp_path / "in", tmp_path / "undisturbed")
    run_batch(units, None)
    want = tree(tmp_path / "undisturbed")
    code = (
        "import sys, eventhpe.cli.main as cli; print('ready', flush=True); sys.exit(cli.main(sys.argv[1:]))"
    )
    words = [sys.executable, "-c", code, "convert", str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    killed = 0
    for delay in (0.9, 1.1, 1.3, 1.5):
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        time.sleep(delay)
        killed += process.poll() is None
        process.kill()
        process.wait()
        process.stdout.close()
        finished = tree(tmp_path / "out") if (tmp_path / "out").exists() else {}
        assert all(want[name] == content for name, content in finished.items()), (
            "what has its name is complete"
        )
    assert killed >= 1
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert tree(tmp_path / "out") == want
    others = sorted(
        str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*") if p.is_file()
    )
    assert others == sorted([*want, "convert-report.jsonl"])


def test_leftovers_of_dead_processes_go_those_of_living_ones_stay(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f".a.h5.{dead.pid}-abc.part").touch()
    (tmp_path / f".ab.h5.{dead.pid}-abc.part").touch()
    with PendingFile(tmp_path / "a.h5") as pending:
        assert remove_leftovers(tmp_path / "a.h5") == 1
        assert pending.temporary.exists() and not (tmp_path / "a.h5").exists()
    assert {p.name for p in tmp_path.iterdir()} == {"a.h5", f".ab.h5.{dead.pid}-abc.part"}
    with pytest.raises(KeyError), PendingFile(tmp_path / "a.h5") as pending:
        pending.temporary.write_text("new")
        raise KeyError
    assert (tmp_path / "a.h5").read_text() == "" and remove_leftovers(tmp_path / "no" / "a.h5") == 0
    with pytest.raises(FormatError, match="does not exist"):
        PendingFile(tmp_path / "no" / "a.h5")
