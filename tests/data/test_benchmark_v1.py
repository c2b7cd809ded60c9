"""benchmark-v1 is frozen: its list, and what its scenes are, value by value."""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple, fields
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import ArrayLike

from eventhpe.data import benchmark_v1
from eventhpe.data.benchmark_v1 import (
    BENCHMARK_V1,
    BENCHMARK_V1_SEED,
    DURATION_S,
    SETTINGS,
    SIZE,
    STEP_US,
    draw_scene_v1,
    find_clips,
    record_v1,
)
from eventhpe.data.labels import read_flow_labels, read_labels
from eventhpe.data.motions import HELD_OUT_PREFIXES, file_checksum
from eventhpe.data.scene import Scene
from eventhpe.errors import FormatError, MissingAssetError
from eventhpe.events.sensor import SensorModel

FROZEN = "5cd08eba8d88944bc0804a81353977bde4feb5776f6b27a932298a624e6e75d0"

SCENES = {
    "cmu86_01_punch1": {
        "betas": "ce816dbe49d7d87f", "camera": "a8ca25ea2a6c257f",
        "albedo": "d704878af1630e2b", "background": "9c209a206c3487fa", "light": "114d6f885b0dfa70",
        "sensor": "5e79b18f5eaee538", "noise_seed": 1859815846,
    },
    "cmu60_salsa28_1": {
        "betas": "a54db2cf64eca05e", "camera": "b28bc5c93b1fd797",
        "albedo": "b9e071c1bfc80da2", "background": "d714ae21ac1cbcff", "light": "ac872ae200b778d9",
        "sensor": "22cb3522d0230e5d", "noise_seed": 940202285,
    },
}  # fmt: skip
"""Digests of what the first generator drew for two clips, by its own code. Their backgrounds are rectangles,
which no image library takes part in."""

MOTIONS = {
    "cmu86_01_punch1": [107.43679, 36.196492],
    "cmu60_salsa28_1": [112.631519, 117.099212],
}
"""Their motions as `projections`. A digest of rounded numbers will not do: joints are float32 on the way, and
machines differ by 2e-8 rad, which is enough to round one of 30,000 numbers the other way."""


def digest(*values: ArrayLike) -> str:
    """Of numbers rounded to 1e-4."""
    h = hashlib.sha256()
    for value in values:
        h.update(np.rint(np.asarray(value, np.float64) * 1e4).astype("<i8").tobytes())
    return h.hexdigest()[:16]


def projections(*values: ArrayLike) -> list[float]:
    """Sums of all numbers weighted by sines and by cosines: none can change without one of them changing."""
    flat = np.concatenate([np.ravel(np.asarray(value, np.float64)) for value in values])
    k = np.arange(len(flat))
    return [float(flat @ np.sin(k)), float(flat @ np.cos(k))]


