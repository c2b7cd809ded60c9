"""From what the user asked for to jobs, and from jobs to recordings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from eventhpe.data import benchmark_v1
from eventhpe.data.benchmark_p1 import BENCHMARK_P1, BENCHMARK_P1_SEED
from eventhpe.data.benchmark_v1 import BENCHMARK_V1, BENCHMARK_V1_SEED
from eventhpe.data.generator import Choice, GeneratorConfig
from eventhpe.data.plan import Job, Request, count_events, make_recording, plan, run_plan
from eventhpe.data.presets import PRESETS, preset_config
from eventhpe.errors import FormatError, MissingAssetError, ShapeError


def planned(output: Path, preset: str = "lab", **changes: Any) -> list[Job]:
    config = None if preset.startswith("benchmark") else preset_config(preset)
    return plan(Request(output, preset, config, **changes))


def test_recordings_are_numbered(tmp_path: Path) -> None:
    jobs = planned(tmp_path / "out", n=3, seed=7)
    assert [j.output.name for j in jobs] == ["00000.h5", "00001.h5", "00002.h5"]
    assert [(j.seed, j.index, j.kind) for j in jobs] == [(7, k, "scene") for k in range(3)]
    assert {j.config for j in jobs} == {preset_config("lab")} and not jobs[0].choice.speed
    assert [j.output for j in planned(tmp_path / "one.h5")] == [tmp_path / "one.h5"]


def test_a_single_clip_is_played_as_it_is(tmp_path: Path) -> None:
    clip = tmp_path / "a.bvh"
    clip.touch()
    (job,) = planned(tmp_path / "one.h5", motion=clip)
    assert job.choice.clip == clip and job.choice.speed == 1.0 and job.motions is None


def test_benchmark_v1_has_its_own_seed_and_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark_v1, "file_checksum", lambda path: dict(BENCHMARK_V1)[path.stem])
    for name, _ in BENCHMARK_V1:
        (tmp_path / f"{name}.bvh").touch()
    jobs = planned(tmp_path / "b", "benchmark-v1", motions=tmp_path, n=3, seed=99)
    assert [j.output for j in jobs] == [tmp_path / "b" / f"{name}.h5" for name, _ in BENCHMARK_V1]
    assert [j.choice.clip.stem for j in jobs if j.choice.clip] == [name for name, _ in BENCHMARK_V1]
    assert [(j.seed, j.index, j.config) for j in jobs] == [(BENCHMARK_V1_SEED, k, None) for k in range(20)]
    with pytest.raises(MissingAssetError, match="--motions FOLDER"):
        planned(tmp_path / "b", "benchmark-v1")


def test_the_real_clips_are_those_of_the_benchmark(tmp_path: Path, shared: Path) -> None:
    jobs = planned(tmp_path / "b", "benchmark-v1", motions=shared / "motion")
    found = [(j.choice.clip.stem, benchmark_v1.file_checksum(j.choice.clip)) for j in jobs if j.choice.clip]
    assert found == list(BENCHMARK_V1)


def test_benchmark_p1_has_its_own_seed_and_movements(tmp_path: Path) -> None:
    jobs = planned(tmp_path, "benchmark-p1", n=2, seed=5)
    assert [j.output.name for j in jobs] == [f"{k:02d}_{m}.h5" for k, m in enumerate(BENCHMARK_P1)]
    assert {(j.seed, j.kind) for j in jobs} == {(BENCHMARK_P1_SEED, "benchmark-p1")}


def test_data_sets_count_as_their_authors_do(tmp_path: Path) -> None:
    jobs = planned(tmp_path, "dhp19", n=4, seed=2)
    assert [j.output.relative_to(tmp_path).as_posix() for j in jobs] == [
        f"DVS_movies/S{s}/session1/mov{m}.aedat" for m in (1, 2) for s in (1, 13)
    ]
    assert {(j.root, j.kind, j.seed) for j in jobs} == {(tmp_path, "dhp19", 2)}
    jobs = planned(tmp_path, "mmhpsd", n=3)
    assert len({j.output for j in jobs}) == 3 and {j.kind for j in jobs} == {"mmhpsd"}
    for preset, most in (("dhp19", 561), ("mmhpsd", 180)):
        assert len({j.output for j in planned(tmp_path, preset, n=most)}) == most
        with pytest.raises(FormatError, match=f"--n: .*has {most} .*{most + 1} were asked for"):
            planned(tmp_path, preset, n=most + 1)


@pytest.mark.parametrize("preset", [p for p in PRESETS if p not in ("lab", "wild", "clean")])
def test_sets_go_into_a_folder_and_bring_their_motions(tmp_path: Path, preset: str) -> None:
    with pytest.raises(FormatError, match=rf"b\.h5: preset {preset} makes a folder"):
        planned(tmp_path / "b.h5", preset, motions=tmp_path if preset == "benchmark-v1" else None)
    clip = tmp_path / "a.bvh"
    clip.touch()
    with pytest.raises(FormatError, match=f"--motion: preset {preset} has motions of its own"):
        planned(tmp_path / "b", preset, motion=clip)
    if preset in ("benchmark-p1", "dhp19"):
        with pytest.raises(FormatError, match=f"--motions: preset {preset} has movements of its own"):
            planned(tmp_path / "b", preset, motions=tmp_path)


def test_options_that_exclude_each_other_are_refused(tmp_path: Path) -> None:
    clip = tmp_path / "a.bvh"
    clip.touch()
    with pytest.raises(FormatError, match="not both"):
        planned(tmp_path / "out", motion=clip, motions=tmp_path)
    with pytest.raises(FormatError, match="--n 4"):
        planned(tmp_path / "one.h5", n=4)
    with pytest.raises(MissingAssetError, match=r"nowhere\.bvh"):
        planned(tmp_path / "out", motion=tmp_path / "nowhere.bvh")
    empty = tmp_path / "empty"
    empty.mkdir()
    for preset in ("lab", "mmhpsd"):
        with pytest.raises(MissingAssetError, match=r"empty: found no training motion clips"):
            planned(tmp_path / "out", preset, motions=empty)


def test_running_tells_what_was_made_in_the_jobs_order(tmp_path: Path, tiny_config: GeneratorConfig) -> None:
    config = replace(tiny_config, duration_s=0.1, depth_labels=True)
    jobs = [Job(tmp_path / f"{k}.h5", config, 5, k) for k in (1, 0)]
    running = run_plan(jobs)
    assert len(running) == 2
    facts = list(running)
    assert [f["output"] for f in facts] == [str(j.output) for j in jobs]
    assert [f["num_events"] for f in facts] == [count_events(j.output) for j in jobs]
    assert len({f["num_events"] for f in facts}) == 2
    with h5py.File(jobs[0].output, "r", locking=False) as file:
        assert {"depth", "mask", "flow", "people"} <= set(file["labels"])
        assert file["labels/people/0/joint_events"].shape == (2, 24)


def test_a_failed_recording_leaves_nothing_behind(tmp_path: Path, tiny_config: GeneratorConfig) -> None:
    job = Job(tmp_path / "a.h5", tiny_config, 1, 0)
    with pytest.raises(ShapeError, match="cartwheel"):
        make_recording(replace(job, choice=replace(job.choice, movement="cartwheel")))
    assert list(tmp_path.iterdir()) == []


def test_clips_of_a_folder_are_drawn(tmp_path: Path, tiny_config: GeneratorConfig, write_bvh: Any) -> None:
    for name in ("cmu14_x", "cmu13_y", "cmu86_z"):
        write_bvh(tmp_path / "clips" / f"{name}.bvh")
    config = replace(tiny_config, procedural_share=0.0, duration_s=0.1, flow_labels=False)
    config = replace(config, style=replace(config.style, blend_share=0.0))
    for k in range(3):
        path = tmp_path / f"{k}.h5"
        make_recording(Job(path, config, 1, k, motions=tmp_path / "clips"))
        with h5py.File(path) as file:
            assert "cmu13_y sha256:" in str(file.attrs["provenance"]), "the others are held out"
            assert "flow" not in file["labels"] and np.any(file["labels/mask"])


def test_a_clip_may_be_bvh_or_amass(tmp_path: Path, tiny_config: GeneratorConfig, write_bvh: Any) -> None:
    bvh, amass = write_bvh(tmp_path / "swing.bvh"), tmp_path / "turn.npz"
    poses = np.zeros((40, 156))
    poses[:, 0], poses[:, 2] = np.pi / 2, np.linspace(0, 0.5, 40)  # AMASS stands upright along z
    np.savez(
        amass, poses=poses, trans=np.full((40, 3), (0, 0, 0.9)), betas=np.zeros(16), gender="neutral",
        mocap_framerate=60.0,
    )  # fmt: skip
    config = replace(tiny_config, duration_s=0.1, flow_labels=False)
    for clip in (bvh, amass):
        out = tmp_path / f"{clip.stem}.h5"
        make_recording(Job(out, config, 1, 0, choice=Choice(clip=clip, speed=1.0)))
        with h5py.File(out) as file:
            assert f"{clip.stem} sha256:" in str(file.attrs["provenance"])
            assert np.any(file["labels/mask"])
    amass.write_bytes(b"PK nothing")
    with pytest.raises(FormatError, match=r"turn\.npz"):
        make_recording(Job(tmp_path / "b.h5", config, 1, 0, choice=Choice(clip=amass)))
    assert not (tmp_path / "b.h5").exists()
