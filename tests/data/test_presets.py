"""Sets of recordings with a name."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import pytest

from eventhpe.data import presets
from eventhpe.data.motions import HELD_OUT_PREFIXES, file_checksum
from eventhpe.data.presets import BENCHMARK_V1, BENCHMARK_V1_SEED, Job, plan
from eventhpe.errors import FormatError, MissingAssetError

FROZEN = "5cd08eba8d88944bc0804a81353977bde4feb5776f6b27a932298a624e6e75d0"
FROZEN_CONFIG = "62a5900ab88a6818319e17ac62c1193cbdd2df9f0963bd3c8c029cfedbc7031e"


def make_plan(output: Path, **changes) -> list[Job]:
    options = {
        "preset": "lab", "motion": None, "motions": None, "n": 1, "seed": 1, "duration_s": 0.5,
        "flow_labels": True,
    }  # fmt: skip
    return plan(output, **(options | changes))


@pytest.fixture
def clips(tmp_path, monkeypatch) -> Path:
    """Files with the names of benchmark-v1 whose checksums are taken for the right ones."""
    folder = tmp_path / "motions"
    for name, _ in BENCHMARK_V1:
        path = folder / name.split("_")[0] / f"{name}.bvh"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    monkeypatch.setattr(presets, "file_checksum", lambda path: dict(BENCHMARK_V1)[path.stem])
    return folder


def test_the_benchmark_is_frozen():
    text = json.dumps([BENCHMARK_V1_SEED, BENCHMARK_V1])
    assert hashlib.sha256(text.encode()).hexdigest() == FROZEN, "make a benchmark-v2 instead"
    names = [name for name, _ in BENCHMARK_V1]
    assert len(names) == len(set(names)) == 20


def test_how_the_benchmark_is_recorded_is_frozen_too(tmp_path, clips):
    job = make_plan(tmp_path / "b", preset="benchmark-v1", motions=clips)[0]
    text = json.dumps(asdict(job.config), sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest() == FROZEN_CONFIG, (
        "a default of GeneratorConfig or SceneRanges changed; write the old value into _plan_benchmark"
    )


def test_the_benchmark_plan_holds_twenty_held_out_clips(tmp_path, clips):
    jobs = make_plan(
        tmp_path / "bench",
        preset="benchmark-v1",
        motions=clips,
        n=3,
        seed=99,
        duration_s=0.1,
        flow_labels=False,
    )
    assert len(jobs) == 20
    assert [j.clip.stem for j in jobs if j.clip] == [name for name, _ in BENCHMARK_V1]
    assert all(j.clip.stem.startswith(HELD_OUT_PREFIXES) for j in jobs if j.clip)
    assert [j.output for j in jobs] == [tmp_path / "bench" / f"{name}.h5" for name, _ in BENCHMARK_V1]
    assert [j.index for j in jobs] == list(range(20))
    assert {j.seed for j in jobs} == {BENCHMARK_V1_SEED} and {j.speed for j in jobs} == {1.0}
    assert {j.config.duration_s for j in jobs} == {4.0}, "options of other presets change nothing"
    assert all(j.config.flow_labels and j.config.ranges.sensor_sizes == ((260, 346),) for j in jobs)


def test_a_clip_that_differs_is_refused(tmp_path, clips, monkeypatch):
    monkeypatch.setattr(presets, "file_checksum", file_checksum)
    name, checksum = BENCHMARK_V1[0]
    with pytest.raises(FormatError, match=rf"{name}\.bvh: differs.*{checksum}"):
        make_plan(tmp_path / "b", preset="benchmark-v1", motions=clips)


def test_missing_clips_are_named(tmp_path, clips):
    with pytest.raises(MissingAssetError, match="--motions FOLDER"):
        make_plan(tmp_path / "b", preset="benchmark-v1")
    with pytest.raises(MissingAssetError, match=BENCHMARK_V1[0][0]):
        make_plan(tmp_path / "b", preset="benchmark-v1", motions=tmp_path / "nowhere")
    last = BENCHMARK_V1[-1][0]
    next(clips.rglob(f"{last}.bvh")).unlink()
    with pytest.raises(MissingAssetError, match=rf"{last}\.bvh"):
        make_plan(tmp_path / "b", preset="benchmark-v1", motions=clips)


def test_the_benchmark_goes_into_a_folder(tmp_path, clips):
    with pytest.raises(FormatError, match="folder"):
        make_plan(tmp_path / "b.h5", preset="benchmark-v1", motions=clips)


def test_the_real_clips_are_the_ones_of_the_benchmark(tmp_path, shared):
    jobs = make_plan(tmp_path / "b", preset="benchmark-v1", motions=shared / "motion")
    assert [(j.clip.stem, file_checksum(j.clip)) for j in jobs if j.clip] == list(BENCHMARK_V1)


def test_lab_recordings_are_numbered(tmp_path):
    jobs = make_plan(tmp_path / "out", n=3, seed=7, flow_labels=False)
    assert [j.output.name for j in jobs] == ["00000.h5", "00001.h5", "00002.h5"]
    assert [(j.seed, j.index) for j in jobs] == [(7, 0), (7, 1), (7, 2)]
    assert {j.config.duration_s for j in jobs} == {0.5} and not jobs[0].config.flow_labels
    assert {j.speed for j in jobs} == {0.0}, "the playing speed is drawn"
    assert [j.output for j in make_plan(tmp_path / "one.h5")] == [tmp_path / "one.h5"]


def test_a_single_clip_is_played_as_it_is(tmp_path):
    clip = tmp_path / "a.bvh"
    clip.touch()
    (job,) = make_plan(tmp_path / "one.h5", motion=clip)
    assert job.clip == clip and job.speed == 1.0


def test_options_that_exclude_each_other_are_refused(tmp_path):
    clip = tmp_path / "a.bvh"
    clip.touch()
    with pytest.raises(FormatError, match="not both"):
        make_plan(tmp_path / "out", motion=clip, motions=tmp_path)
    with pytest.raises(FormatError, match="--n 4"):
        make_plan(tmp_path / "one.h5", n=4)
    with pytest.raises(MissingAssetError, match=r"nowhere\.bvh"):
        make_plan(tmp_path / "out", motion=tmp_path / "nowhere.bvh")
