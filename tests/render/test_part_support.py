"""Parts of the body as a camera sees them, and events counted per part."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventhpe.body.default import open_body, open_body_arrays
from eventhpe.body.posing import BodyPoser
from eventhpe.errors import ShapeError, UnitError
from eventhpe.events.types import Events
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.skeleton import SMPL_SKELETON
from eventhpe.render.part_support import (
    NOBODY,
    dilate_parts,
    events_per_joint,
    events_per_part,
    joint_map,
    part_map,
)
from eventhpe.render.raster import rasterize

SIZE = (260, 346)
CAMERA = Camera.from_focal(330.0, SIZE)
WEIGHTS = open_body_arrays()["weights"]
JOINT = {name: i for i, name in enumerate(SMPL_SKELETON.joints)}


@pytest.fixture(scope="module")
def body() -> BodyPoser:
    return BodyPoser(open_body())


def standing(body: BodyPoser, pose: np.ndarray, depth: float = 2.8) -> np.ndarray:
    """(V, 3) the body facing the camera, in the camera frame."""
    return body.vertices(np.zeros(10), pose, np.zeros(3)) * [1, -1, -1] + [0, 0, depth]


def arms(left_deg: float, right_deg: float = -70.0) -> np.ndarray:
    """Arms turned about the subject's forward axis: 0 is the T-pose, 60 is up, -70 hangs."""
    pose = np.zeros((24, 3))
    pose[JOINT["shoulder_left"], 2] = np.radians(left_deg)
    pose[JOINT["shoulder_right"], 2] = np.radians(-right_deg)
    return pose


def events_at(rows: np.ndarray, cols: np.ndarray, size: tuple[int, int] = SIZE) -> Events:
    n = len(rows)
    return Events.from_columns(np.arange(n), np.asarray(cols), np.asarray(rows), np.arange(n) % 2, size)


def brute_dilation(parts: np.ndarray, px: float) -> tuple[np.ndarray, list[list[set[int]]]]:
    """Distance to the nearest part pixel, and all parts that lie at this distance."""
    H, W = parts.shape
    rows, cols = np.nonzero(parts != NOBODY)
    near = np.full((H, W), np.inf)
    allowed: list[list[set[int]]] = [[{NOBODY} for _ in range(W)] for _ in range(H)]
    for y in range(H):
        for x in range(W):
            if not len(rows):
                continue
            d2 = (rows - y) ** 2 + (cols - x) ** 2
            near[y, x] = np.sqrt(d2.min())
            if near[y, x] <= px:
                allowed[y][x] = set(parts[rows[d2 == d2.min()], cols[d2 == d2.min()]].tolist())
    return near, allowed


def test_quads_of_known_parts_cover_known_pixels() -> None:
    camera = Camera.from_focal(10.0, (20, 30))

    def quad(u0: float, u1: float, v0: float, v1: float, z: float) -> np.ndarray:
        corners = np.array([[u0, v0], [u0, v1], [u1, v1], [u1, v0]])
        return np.column_stack([(corners - camera.K[:2, 2]) / 10 * z, np.full(4, z)])

    mesh = np.concatenate([quad(1.5, 10.5, 1.5, 15.5, 2.0), quad(5.5, 20.5, 4.5, 8.5, 1.0)])
    faces = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    expected = np.full((20, 30), NOBODY)
    expected[2:16, 2:11] = 3
    expected[5:9, 6:21] = 0  # nearer
    seen = part_map(mesh, faces, np.array([3] * 4 + [0] * 4), camera)
    assert seen.dtype == np.int16
    np.testing.assert_array_equal(seen, expected)
    # a face shared by two parts is divided where its corners weigh the same: here half-way across
    split = part_map(mesh[:4], faces[:2], np.array([1, 1, 2, 2]), camera)
    assert (split[3:15, 2:5] == 1).all() and (split[3:15, 8:11] == 2).all()
    assert set(np.unique(split)) == {NOBODY, 1, 2}


