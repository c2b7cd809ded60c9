"""benchmark-p1 is frozen, needs nothing, and has styles that training never draws."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from eventhpe.body.choreography import MOVEMENTS
from eventhpe.data import benchmark_p1, motion_library
from eventhpe.data.benchmark_p1 import BENCHMARK_P1, BENCHMARK_P1_SEED, config_p1, draw_scene_p1, record_p1
from eventhpe.data.generator import Choice, Generator, GeneratorConfig
from eventhpe.data.labels import read_labels
from eventhpe.data.motion_style import StyleRanges, in_reserved_cell
from eventhpe.data.motions import draw_movement
from eventhpe.data.scene import Scene

FROZEN = "9e90ce484cb9c81032cd693ed47bc27dfd0ff26c819d0b62101e86353aac0564"
"""Of motions, bodies, cameras, light and sensors of all scenes, rounded to 1e-4."""

DRAWN = (
    "threshold_on", "threshold_off", "mismatch_sigma", "refractory_us", "leak_hz", "shot_hz", "noise_spread",
    "noise_patch_px", "cutoff_hz", "hot_pixel_fraction", "hot_pixel_hz", "hot_on_share", "timestamp_step_us",
    "readout_mev_per_s",
)  # fmt: skip
"""Properties of the sensor."""


class Spy:
    """Remembers the styles in which movements are performed."""

    def __init__(self) -> None:
        self.styles: list[tuple[float, float]] = []

    def __call__(self, *args: Any, **options: Any) -> Any:
        self.styles.append((options["amplitude"], options["tempo"]))
        return draw_movement(*args, **options)


@pytest.fixture(scope="module")
def drawn() -> Iterator[tuple[list[Scene], Spy]]:
    """All scenes, and the styles that they were drawn in."""
    with pytest.MonkeyPatch.context() as patch:
        spy = Spy()
        patch.setattr(motion_library, "draw_movement", spy)
        yield [draw_scene_p1(index) for index in range(len(BENCHMARK_P1))], spy


def test_its_scenes_are_frozen(drawn: tuple[list[Scene], Spy]) -> None:
    h = hashlib.sha256(json.dumps([BENCHMARK_P1_SEED, BENCHMARK_P1]).encode())
    for scene in drawn[0]:
        (person,), c = scene.people, scene.camera
        sensor = [getattr(scene.sensor, name) for name in DRAWN]
        light = [scene.ambient, scene.exposure_dn, scene.shadow, scene.gray_exposure_us]
        light += [x for lamp in scene.lights for x in (*lamp.direction, lamp.intensity)]
        m = person.motion
        for values in (
            m.betas[0], m.global_orient, m.body_pose, m.transl, c.K, c.dist, c.R_world_to_cam,
            c.t_world_to_cam, light, sensor,
        ):  # fmt: skip
            h.update(np.rint(np.asarray(values, np.float64) * 1e4).astype("<i8").tobytes())
    assert h.hexdigest() == FROZEN, "the benchmark's scenes changed; undo that, or make a benchmark-p2"


def test_each_scene_is_one_person_before_a_still_davis346(drawn: tuple[list[Scene], Spy]) -> None:
    assert len(set(BENCHMARK_P1)) == len(BENCHMARK_P1) == 24 and set(BENCHMARK_P1) <= set(MOVEMENTS)
    for movement, scene in zip(BENCHMARK_P1, drawn[0], strict=True):
        assert [p.source for p in scene.people] == [f"procedural:{movement}"]
        assert scene.duration_us == 4_000_000 and scene.camera.size == (260, 346)
        assert scene.shake is None and not scene.background.sprites and scene.flicker is None
    low, high = config_p1().ranges.threshold
    thresholds = [scene.sensor.threshold_on for scene in drawn[0]]
    assert low <= min(thresholds) < 1.3 * low and 0.8 * high < max(thresholds) <= high


def test_all_its_styles_lie_in_the_reserved_cell(drawn: tuple[list[Scene], Spy]) -> None:
    styles = drawn[1].styles
    assert len(styles) == len(BENCHMARK_P1) and len(set(styles)) == len(styles)
    assert all(in_reserved_cell(amplitude, tempo) for amplitude, tempo in styles)
    assert config_p1().style.speed == (1.0, 1.0), "the playing speed is part of what is seen"


def test_training_never_draws_such_a_style(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many draws at speeds that would carry a style into the cell."""
    spy = Spy()
    monkeypatch.setattr(motion_library, "draw_movement", spy)
    speeds = []

    def remember(*args: Any, **options: Any) -> Any:
        speeds.append(options["speed"])
        return draw(*args, **options)

    generator = Generator(GeneratorConfig(duration_s=0.1, style=StyleRanges(speed=(0.8, 1.2))))
    draw = generator.library.draw
    monkeypatch.setattr(generator.library, "draw", remember)
    for seed in range(60):
        generator.draw_motion(np.random.default_rng(seed), Choice(), np.zeros(10), 0.0)
    seen = [(a, tempo * speed) for (a, tempo), speed in zip(spy.styles, speeds, strict=True)]
    assert len(seen) >= 60 and not any(in_reserved_cell(*style) for style in seen)
    # The draws do come near: they surround the cell.
    near = [style for style in seen if 0.8 < style[0] < 1.05 and 0.8 < style[1] < 1.2]
    assert len(near) >= 5


def test_a_recording_holds_the_scene_and_needs_no_other_file(
    tmp_path: Path, drawn: tuple[list[Scene], Spy], monkeypatch: pytest.MonkeyPatch
) -> None:
    short = config_p1()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        benchmark_p1, "config_p1", lambda: GeneratorConfig(0.1, ranges=short.ranges, style=short.style)
    )
    record_p1(tmp_path / "a.h5", 4)
    labels, scene = read_labels(tmp_path / "a.h5"), drawn[0][4]
    np.testing.assert_allclose(labels.params.betas[0], scene.people[0].motion.betas[0], atol=1e-6)
    with h5py.File(tmp_path / "a.h5", "r", locking=False) as file:
        told = json.loads(file.attrs["provenance"])
        assert file["events/t"].shape[0] > 100
    assert (told["motion"], told["seed"], told["index"]) == ("procedural:wave", BENCHMARK_P1_SEED, 4)
