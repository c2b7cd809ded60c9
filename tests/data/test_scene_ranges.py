"""Ranges of a scene: every field is refused by its name when it is bad, and legal ones do not fail later."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import pytest

from eventhpe.data import scene_draws as draws
from eventhpe.data.scene_ranges import SceneRanges
from eventhpe.errors import ShapeError, UnitError

BAD = (ShapeError, UnitError)
DEFAULT = SceneRanges()
NAMES = [f.name for f in fields(SceneRanges)]
SHARES = [n for n in NAMES if isinstance(getattr(DEFAULT, n), float)]
RANGES = [n for n in NAMES if n != "sensor_sizes" and isinstance(getattr(DEFAULT, n), tuple)]
SIGNED = ["roll_deg", "facing_deg", "distortion_k1"]


def test_the_lists_above_name_every_field():
    assert sorted([*SHARES, *RANGES, "sensor_sizes"]) == sorted(NAMES)
    assert all(name.endswith("_share") for name in SHARES)
    assert set(SIGNED) < set(RANGES)


@pytest.mark.parametrize("name", SHARES)
@pytest.mark.parametrize("value", [-0.1, 1.1, 2, math.nan, (0.0, 1.0)])
def test_a_share_outside_0_to_1_is_refused_by_name(name, value):
    with pytest.raises(BAD, match=rf"SceneRanges\.{name}\b"):
        SceneRanges(**{name: value})


@pytest.mark.parametrize("name", RANGES)
def test_a_range_upside_down_too_short_or_endless_is_refused_by_name(name):
    low, high = getattr(DEFAULT, name)
    for value in (
        (high + 1, low),
        (low,),
        (low, high, high),
        (low, math.inf),
        (math.nan, high),
        (low, math.nan),
    ):
        with pytest.raises(BAD, match=rf"SceneRanges\.{name}\b"):
            SceneRanges(**{name: value})


@pytest.mark.parametrize("name", [n for n in RANGES if n not in SIGNED])
def test_a_negative_low_end_is_refused_by_name(name):
    with pytest.raises(BAD, match=rf"SceneRanges\.{name}\b"):
        SceneRanges(**{name: (-1, getattr(DEFAULT, name)[1])})


@pytest.mark.parametrize(
    "name",
    [
        "background_contrast",
        "threshold",
        "shot_hz",
        "cutoff_hz",
        "exposure_dn",
        "flicker_depth",
        "hot_pixel_hz",
    ],
)
def test_a_range_drawn_log_uniformly_cannot_begin_at_zero(name):
    with pytest.raises(BAD, match=rf"SceneRanges\.{name}\b"):
        SceneRanges(**{name: (0.0, getattr(DEFAULT, name)[1])})


@pytest.mark.parametrize("name", ["background_contrast", "shot_hz", "cutoff_hz", "flicker_depth"])
def test_zero_to_zero_means_off(name):
    assert (
        draws.log_uniform(np.random.default_rng(0), getattr(SceneRanges(**{name: (0.0, 0.0)}), name)) == 0.0
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threshold", (0.0, 0.0)),
        ("threshold", (-0.2, 0.5)),
        ("threshold", (0.001, 0.5)),
        ("exposure_dn", (0.0, 0.0)),
        ("distance_m", (0.5, 3.0)),
        ("people", (0, 2)),
        ("lights", (0, 1)),
        ("field_of_view_deg", (0.0, 60.0)),
        ("field_of_view_deg", (60.0, 180.0)),
        ("body_fraction", (0.0, 0.9)),
        ("shadow", (0.1, 1.2)),
        ("ambient", (0.2, 1.2)),
        ("background_contrast", (0.2, 1.2)),
        ("hot_pixel_fraction", (0.0, 1.5)),
        ("flicker_depth", (0.5, 1.0)),
        ("noise_spread", (0.0, 5.0)),
        ("distortion_k1", (-3.0, 0.0)),
        ("facing_deg", (-900.0, 0.0)),
        ("refractory_us", (0.0, 1e10)),
        ("readout_mev_per_s", (0.0, 5.0)),
        ("threshold_ratio", (0.0, 1.0)),
        ("threshold_ratio", (0.4, 3.0)),
        ("sensor_sizes", ()),
        ("sensor_sizes", (64, 64)),
        ("sensor_sizes", ((64, 0),)),
        ("sensor_sizes", ((64, 64, 3),)),
    ],
)
def test_what_no_scene_can_have_is_refused_by_name(name, value):
    with pytest.raises(BAD, match=rf"SceneRanges\.{name}\b"):
        SceneRanges(**{name: value})


def test_a_camera_inside_the_body_is_refused_with_the_reason():
    with pytest.raises(UnitError, match=r"distance_m: 0\.3 m puts the camera inside"):
        SceneRanges(distance_m=(0.3, 2.0))


@pytest.mark.parametrize("end", [0, 1])
def test_sensors_at_the_ends_of_the_widest_legal_ranges_can_be_built(end):
    """What passes the check here must not fail in a worker, hours later."""
    widest = {
        "threshold": (0.025, 10.0), "threshold_ratio": (0.5, 2.0), "mismatch_sigma": (0.0, 1.0),
        "refractory_us": (0.0, 1e6), "leak_hz": (0.0, 100.0), "shot_hz": (1e-3, 1e3),
        "noise_spread": (0.0, 3.0), "noise_patch_share": (0.0, 1.0),
        "cutoff_hz": (1.0, 1e5), "hot_pixel_fraction": (0.0, 1.0),
        "hot_pixel_hz": (1e-3, 1e3), "bunch_us": (0.0, 1e6), "readout_mev_per_s": (0.001, 1e6),
    }  # fmt: skip
    assert SceneRanges(**widest)
    ranges = SceneRanges(
        **{name: (value[end], value[end]) for name, value in widest.items()},
        bunched_share=1.0, readout_share=1.0, cutoff_share=1.0, flicker_share=1.0,
        flicker_depth=(0.99, 0.99),
    )  # fmt: skip
    for seed in range(10):
        sensor = draws.draw_sensor(np.random.default_rng(seed), ranges, 64)
        assert sensor.threshold_on == pytest.approx(widest["threshold"][end])
        assert draws.draw_flicker(np.random.default_rng(seed), ranges) is not None


def test_ranges_are_values():
    assert replace(DEFAULT) == DEFAULT and hash(replace(DEFAULT)) == hash(DEFAULT)
    with pytest.raises(AttributeError):
        DEFAULT.lights = (1, 1)  # type: ignore[misc]
