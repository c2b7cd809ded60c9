"""Sets of recordings with a name: which settings, seeds and motions they consist of."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

from eventhpe.data.generator import GeneratorConfig
from eventhpe.data.motion_style import StyleRanges
from eventhpe.data.scene_ranges import SceneRanges
from eventhpe.errors import FormatError

Preset = Literal["lab", "wild", "dhp19", "mmhpsd", "clean", "benchmark-v1", "benchmark-p1"]

PRESETS: tuple[str, ...] = get_args(Preset)

_STAY = StyleRanges(stay_within_m=1.2)
_CALM = replace(_STAY, speed=(0.4, 1.6))


def preset_config(preset: str) -> GeneratorConfig:
    """Settings of a preset.

    lab: one person before a still camera, as laboratories record. wild: several people, cameras held by hand,
    moving backgrounds, flicker, larger sensors, wider sensor ranges. dhp19 and mmhpsd: what those data sets
    were recorded with. clean: an ideal sensor, an even background, nothing that disturbs; for debugging and
    teaching.

    Raises:
        FormatError: no such preset, or a benchmark, whose settings nobody changes.
    """
    if preset == "lab":
        return GeneratorConfig(style=_CALM)
    if preset == "wild":
        return GeneratorConfig(style=_STAY, ranges=WILD)
    if preset == "clean":
        return GeneratorConfig(style=_CALM, ranges=CLEAN)
    if preset == "dhp19":
        return GeneratorConfig(duration_s=10.0, flow_labels=False, ranges=DHP19, style=_CALM)
    if preset == "mmhpsd":
        # 15 frames a second, six labels to a frame.
        return GeneratorConfig(
            duration_s=8.0, label_step_us=11_111, frame_step_us=66_666, ranges=MMHPSD, style=_CALM
        )
    if preset in PRESETS:
        raise FormatError(f"preset {preset} is frozen and has no settings to change.")
    raise FormatError(f"unknown preset {preset!r}; the presets are {', '.join(PRESETS)}.")


WILD = SceneRanges(
    sensor_sizes=((180, 240), (260, 346), (260, 346), (480, 640), (720, 1280)),
    people=(1, 4),
    body_fraction=(0.35, 0.95),
    distorted_share=0.5,
    flicker_share=0.2,
    flicker_depth=(0.01, 0.3),
    exposure_dn=(20.0, 255.0),
    empty_share=0.1,
    shake_share=0.5,
    distractor_share=0.4,
    distractors=(1, 5),
    threshold=(0.08, 0.80),
    threshold_ratio=(0.65, 1.3),
    mismatch_sigma=(0.0, 0.06),
    leak_hz=(0.0, 0.3),
    shot_hz=(0.01, 4.0),
    cutoff_hz=(20.0, 500.0),
    hot_pixel_fraction=(0.0, 0.006),
)
"""Outside the laboratory."""

CLEAN = SceneRanges(
    sensor_sizes=((260, 346),),
    roll_deg=(0.0, 0.0),
    distorted_share=0.0,
    lights=(1, 1),
    exposure_dn=(200.0, 200.0),
    shadow_share=0.0,
    flicker_share=0.0,
    empty_share=1.0,
    shake_share=0.0,
    distractor_share=0.0,
    gray_exposure_us=(0.0, 0.0),
    threshold=(0.2, 0.2),
    threshold_ratio=(1.0, 1.0),
    mismatch_sigma=(0.0, 0.0),
    refractory_us=(0.0, 0.0),
    leak_hz=(0.0, 0.0),
    shot_hz=(0.0, 0.0),
    noise_spread=(0.0, 0.0),
    cutoff_share=0.0,
    hot_pixel_fraction=(0.0, 0.0),
    bunched_share=0.0,
    readout_share=0.0,
)
"""Nothing disturbs."""

DHP19 = SceneRanges(
    sensor_sizes=((260, 346),),
    distorted_share=0.0,
    dhp19_camera_share=1.0,
    facing_share=1.0,
    facing_deg=(-12.0, 12.0),
    flicker_share=0.0,
    shake_share=0.0,
    distractor_share=0.0,
    background_contrast=(0.05, 0.6),
    threshold=(0.15, 0.45),
    shot_hz=(0.02, 0.5),
)
"""Four still DAVIS346 around a treadmill."""

MMHPSD = replace(DHP19, sensor_sizes=((256, 256),), dhp19_camera_share=0.0, facing_deg=(-40.0, 40.0))
"""One still camera on a 256 x 256 grid."""
