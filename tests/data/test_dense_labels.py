"""Masks, depth and flow against ray casting and independent projections, and against each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
import pytest

from eventhpe.body.default import open_body_arrays
from eventhpe.body.posing import BodyPoser
from eventhpe.data.cast import Cast
from eventhpe.data.dense_labels import write_dense_labels
from eventhpe.data.scene import Person, Scene
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.rotation import rotvec_to_rotmat
from tests.data.staging import SIZE, camera_at, first_hits, performer, person, shaking, stage, standing

STEP = 50_000


@dataclass
class Dense:
    """The group `labels` as arrays."""

    mask_t_us: np.ndarray
    mask: np.ndarray
    depth: np.ndarray
    flow: dict[str, np.ndarray]


def dense(
    scene: Scene, *, step_us: int = STEP, camera: Camera | None = None, cast: Cast | None = None
) -> Dense:
    people = cast or Cast.of_scene(scene)
    with h5py.File("dense", "w", driver="core", backing_store=False) as file:
        write_dense_labels(file, people, camera or scene.camera, step_us=step_us, flow=True, depth=True)
        flow = {name: file["flow"][name][:] for name in file["flow"]}
        return Dense(file["mask_t_us"][:], file["mask"][:], file["depth"][:], flow)


def posed(scene: Scene, who: Person, k: int) -> np.ndarray:
    """(V, 3) camera frame, posed in the world without the cast."""
    m = who.motion
    xyz = BodyPoser(open_body_arrays()).vertices(m.betas[k], m.pose[k], m.transl[k])
    xyz = scene.camera.to_camera_frame(xyz)
    return xyz if scene.shake is None else xyz @ rotvec_to_rotmat(scene.shake[k]).T


def fast_scene(**changes: Any) -> Scene:
    """Large motions, two people, one of whom partly hides the other."""
    people = [
        performer("jumping_jack", 0.2, speed=2.0),
        performer("punch", 0.2, speed=2.0, place=(0.45, 0.0, -0.7), seed=2),
    ]
    return stage(people, **({"camera": camera_at(focal=105.0)} | changes))


@pytest.fixture(scope="module", params=["still", "shaking", "distorted"])
def made(request) -> tuple[Scene, Dense]:
    changes: dict[str, Any] = {}
    if request.param == "shaking":
        changes["shake"] = shaking(21, size_rad=0.03)
    if request.param == "distorted":
        changes["camera"] = camera_at(focal=105.0, dist=(-0.2, 0.02, 0.0, 0.0, 0.0))
    scene = fast_scene(**changes)
    return scene, dense(scene)


def test_layout(made):
    _, labels = made
    assert labels.mask_t_us.tolist() == [0, 50_000, 100_000, 150_000, 200_000]
    assert labels.mask.shape == labels.depth.shape == (5, *SIZE)
    assert (labels.mask.dtype, labels.depth.dtype) == (np.uint8, np.float16)
    assert labels.flow["t0_us"].tolist() == labels.mask_t_us[:-1].tolist()
    assert labels.flow["t1_us"].tolist() == labels.mask_t_us[1:].tolist()
    assert labels.flow["uv"].shape == (4, 2, *SIZE) and labels.flow["uv"].dtype == np.float16
    assert labels.flow["valid"].shape == labels.flow["occluded"].shape == (4, *SIZE)
    assert set(np.unique(labels.mask)) == {0, 1, 2}


def test_every_pixel_is_the_surface_that_its_ray_meets_first(made):
    """Person, depth and flow of pixels drawn at random, from rays through posed triangles.

    Flow: where the surface point under the pixel projects at the next frame, to 0.05 px although stored as
    float16. Through a distorting lens edges of triangles are drawn straight, which costs a little more.
    """
    scene, labels = made
    cast_faces, V = open_body_arrays()["f"].astype(np.int32), len(open_body_arrays()["v_template"])
    faces = np.concatenate([cast_faces, cast_faces + V])
    distorted = bool(scene.camera.dist.any())
    rng, errors, flows, wrong, tested = np.random.default_rng(0), [], [], 0, 0
    for i in range(4):
        start, end = (np.concatenate([posed(scene, p, k) for p in scene.people]) for k in (5 * i, 5 * i + 5))
        rows, cols = np.nonzero(labels.mask[i])
        some = rng.choice(len(rows), 40, replace=False)
        rows, cols = rows[some], cols[some]
        face, shares = first_hits(start, faces, scene.camera, np.stack([cols, rows], -1).astype(float))
        hit = face >= 0
        person_id = np.where(hit, face // len(cast_faces) + 1, 0)
        z = np.einsum("nk,nk->n", shares, start[faces[face], 2])
        same = hit & (np.abs(z - labels.depth[i, rows, cols]) < 0.01)
        wrong += int((~same | (person_id != labels.mask[i, rows, cols])).sum())
        tested += len(rows)
        moved = np.einsum("nk,nkc->nc", shares, end[faces[face]])
        expected = scene.camera.project(moved) - np.stack([cols, rows], -1)
        got = labels.flow["uv"][i][:, rows, cols].T.astype(np.float64)
        errors.append(np.linalg.norm(got - expected, axis=1)[same])
        flows.append(np.linalg.norm(expected, axis=1)[same])
        assert labels.flow["valid"][i, rows, cols].all()
    assert wrong <= (0.03 if distorted else 0.01) * tested
    error, flow = np.concatenate(errors), np.concatenate(flows)
    assert flow.max() > 8, "there is large motion to get wrong"
    assert (np.quantile(error, 0.95) if distorted else error.max()) <= 0.05


@pytest.mark.parametrize("shake", [False, True])
def test_flow_carries_vertices_to_their_next_projection_within_a_twentieth_of_a_pixel(shake):
    """The label sits at pixel centres, so the camera's axis is shifted until a vertex lies on one."""
    who = performer("jumping_jack", 0.05, speed=2.5)
    scene = stage(who, shake=shaking(6, size_rad=0.03) if shake else None)
    cast = Cast.of_scene(scene)
    start, end = posed(scene, who, 0), posed(scene, who, 5)
    far, errors, lengths = dense(scene).depth[0], [], []
    for v in np.random.default_rng(1).permutation(len(start)):
        u0 = scene.camera.project(start[v])
        at = np.rint(u0).astype(int)
        if not ((at > 0) & (at < 95)).all() or abs(far[at[1], at[0]] - start[v, 2]) > 0.02:
            continue  # out of the image, or on the far side of the body
        K = scene.camera.K.copy()
        K[:2, 2] += at - u0
        camera = Camera(K, SIZE, np.zeros(5), scene.camera.R_world_to_cam, scene.camera.t_world_to_cam)
        labels = dense(scene, camera=camera, cast=cast)
        if abs(float(labels.depth[0][at[1], at[0]]) - start[v, 2]) > 0.004:
            continue  # an edge hides it
        truth = camera.project(end[v]) - camera.project(start[v])
        errors.append(np.linalg.norm(labels.flow["uv"][0][:, at[1], at[0]].astype(float) - truth))
        lengths.append(np.linalg.norm(truth))
        if len(errors) == 25:
            break
    assert len(errors) == 25 and max(lengths) > 3
    assert max(errors) <= 0.05


