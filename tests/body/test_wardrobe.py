"""Drawn clothes: same seed, same bytes; every look-up on the skin is painted; contrast spans its range."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from eventhpe.body.default import open_body_arrays
from eventhpe.body.garments import GarmentFields, Outfit
from eventhpe.body.landmarks import Landmarks
from eventhpe.body.surface_cells import surface_cells
from eventhpe.body.wardrobe import DARKEST, WardrobeRanges, draw_outfit, draw_wardrobe, face_marks
from eventhpe.errors import ShapeError, UnitError


def skin_points(count: int, seed: int = 0) -> np.ndarray:
    """Points spread over the faces of the open body."""
    rng = np.random.default_rng(seed)
    corners = open_body_arrays()["v_template"][open_body_arrays()["f"]]
    weights = rng.dirichlet([1, 1, 1], size=count)
    return np.einsum("nk,nkc->nc", weights, corners[rng.integers(len(corners), size=count)])


def test_surface_cells_hold_every_lookup_and_little_else():
    arrays = open_body_arrays()
    for cell_m in (0.008, 0.02):
        cells = surface_cells(arrays["v_template"], arrays["f"], cell_m)
        near = np.zeros(cells.shape, bool)
        near.ravel()[cells.index] = True
        at = (skin_points(100_000) - cells.origin) / cell_m
        assert near[tuple(np.rint(at).astype(int).T)].all()
        for corner in np.ndindex(2, 2, 2):
            assert near[tuple((np.floor(at).astype(int) + corner).T)].all()
        touched = np.zeros(cells.shape, bool)
        touched[tuple(np.rint(at).astype(int).T)] = True
        assert near.sum() < 6 * touched.sum()
        np.testing.assert_allclose(
            cells.centres,
            np.stack(np.unravel_index(cells.index, cells.shape), 1) * cell_m + cells.origin,
            atol=1e-6,
        )


def test_surface_cells_of_one_triangle():
    """Against every sample of a fine sampling: all their cells, none further than two cells away."""
    corners = np.array([[0.0, 0.0, 0.0], [0.31, 0.02, 0.0], [0.02, 0.05, 0.01]])
    cells = surface_cells(corners, np.array([[0, 1, 2]]), 0.01)
    weights = np.random.default_rng(1).dirichlet([1, 1, 1], size=50_000)
    points = weights @ corners
    wanted = np.unique(
        np.ravel_multi_index(np.rint((points - cells.origin) / 0.01).astype(int).T, cells.shape)
    )
    assert np.isin(wanted, cells.index).all()
    distance = np.linalg.norm(cells.centres[:, None] - points[None, ::25], axis=2).min(1)
    assert distance.max() < 0.01 * (2 + 0.5) * np.sqrt(3)


def test_surface_cells_refuse_nonsense():
    arrays = open_body_arrays()
    with pytest.raises(UnitError, match="metres"):
        surface_cells(arrays["v_template"] * 1000, arrays["f"], 0.008)
    with pytest.raises(UnitError, match="cell_m"):
        surface_cells(arrays["v_template"], arrays["f"], 0.0)
    with pytest.raises(ShapeError, match="faces"):
        surface_cells(arrays["v_template"], np.zeros((0, 3), int), 0.008)


def test_equal_seeds_give_equal_bytes_and_others_do_not():
    arrays, ranges = open_body_arrays(), WardrobeRanges()
    first = draw_wardrobe(np.random.default_rng(3), ranges, arrays)
    again = draw_wardrobe(np.random.default_rng(3), ranges, arrays)
    assert first.reflectance.tobytes() == again.reflectance.tobytes()
    assert first.origin.tobytes() == again.origin.tobytes() and first.cell_m == again.cell_m == 0.008
    other = draw_wardrobe(np.random.default_rng(4), ranges, arrays)
    assert not np.array_equal(first.reflectance, other.reflectance)
    assert draw_outfit(np.random.default_rng(3), ranges) == draw_outfit(np.random.default_rng(3), ranges)


def test_texture_is_small_painted_and_fast():
    arrays, ranges = open_body_arrays(), WardrobeRanges()
    points, times = skin_points(20_000), []
    for seed in range(10):
        start = time.process_time()
        texture = draw_wardrobe(np.random.default_rng(seed), ranges, arrays)
        times.append(time.process_time() - start)
        value = texture.at(points)
        assert value.min() >= DARKEST and value.max() <= 1
        assert value.std() > 0.005
    assert texture.reflectance.dtype == np.float32 and texture.reflectance.nbytes <= 8e6
    assert np.median(times) < 0.25  # 0.04 s on an idle core; the bound leaves room for slow machines


def test_tones_and_contrast_span_their_ranges():
    arrays, points = open_body_arrays(), skin_points(5000)
    chest = np.asarray(arrays["v_template"])[np.asarray(arrays["region"]) == 1]
    outfit = Outfit(sleeve=1.0, leg=1.0)
    bright, spread = [], []
    for seed in range(30):
        value = draw_wardrobe(np.random.default_rng(seed), WardrobeRanges(), arrays, outfit).at(chest)
        bright.append(value.max())
        spread.append((value.max() - value.min()) / (value.max() + value.min()))
    assert min(bright) < 0.12 and max(bright) > 0.6
    assert min(spread) < 0.15 and max(spread) > 0.6
    even = WardrobeRanges(
        tone=(0.3, 0.3), skin_tone=(0.3, 0.3), hair_factor=(0.9, 1.0), pattern_contrast=(0.02, 0.02),
        mottle_contrast=(0.01, 0.01), fold_contrast=(0.01, 0.01), print_share=0.0,
    )  # fmt: skip
    worn = GarmentFields(Landmarks.of(arrays), outfit).shares(points)
    value = draw_wardrobe(np.random.default_rng(0), even, arrays, outfit).at(points)
    dressed = value[worn["top"] + worn["bottom"] > 0.999]
    assert len(dressed) > 1000 and 0.3 * 0.94 < dressed.min() and dressed.max() <= 0.3 + 1e-6


def test_the_outfit_is_what_is_painted():
    """Black shirt, white rest: the picture of the texture is the share of the shirt."""
    arrays, points = open_body_arrays(), skin_points(20_000)
    ranges = WardrobeRanges(
        tone=(0.05, 0.05), skin_tone=(0.6, 0.6), pattern_weights=(("plain", 1.0),), print_share=0.0,
        mottle_contrast=(0.01, 0.01), fold_contrast=(0.01, 0.01),
    )  # fmt: skip
    outfit = Outfit(sleeve=0.5, leg=0.4, hair="bald", shoe=-1.0)
    value = draw_wardrobe(np.random.default_rng(0), ranges, arrays, outfit).at(points)
    landmarks = Landmarks.of(arrays)
    shares = GarmentFields(landmarks, outfit).shares(points)
    bare, dressed = shares["skin"] > 0.5, shares["skin"] < 0.5
    face = face_marks(points, landmarks) > 0
    assert (value[dressed] < 0.33).mean() > 0.99 and (value[bare & ~face] > 0.33).mean() > 0.98


def test_faces_have_dark_eyes_and_a_mouth():
    arrays = open_body_arrays()
    landmarks = Landmarks.of(arrays)
    ids = dict(zip(arrays["vertex_id_names"], arrays["vertex_ids"], strict=True))
    eyes = arrays["v_template"][[ids["leye"], ids["reye"]]]
    cheeks = eyes + np.float32([0, -0.035, 0])
    marks = face_marks(np.concatenate([eyes, cheeks]), landmarks)
    assert marks[:2].min() > 0.4 and marks[2:].max() == 0
    skin = np.asarray(arrays["v_template"])
    assert face_marks(skin[skin[:, 1] < landmarks.chin_y], landmarks).max() == 0
    assert face_marks(skin[skin[:, 2] < 0.0], landmarks).max() == 0
    bald = draw_wardrobe(np.random.default_rng(1), WardrobeRanges(), arrays, Outfit(hair="bald"))
    assert bald.at(eyes).max() < 0.7 * bald.at(cheeks).min()


def test_print_can_be_left_out_and_suits_match():
    arrays = open_body_arrays()
    plain = WardrobeRanges(pattern_weights=(("plain", 1.0),), fold_contrast=(0.01, 0.01), print_share=0.0)
    outfit = Outfit(sleeve=1.0, leg=1.0, hem=1.0, hair="bald")
    landmarks = Landmarks.of(arrays)
    skin = np.asarray(arrays["v_template"])
    shares = GarmentFields(landmarks, outfit).shares(skin)
    top, bottom = shares["top"] > 0.999, shares["bottom"] > 0.999

    def spread(ranges: WardrobeRanges, seed: int) -> tuple[float, float]:
        value = draw_wardrobe(np.random.default_rng(seed), ranges, arrays, outfit).at(skin)
        return float(np.ptp(value[top]) / value[top].max()), float(
            abs(value[top].mean() / value[bottom].mean() - 1)
        )

    unprinted = [spread(plain, seed) for seed in range(8)]
    printed = [spread(replace(plain, print_share=1.0), seed) for seed in range(8)]
    suits = [spread(replace(plain, suit_share=1.0), seed) for seed in range(8)]
    assert max(s for s, _ in unprinted) < 0.06 and np.median([s for s, _ in printed]) > 0.2
    assert max(d for _, d in suits) < 0.02 < max(d for _, d in unprinted)


def test_drawn_outfits_vary_within_the_ranges():
    ranges = WardrobeRanges(sleeve=(0.2, 0.5), leg=(0.3, 0.8), barefoot_share=0.0, glove_share=0.0)
    outfits = [draw_outfit(np.random.default_rng(seed), ranges) for seed in range(200)]
    assert all(
        0.2 <= o.sleeve <= 0.5 and 0.3 <= o.leg <= 0.8 and o.shoe >= 0 and not o.gloves for o in outfits
    )
    assert {o.neckline for o in outfits} == {"crew", "wide", "v", "high"}
    assert {o.hair for o in outfits} == {"short", "long", "bald", "hat"}
    assert 0.1 < np.mean([o.tucked for o in outfits]) < 0.3 and any(o.hem < 0 for o in outfits)


def test_ranges_name_the_field_that_is_wrong():
    for field, value, error in (
        ("tone", (0.9, 0.1), ShapeError),
        ("tone", (0.0, 0.1), UnitError),
        ("tone", (0.5, 2.0), UnitError),
        ("pattern_contrast", (0.02, 1.0), UnitError),
        ("pattern_scale_m", (0.01, 0.2), UnitError),
        ("pattern_weights", (("tweed", 1.0),), ShapeError),
        ("pattern_weights", (("plain", 0.0),), UnitError),
        ("hair_weights", (), ShapeError),
        ("print_share", 1.5, UnitError),
        ("looseness_m", (0.0, 3.0), UnitError),
        ("cell_m", 0.0, UnitError),
    ):
        with pytest.raises(error, match=f"WardrobeRanges.{field}"):
            WardrobeRanges(**{field: value})