def test_maps_of_a_body_cover_its_mask_and_put_left_on_the_right(body: BodyPoser) -> None:
    vertices = standing(body, arms(0.0, 0.0))
    mask = rasterize(vertices, body.faces, CAMERA).coverage > 0
    by_vertex = part_map(vertices, body.faces, WEIGHTS.argmax(1), CAMERA)
    by_weight = joint_map(vertices, body.faces, WEIGHTS, CAMERA)
    for parts in (by_vertex, by_weight):
        np.testing.assert_array_equal(parts != NOBODY, mask)
    assert (by_vertex == by_weight)[mask].mean() > 0.95  # they differ along borders between parts only
    for name, side in (("elbow_left", 1), ("hand_left", 1), ("elbow_right", -1), ("knee_right", -1)):
        cols = np.nonzero(by_weight == JOINT[name])[1]
        assert len(cols) > 10 and (side * (cols - CAMERA.K[0, 2]) > 0).all(), name
    heights = [
        np.nonzero(by_weight == JOINT[n])[0].mean() for n in ("head", "spine3", "knee_left", "foot_left")
    ]
    assert heights == sorted(heights)


def test_weights_are_interpolated_over_a_face() -> None:
    camera = Camera.from_focal(50.0, (60, 60))
    wall = np.array([[-1, -1, 2.5], [-1, 1, 2.5], [1, 1, 2.5], [1, -1, 2.5]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    # the share of joint 1 grows from 0.3 on the left edge to 0.8 on the right: half at 40 % of the way
    table = np.array([[0.7, 0.3], [0.7, 0.3], [0.2, 0.8], [0.2, 0.8]])
    joints = joint_map(wall, faces, table, camera)
    left, right = camera.project(wall)[[0, 2], 0]
    border = left + 0.4 * (right - left)
    cols = np.nonzero(joints != NOBODY)[1]
    np.testing.assert_array_equal(joints[joints != NOBODY], (cols > border).astype(int))


def test_dilation_by_hand() -> None:
    parts = np.full((7, 9), NOBODY, np.int16)
    parts[3, 2], parts[3, 6] = 4, 7
    np.testing.assert_array_equal(dilate_parts(parts, 0), parts)
    cross = dilate_parts(parts, 1.0)
    assert (cross == 4).sum() == (cross == 7).sum() == 5 and cross[2, 2] == 4 and cross[2, 1] == NOBODY
    block = dilate_parts(parts, 1.5)
    assert (block == 4).sum() == 9
    assert (dilate_parts(np.full((4, 4), NOBODY, np.int16), 3.0) == NOBODY).all()
    assert parts[3, 3] == NOBODY  # the argument is untouched


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    size=st.tuples(st.integers(1, 9), st.integers(1, 11)),
    density=st.sampled_from([0.0, 0.03, 0.2, 0.9]),
    px=st.sampled_from([0.0, 1.0, 1.5, 2.0, 2.9, 30.0]),
)
def test_dilation_is_the_nearest_part(seed: int, size: tuple[int, int], density: float, px: float) -> None:
    rng = np.random.default_rng(seed)
    parts = np.where(rng.random(size) < density, rng.integers(0, 5, size), NOBODY).astype(np.int16)
    grown = dilate_parts(parts, px)
    near, allowed = brute_dilation(parts, px)
    np.testing.assert_array_equal(grown != NOBODY, near <= px)
    assert all(int(grown[y, x]) in allowed[y][x] for y in range(size[0]) for x in range(size[1]))
    np.testing.assert_array_equal(grown[parts != NOBODY], parts[parts != NOBODY])


def test_counts_sum_to_the_events_on_the_body() -> None:
    rng = np.random.default_rng(3)
    parts = rng.integers(NOBODY, 6, SIZE).astype(np.int16)
    events = events_at(rng.integers(0, SIZE[0], 5000), rng.integers(0, SIZE[1], 5000))
    counts = events_per_part(events, parts, 8)
    on_parts = parts[events.y, events.x]
    assert counts.dtype == np.int64 and counts.shape == (8,)
    assert counts.sum() == (on_parts != NOBODY).sum() < 5000
    np.testing.assert_array_equal(counts, [(on_parts == k).sum() for k in range(8)])
    assert (counts[6:] == 0).all()
    assert events_per_part(Events.empty(SIZE), parts, 6).tolist() == [0] * 6


def test_events_around_a_raised_arm_go_to_this_arm_alone(body: BodyPoser) -> None:
    """One arm is lifted by 3 degrees; the pixels that change get events, as a camera would give them."""
    before, after = standing(body, arms(45.0)), standing(body, arms(48.0))
    a, b = (rasterize(v, body.faces, CAMERA).coverage > 0 for v in (before, after))
    rows, cols = np.nonzero(a != b)
    assert len(rows) > 50
    counts = events_per_joint(events_at(rows, cols), after, body.faces, WEIGHTS, CAMERA, margin_px=4.0)
    arm = [JOINT[f"{part}_left"] for part in ("shoulder", "elbow", "wrist", "hand")]
    assert counts.shape == (24,)
    assert counts[arm].sum() >= 0.95 * len(rows)
    # the skin of the shoulder blade turns along
    assert counts.sum() - counts[arm].sum() == counts[[JOINT["collar_left"], JOINT["spine3"]]].sum()
    assert (counts[arm[1:3]] > 10).all()


def test_known_events_on_known_joints_and_on_nobody(body: BodyPoser) -> None:
    vertices = standing(body, arms(30.0))
    joints = joint_map(vertices, body.faces, WEIGHTS, CAMERA)
    put = {JOINT["wrist_left"]: 40, JOINT["head"]: 25, JOINT["knee_right"]: 7}
    rng = np.random.default_rng(0)
    where = []
    for joint, count in put.items():
        pixels = np.argwhere(joints == joint)
        where.append(pixels[rng.integers(0, len(pixels), count)])
    # nobody's events: more than three pixels off the silhouette
    off = np.argwhere(dilate_parts(joints, 3.5) == NOBODY)
    where.append(off[rng.integers(0, len(off), 100)])
    pixels = np.concatenate(where)
    events = events_at(pixels[:, 0], pixels[:, 1])
    counts = events_per_joint(events, vertices, body.faces, WEIGHTS, CAMERA)
    expected = np.zeros(24, int)
    expected[list(put)] = list(put.values())
    np.testing.assert_array_equal(counts, expected)
    # within the margin they count, beyond it they do not
    edge = np.argwhere((dilate_parts(joints, 2.0) != NOBODY) & (dilate_parts(joints, 1.0) == NOBODY))
    ring = events_at(edge[:, 0], edge[:, 1])
    assert events_per_joint(ring, vertices, body.faces, WEIGHTS, CAMERA).sum() == len(edge) > 100
    assert events_per_joint(ring, vertices, body.faces, WEIGHTS, CAMERA, margin_px=1.0).sum() == 0


def test_a_hidden_part_gets_nothing(body: BodyPoser) -> None:
    """Seen from its left side in T-pose, the person's right hand is behind the body."""
    vertices = standing(body, np.zeros((24, 3)))
    side = (vertices - [0, 0, 2.8]) @ np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]], float) + [0, 0, 2.8]
    near, far = (JOINT["hand_left"], JOINT["hand_right"])
    depth = [side[WEIGHTS.argmax(1) == joint, 2].mean() for joint in (near, far)]
    if depth[0] > depth[1]:
        near, far = far, near
    joints = joint_map(side, body.faces, WEIGHTS, CAMERA)
    assert (joints == near).sum() > 20 and (joints == far).sum() == 0