def facts(scene: Scene) -> dict[str, str]:
    (person,), (lamp,), s, c = scene.people, scene.lights, scene.sensor, scene.camera
    assert isinstance(person.albedo, np.ndarray)
    towards = c.R_world_to_cam @ lamp.direction  # the first generator had its lamp in the camera's frame
    return {
        "betas": digest(person.motion.betas[0]),
        "camera": digest(c.K, c.R_world_to_cam, c.t_world_to_cam),
        "albedo": digest(person.albedo),
        "background": digest(scene.background.canvas),
        "light": digest(towards, scene.ambient, scene.exposure_dn),
        "sensor": digest(
            [s.threshold_on, s.threshold_off, s.mismatch_sigma, s.refractory_us, s.leak_hz, s.shot_hz,
             s.cutoff_hz, s.hot_pixel_fraction]
        ),
    }  # fmt: skip


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files with the names of the clips whose checksums are taken for the right ones."""
    folder = tmp_path / "motions"
    for name, _ in BENCHMARK_V1:
        path = folder / name.split("_")[0] / f"{name}.bvh"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    monkeypatch.setattr(benchmark_v1, "file_checksum", lambda path: dict(BENCHMARK_V1)[path.stem])
    return folder


def test_the_list_is_frozen() -> None:
    text = json.dumps([BENCHMARK_V1_SEED, BENCHMARK_V1])
    assert hashlib.sha256(text.encode()).hexdigest() == FROZEN, "make a benchmark-v2 instead"
    names = [name for name, _ in BENCHMARK_V1]
    assert len(names) == len(set(names)) == 20 and all(n.startswith(HELD_OUT_PREFIXES) for n in names)
    assert (SIZE, DURATION_S, STEP_US) == ((260, 346), 4.0, 10_000)
    assert astuple(SETTINGS) == (0.75, 100.0, 1000.0, 2, 50_000)


def test_the_clips_come_in_the_benchmarks_order(clips: Path) -> None:
    assert [clip.stem for clip in find_clips(clips)] == [name for name, _ in BENCHMARK_V1]


def test_missing_clips_are_named(clips: Path) -> None:
    with pytest.raises(MissingAssetError, match=BENCHMARK_V1[0][0]):
        find_clips(clips / "nowhere")
    last = BENCHMARK_V1[-1][0]
    next(clips.rglob(f"{last}.bvh")).unlink()
    with pytest.raises(MissingAssetError, match=rf"{last}\.bvh"):
        find_clips(clips)


def test_a_clip_that_differs_is_refused(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark_v1, "file_checksum", file_checksum)
    name, checksum = BENCHMARK_V1[0]
    with pytest.raises(FormatError, match=rf"{name}\.bvh: differs.*{checksum}"):
        find_clips(clips)


@pytest.mark.parametrize("name", SCENES)
def test_scenes_are_those_of_the_first_generator(shared: Path, name: str) -> None:
    index = [clip for clip, _ in BENCHMARK_V1].index(name)
    clip = find_clips(shared / "motion")[index]
    rng = np.random.default_rng([BENCHMARK_V1_SEED, index])
    scene = draw_scene_v1(rng, clip)
    assert facts(scene) | {"noise_seed": int(rng.integers(2**31))} == SCENES[name]
    motion = scene.people[0].motion
    found = projections(motion.global_orient, motion.body_pose, motion.transl)
    assert found == pytest.approx(MOTIONS[name], abs=1e-4)
    assert scene.num_labels == 401 and scene.duration_us == 4_000_000 and scene.camera.size == SIZE
    assert (scene.shake, scene.shadow, scene.flicker, scene.gray_exposure_us) == (None, 0.0, None, 0)
    assert not scene.background.sprites and not scene.camera.dist.any()
    # What the first generator's sensor had not, stays as if it were not there.
    older = (
        "threshold_on threshold_off mismatch_sigma refractory_us leak_hz shot_hz cutoff_hz hot_pixel_fraction"
    )
    newer = {f.name: f.default for f in fields(SensorModel) if f.name not in older.split()}
    assert {name: getattr(scene.sensor, name) for name in newer} == newer
    assert (newer["noise_spread"], newer["readout_mev_per_s"], newer["timestamp_step_us"]) == (0, 0, 0)
    assert newer["hot_on_share"] == 1 and newer["mode"] == "esim"


def test_a_recording_holds_the_scene(tmp_path: Path, write_bvh, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clip made here, since those of the benchmark are not everywhere."""
    monkeypatch.setattr(benchmark_v1, "DURATION_S", 0.1)
    clip, out = write_bvh(tmp_path / "cmu13_swing.bvh"), tmp_path / "a.h5"
    record_v1(out, 3, clip)
    scene = draw_scene_v1(np.random.default_rng([BENCHMARK_V1_SEED, 3]), clip)
    labels = read_labels(out)
    np.testing.assert_allclose(labels.params.betas[0], scene.people[0].motion.betas[0], atol=1e-6)
    np.testing.assert_array_equal(labels.camera.K, scene.camera.K)
    assert labels.t_us.tolist() == list(range(0, 100_001, 10_000)) and len(read_flow_labels(out)) == 2
    with h5py.File(out, "r", locking=False) as file:
        told = json.loads(file.attrs["provenance"])
        assert file["events/t"].shape[0] > 1000
    assert told["seed"] == BENCHMARK_V1_SEED and told["index"] == 3
    assert told["sensor_model"]["threshold_on"] == scene.sensor.threshold_on
    assert told["motion"].startswith("cmu13_swing sha256:")
    other = draw_scene_v1(np.random.default_rng([BENCHMARK_V1_SEED, 4]), clip)
    assert all(facts(other)[name] != value for name, value in facts(scene).items())
