"""`eventhpe prepare`: the words, the files, the exit codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from eventhpe.cli.main import main
from eventhpe.data.dhp19_export import VICON_FIELDS
from eventhpe.data.dhp19_prepared import PreparedDHP19
from eventhpe.events.formats.multidavis_writer import MultiDavisWriter

NUM = 60_000


def write_movement(root: Path, s: int, e: int, m: int, seed: int = 0) -> None:
    """Half a second of four cameras that see small blobs; 100 marker rows, all zero."""
    rng = np.random.default_rng(seed)
    events = root / f"DVS_movies/S{s}/session{e}/mov{m}.aedat"
    events.parent.mkdir(parents=True, exist_ok=True)
    with MultiDavisWriter(events, t_offset_us=1_000_000) as writer:
        writer.special(0)
        writer.special(1)
        t = 2 + np.sort(rng.integers(0, 500_000, NUM))
        x, y = rng.integers(150, 180, NUM), rng.integers(150, 180, NUM)
        writer.append_merged(t, x, y, rng.integers(0, 2, NUM), rng.integers(0, 4, NUM))
    (root / "Vicon_data").mkdir(exist_ok=True)
    fields = {name: np.zeros((100, 3)) for name in VICON_FIELDS}
    scipy.io.savemat(root / f"Vicon_data/S{s}_{e}_{m}.mat", {"XYZPOS": fields})


@pytest.fixture
def root(tmp_path) -> Path:
    write_movement(tmp_path / "root", 1, 1, 1)
    write_movement(tmp_path / "root", 2, 4, 5, seed=1)
    return tmp_path / "root"


def test_the_default_writes_the_authors_names(root, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["prepare", "dhp19", str(root), "-o", str(out)]
    assert main(words) == 0
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        "S1_1_1: 1 windows",
        "S2_4_5: 1 windows",
        f"2 prepared, 0 there already, 0 left out, 0 failed; report: {out / 'prepare-report.jsonl'}",
    ]
    path = out / "h5_dataset_7500_events/346x260/S1_session1_mov1_7500events.h5"
    assert path.is_file() and path.with_name("S1_session1_mov1_7500events_label.h5").is_file()
    assert main(words) == 0
    assert "already prepared from the same bytes" in capsys.readouterr().out


def test_switches_reach_the_settings(root, tmp_path, capsys):
    words = ["prepare", "dhp19", str(root), "-o", str(tmp_path / "out"), "--mode", "modern"]
    assert main([*words, "--windows", "fixed_rate", "--window-us", "100000", "--only", "S1_1_1"]) == 0
    (recording,) = PreparedDHP19(tmp_path / "out")
    assert recording.name.variant == "100000us" and recording.num_frames == 5
    assert recording.num_events.sum() == pytest.approx(NUM, rel=0.03)
    assert main([*words, "--events", "8000", "--min-events", "100000", "--only", "S1_1_1"]) == 0
    assert PreparedDHP19(tmp_path / "out", "2000shared")[0].num_frames == 0
    assert "gives no window" in capsys.readouterr().err
    assert main([*words, "--windows", "per_camera", "--voxel-bins", "2", "--drop", "S2_4_5"]) == 0
    prepared = PreparedDHP19(tmp_path / "out", "7500percamera2bins")
    assert {(r.subject, r.channel) for r in prepared} == {(1, c) for c in range(4)}
    assert prepared[0].voxels(0).shape == (1, 2, 260, 346)
    assert "S2_4_5: left out: dropped as asked" in capsys.readouterr().out


def test_a_damaged_recording_gives_exit_code_2_and_stops_nothing(root, tmp_path, capsys):
    (root / "Vicon_data/S1_1_1.mat").write_bytes(b"damaged")
    assert main(["prepare", "dhp19", str(root), "-o", str(tmp_path / "out")]) == 2
    told = capsys.readouterr()
    assert "eventhpe: S1_1_1: FormatError: " in told.err and "expected a MATLAB 5 or 7 file" in told.err
    assert "S2_4_5: 1 windows" in told.out and "1 prepared" in told.out and "1 failed" in told.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--jobs", "0"], "--jobs must be >= 1"),
        (["--events", "10"], "events_per_frame"),
        (["--window-us", "3", "--windows", "fixed_rate"], "window_us"),
        (["--only", "S9_9_9"], "no recording S9_9_9"),
        (["--mode", "bodies", "--only", "S9_9_9"], "no recording S9_9_9"),
        (["--mode", "bodies", "--cameras", "2", "5"], "cameras 1 to 4"),
        (["--mode", "bodies", "--voxel-bins", "5"], "--voxel-bins goes with the modes that make frames"),
        (["--mode", "modern", "--cameras", "2"], "--cameras goes with --mode bodies, not modern"),
        (["--fit-hz", "100"], "--fit-hz goes with --mode bodies, not faithful"),
    ],
)
def test_bad_input_is_one_line(root, tmp_path, capsys, words, message):
    assert main(["prepare", "dhp19", str(root), "-o", str(tmp_path / "out"), *words]) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1


def test_no_data_set_is_said(tmp_path, capsys):
    assert main(["prepare", "dhp19", str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    assert "expected DVS_movies/" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["prepare", "dhp19", str(tmp_path), "-o", str(tmp_path / "file")]) == 2
    assert "needs a folder" in capsys.readouterr().err