def test_bad_input_is_named(body: BodyPoser) -> None:
    vertices, faces = standing(body, np.zeros((24, 3))), body.faces
    with pytest.raises(ShapeError, match="part_of_vertex"):
        part_map(vertices, faces, np.zeros(5, int), CAMERA)
    with pytest.raises(ShapeError, match="part_of_vertex"):
        part_map(vertices, faces, np.zeros(len(vertices)), CAMERA)
    with pytest.raises(ShapeError, match="part numbers"):
        part_map(vertices, faces, np.full(len(vertices), -1), CAMERA)
    with pytest.raises(ShapeError, match="weights"):
        joint_map(vertices, faces, WEIGHTS[:-1], CAMERA)
    with pytest.raises(ShapeError, match="faces point"):
        joint_map(vertices[:100], faces, WEIGHTS[:100], CAMERA)
    with pytest.raises(UnitError, match="not finite"):
        joint_map(vertices, faces, WEIGHTS * np.nan, CAMERA)
    parts = np.zeros((4, 5), np.int16)
    with pytest.raises(UnitError, match="px"):
        dilate_parts(parts, -1.0)
    with pytest.raises(ShapeError, match="signed integers"):
        dilate_parts(parts.astype(float), 1.0)
    with pytest.raises(ShapeError, match=r"\(260, 346\)"):
        events_per_part(events_at([0], [0]), parts, 1)
    with pytest.raises(ShapeError, match="num_parts"):
        events_per_part(events_at([0], [0], (4, 5)), parts + 3, 3)