def test_mask_depth_and_flow_agree(made):
    scene, labels = made
    for i in range(5):
        somebody = labels.mask[i] > 0
        np.testing.assert_array_equal(somebody, labels.depth[i] > 0)
        distance = [np.concatenate([posed(scene, p, 5 * i) for p in scene.people])[:, 2]]
        assert np.min(distance) - 0.01 < labels.depth[i][somebody].min()
        assert labels.depth[i][somebody].max() < np.max(distance) + 0.01
        if i < 4:
            flow = labels.flow
            np.testing.assert_array_equal(somebody, flow["valid"][i].astype(bool))
            assert not flow["uv"][i][:, ~somebody].any() and not flow["occluded"][i][~somebody].any()


def test_flow_lands_on_the_same_person_where_it_is_not_occluded(made):
    _, labels = made
    for i in range(4):
        seen = (labels.flow["valid"][i] > 0) & (labels.flow["occluded"][i] == 0)
        rows, cols = np.nonzero(seen)
        u, v = labels.flow["uv"][i][:, rows, cols].astype(float)
        x, y = np.rint(cols + u).astype(int), np.rint(rows + v).astype(int)
        assert ((x >= 0) & (x < SIZE[1]) & (y >= 0) & (y < SIZE[0])).all(), "who leaves the image is occluded"
        around = np.stack([np.roll(labels.mask[i + 1], s, (0, 1)) for s in
                           ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))])  # fmt: skip
        landed = (around[:, y, x] == labels.mask[i, rows, cols]).any(axis=0)
        assert landed.mean() > 0.99


