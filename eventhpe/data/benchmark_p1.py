"""benchmark-p1: procedural movements in styles that training never draws; it needs nothing but this package.

Frozen like benchmark-v1: a test holds what its motions, bodies and cameras are. Never edit it, or what it
draws
with, so that they change; a better benchmark is a benchmark-p2.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from eventhpe.data.generator import Choice, Generator, GeneratorConfig
from eventhpe.data.motion_library import MotionLibrary
from eventhpe.data.motion_style import StyleRanges
from eventhpe.data.scene import Scene
from eventhpe.data.scene_ranges import SceneRanges

BENCHMARK_P1_SEED: Final = 20261
BENCHMARK_P1: Final = (
    "walk", "walk_in_place", "walk_turn", "jog_in_place", "wave", "figure_eight", "hand_circles",
    "arm_circles", "clap", "punch", "punch_up", "kick", "knee_raise", "squat", "sit", "bend", "twist",
    "jumping_jack", "jump", "side_step", "raise_arms", "stand_sway", "random_poses", "walk_circle",
)  # fmt: skip
"""Movements in order; frozen."""


def config_p1() -> GeneratorConfig:
    """Settings of the benchmark, value by value where a default may move one day."""
    return GeneratorConfig(
        duration_s=4.0,
        ranges=SceneRanges(
            sensor_sizes=((260, 346),), people=(1, 1), field_of_view_deg=(35.0, 75.0),
            body_fraction=(0.5, 0.95), distance_m=(1.4, 8.0), camera_height_m=(0.5, 2.0),
            roll_deg=(-6.0, 6.0), distorted_share=0.0, dhp19_camera_share=0.0, facing_share=0.6,
            facing_deg=(-70.0, 70.0), lights=(1, 2), ambient=(0.25, 0.6), exposure_dn=(80.0, 255.0),
            shadow_share=0.7, shadow=(0.1, 0.6), flicker_share=0.0, empty_share=0.3,
            background_contrast=(0.02, 0.9), shake_share=0.0, distractor_share=0.0,
            gray_exposure_us=(1000.0, 12000.0), threshold=(0.12, 0.6), threshold_ratio=(0.75, 1.1),
            mismatch_sigma=(0.01, 0.05), refractory_us=(0.0, 1000.0), leak_hz=(0.0, 0.04),
            shot_hz=(0.01, 0.8), noise_spread=(0.6, 1.6), noise_patch_share=(0.04, 0.2), cutoff_share=0.85,
            cutoff_hz=(20.0, 200.0), hot_pixel_fraction=(0.0, 0.004), hot_pixel_hz=(4.0, 30.0),
            bunched_share=0.5, bunch_us=(10.0, 200.0), readout_share=0.3, readout_mev_per_s=(2.0, 12.0),
        ),
        style=StyleRanges(speed=(1.0, 1.0), pause_share=0.0, blend_share=0.0, stay_within_m=1.2),
    )  # fmt: skip


def generator_p1() -> Generator:
    """The benchmark's generator; its library draws held-out styles only."""
    return Generator(config_p1(), library=MotionLibrary(None, split="held_out", procedural_share=1.0))


def draw_scene_p1(index: int) -> Scene:
    """The scene of one recording, without the sensor's noise."""
    rng = np.random.default_rng([BENCHMARK_P1_SEED, index])
    return generator_p1().draw_scene(rng, Choice(movement=BENCHMARK_P1[index]))


def record_p1(output: Path, index: int) -> None:
    """Record one movement of the benchmark; `index` is its place in BENCHMARK_P1."""
    generator_p1().make(
        output, seed=BENCHMARK_P1_SEED, index=index, choice=Choice(movement=BENCHMARK_P1[index])
    )
