"""Presets: what each promises is what it draws; frozen and unknown ones have no settings."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import get_args, get_type_hints

import numpy as np
import pytest

from eventhpe.body.blend import mean_heading
from eventhpe.cli.simulate import Options
from eventhpe.data.dhp19_cameras import DHP19_SIZE
from eventhpe.data.dhp19_export import MARKER_STEP_US
from eventhpe.data.generator import Choice, Generator, GeneratorConfig
from eventhpe.data.mmhpsd_sequence import check_frame_step
from eventhpe.data.presets import PRESETS, WILD, preset_config
from eventhpe.data.scene import Scene
from eventhpe.data.scene_ranges import SceneRanges
from eventhpe.errors import FormatError

CHANGEABLE = ("lab", "wild", "clean", "dhp19", "mmhpsd")


def scenes(config: GeneratorConfig, count: int) -> list[Scene]:
    generator = Generator(replace(config, duration_s=0.2))
    return [generator.draw_scene(np.random.default_rng([1, k]), Choice()) for k in range(count)]


def test_presets_are_the_words_of_the_command() -> None:
    assert get_args(get_type_hints(Options)["preset"]) == PRESETS
    assert set(CHANGEABLE) < set(PRESETS)


@pytest.mark.parametrize("name", ["benchmark-v1", "benchmark-p1"])
def test_frozen_presets_have_no_settings(name: str) -> None:
    with pytest.raises(FormatError, match=f"{name} is frozen"):
        preset_config(name)


def test_an_unknown_preset_is_answered_with_the_known_ones() -> None:
    with pytest.raises(FormatError, match=r"unknown preset 'labor'; .*lab, wild, dhp19"):
        preset_config("labor")


def test_wild_reaches_at_least_as_far_as_lab_in_every_range() -> None:
    """But for the size of the sensors, its largest being larger."""
    lab = SceneRanges()
    for f in fields(SceneRanges):
        narrow, wide = getattr(lab, f.name), getattr(WILD, f.name)
        if f.name == "sensor_sizes":
            assert max(wide) > max(narrow)
        elif f.name == "empty_share":  # fewer even backgrounds are more variety
            assert wide <= narrow
        elif isinstance(narrow, tuple):
            assert wide[0] <= narrow[0] and wide[1] >= narrow[1], f.name
        else:
            assert wide >= narrow, f.name


def test_lab_is_one_person_before_a_still_camera_for_the_most_part() -> None:
    drawn = scenes(preset_config("lab"), 24)
    assert {len(s.people) for s in drawn} == {1}
    shaken = sum(s.shake is not None for s in drawn)
    assert 1 <= shaken <= 12, "a fifth of the cameras is held by hand"
    assert {s.camera.size for s in drawn} == {(128, 128), (180, 240), (260, 346)}
    distances = [-(s.camera.R_world_to_cam.T @ s.camera.t_world_to_cam)[2] for s in drawn]
    assert min(distances) >= 1.4 and max(distances) <= 8.0


def test_wild_has_crowds_shakes_and_passers_by() -> None:
    drawn = scenes(preset_config("wild"), 14)
    assert {len(s.people) for s in drawn} == {1, 2, 3, 4}
    shares = {
        "shake": np.mean([s.shake is not None for s in drawn]),
        "sprites": np.mean([len(s.background.sprites) > 0 for s in drawn]),
        "flicker": np.mean([s.flicker is not None for s in drawn]),
        "distorted": np.mean([bool(s.camera.dist.any()) for s in drawn]),
    }
    for name, expected in (("shake", 0.5), ("sprites", 0.4), ("flicker", 0.2), ("distorted", 0.5)):
        # 14 draws: three standard deviations
        assert abs(shares[name] - expected) < 3 * np.sqrt(expected * (1 - expected) / 14), name


def test_clean_disturbs_nothing() -> None:
    for scene in scenes(preset_config("clean"), 6):
        sensor = scene.sensor
        assert sensor.threshold_on == pytest.approx(0.2) == pytest.approx(sensor.threshold_off)
        for name in ("mismatch_sigma", "refractory_us", "leak_hz", "shot_hz", "noise_spread", "cutoff_hz",
                     "hot_pixel_fraction", "readout_mev_per_s", "timestamp_step_us"):  # fmt: skip
            assert getattr(sensor, name) == 0, name
        assert np.ptp(scene.background.canvas) == 0 and not scene.background.sprites
        assert (scene.shake, scene.shadow, scene.flicker, scene.gray_exposure_us) == (None, 0.0, None, 0)
        assert not scene.camera.dist.any() and scene.camera.size == (260, 346)


def test_data_set_presets_fit_their_data_sets() -> None:
    dhp19, mmhpsd = preset_config("dhp19"), preset_config("mmhpsd")
    assert dhp19.label_step_us == MARKER_STEP_US
    check_frame_step(mmhpsd.frame_step_us, "frame_step_us")
    assert {s.camera.size for s in scenes(mmhpsd, 3)} == {(256, 256)}
    drawn = scenes(dhp19, 12)
    assert {s.camera.size for s in drawn} == {DHP19_SIZE}
    assert {s.factors["camera"] for s in drawn} == {f"dhp19 channel {c}" for c in range(4)}
    for scene in drawn:
        towards = np.rad2deg(mean_heading(scene.people[0].motion.global_orient))
        assert abs(towards) < 12.5, "subjects look towards the middle of the cameras, our +z"


def test_walkers_stay_where_the_camera_sees_them() -> None:
    config = preset_config("lab")
    fast = replace(config, duration_s=6.0, style=replace(config.style, speed=(2.0, 2.0), pause_share=0.0))
    for style, reach in ((fast.style, (0.5, 1.5)), (replace(fast.style, stay_within_m=None), (2.5, np.inf))):
        generator = Generator(replace(fast, style=style))
        motion, _ = generator.draw_motion(
            np.random.default_rng(3), Choice(movement="walk"), np.zeros(10), 0.0
        )
        assert reach[0] < np.hypot(motion.transl[:, 0], motion.transl[:, 2]).max() < reach[1]


def fraction_of(scene: Scene) -> float:
    """Share of the image's height between floor and 1.7 m at the origin."""
    c = scene.camera
    ends = c.project(c.to_camera_frame(np.array([[0, 0, 0], [0, 1.7, 0.0]])))
    return float(np.linalg.norm(ends[1] - ends[0])) / c.size[0]


@pytest.mark.parametrize("fraction", [0.5, 0.8])
def test_the_camera_stands_where_a_person_fills_the_image(fraction: float) -> None:
    config = preset_config("clean")
    ranges = replace(config.ranges, body_fraction=(fraction, fraction), camera_height_m=(0.9, 0.9))
    seen = [fraction_of(s) for s in scenes(replace(config, ranges=ranges), 5)]
    # Perspective, and distances below 1.4 m, leave some percent.
    assert np.median(seen) == pytest.approx(fraction, rel=0.12)