def test_standing_still_before_a_still_camera_is_no_flow():
    labels = dense(stage(person(standing(11))), step_us=100_000)
    assert labels.mask[0].any() and np.abs(labels.flow["uv"]).max() < 1e-3
    assert not labels.flow["occluded"].any()
    np.testing.assert_array_equal(labels.mask[0], labels.mask[1])


def test_a_turning_camera_moves_who_stands_still():
    shake = np.zeros((11, 3))
    shake[:, 1] = np.linspace(0, 0.05, 11)  # x_now = R x_rest: everything swings towards +x
    scene = stage(person(standing(11)), shake=shake)
    labels = dense(scene, step_us=100_000)
    u = labels.flow["uv"][0, 0][labels.mask[0] > 0]
    assert np.median(u) == pytest.approx(scene.camera.K[0, 0] * np.tan(0.05), rel=0.05)


def test_two_people_behind_each_other():
    """The nearer one owns the pixels; who goes behind the other is occluded, and the other is not."""
    K = 11
    path = np.zeros((K, 3))
    path[:, 0], path[:, 2] = np.linspace(0.55, 0.0, K), -0.6
    walker, post = person(standing(K), place=path), person(standing(K), place=(0.0, 0.0, 0.4))
    both = dense(stage([walker, post]), step_us=100_000)
    alone = dense(stage([walker]), step_us=100_000)
    in_front = dense(stage([post]), step_us=100_000)
    np.testing.assert_array_equal(both.mask[1] == 2, in_front.mask[1] == 1)
    assert ((both.mask[0] == 1) & (alone.mask[0] == 0)).sum() == 0
    assert 0 < (both.mask[1] == 1).sum() < 0.5 * (alone.mask[1] == 1).sum(), "mostly hidden at the end"
    mine, post_pixels = both.mask[0] == 1, both.mask[0] == 2
    occluded = both.flow["occluded"][0].astype(bool)
    assert occluded[mine].mean() > 0.5 and not occluded[post_pixels].any()
    assert alone.flow["occluded"][0].astype(bool)[alone.mask[0] > 0].mean() < 0.08
    rows, cols = np.nonzero(mine)
    u, v = both.flow["uv"][0][:, rows, cols].astype(float)
    x, y = np.clip(np.rint(cols + u).astype(int), 0, 95), np.clip(np.rint(rows + v).astype(int), 0, 95)
    behind_post = both.mask[1, y, x] == 2
    agreement = (occluded[rows, cols] == behind_post).mean()
    assert agreement > 0.93, "occluded is where the other person's mask lies at the end of the flow"
    nearer = both.depth[0][post_pixels].mean(), both.depth[0][mine].mean()
    assert nearer[1] - nearer[0] == pytest.approx(1.0, abs=0.1)


def test_leaving_the_image_is_occlusion():
    path = np.zeros((11, 3))
    path[:, 0] = np.linspace(0.7, 1.6, 11)
    labels = dense(stage(person(standing(11), place=path)), step_us=100_000)
    u = labels.flow["uv"][0, 0].astype(float)
    rows, cols = np.nonzero(labels.mask[0])
    leaves = cols + u[rows, cols] >= 95.5
    assert leaves.mean() > 0.5
    assert labels.flow["occluded"][0][rows, cols][leaves].all()


def test_what_was_not_asked_for_is_not_there():
    with h5py.File("dense", "w", driver="core", backing_store=False) as file:
        scene = stage(person(standing(11)))
        write_dense_labels(file, Cast.of_scene(scene), scene.camera, step_us=STEP, flow=False, depth=False)
        assert set(file) == {"mask", "mask_t_us"}
    with h5py.File("dense", "w", driver="core", backing_store=False) as file:
        scene = stage(person(standing(4)))  # shorter than one frame step
        write_dense_labels(file, Cast.of_scene(scene), scene.camera, step_us=STEP, flow=True, depth=False)
        assert set(file) == {"mask", "mask_t_us"} and file["mask"].shape == (1, *SIZE)
