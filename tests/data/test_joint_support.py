"""Events per joint: they add up, they go to the limb that moves, and to the person who moves."""

from __future__ import annotations

import numpy as np
import pytest

from eventhpe.data.cast import Cast
from eventhpe.data.joint_support import MARGIN_PX, joint_support
from eventhpe.data.scene import Scene
from eventhpe.data.simulation import simulate
from eventhpe.events.types import Events
from eventhpe.geometry.skeleton import SMPL_SKELETON
from eventhpe.render.raster import rasterize
from tests.data.staging import FAST, camera_at, joint, person, stage, standing

CAMERA = camera_at(size=(128, 128), focal=150.0)
WINDOW = 50_000


def events_of(scene: Scene) -> Events:
    steps = list(simulate(scene, Cast.of_scene(scene), FAST, seed=1))
    t, x, y, p = (np.concatenate([getattr(s.events, c) for s in steps]) for c in "txyp")
    return Events(t=t, x=x, y=y, p=p, sensor_size=scene.camera.size)


def raising(limb: str, K: int = 6) -> np.ndarray:
    """Poses of somebody who lifts one straight arm by 60 degrees and keeps everything else still."""
    pose = standing(K)
    pose[:, joint(f"shoulder_{limb}"), 2] += np.linspace(0, 1.0, K) * (1 if limb == "left" else -1)
    return pose


@pytest.mark.parametrize(("limb", "other"), [("left", "right"), ("right", "left")])
def test_a_raised_arm_has_the_events_and_nothing_else_has(limb, other):
    scene = stage(person(raising(limb)), camera=CAMERA)
    events = events_of(scene)
    counts = joint_support(Cast.of_scene(scene), CAMERA, events, WINDOW // 2)
    assert counts.shape == (1, 24) and counts.dtype == np.int64
    by_name = dict(zip(SMPL_SKELETON.joints, counts[0], strict=True))
    arm = sum(by_name[f"{n}_{limb}"] for n in ("shoulder", "elbow", "wrist", "hand"))
    assert arm > 100 and by_name[f"elbow_{limb}"] > 20
    assert arm > 0.9 * counts.sum(), "what the arm sweeps over counts for what lies under it"
    for name in ("shoulder", "elbow", "wrist", "hand", "knee", "ankle", "foot"):
        assert by_name[f"{name}_{other}"] == 0
    assert by_name["head"] == by_name[f"knee_{limb}"] == 0


def test_nobody_moves_nobody_has_events():
    scene = stage(person(standing(6)), camera=CAMERA)
    counts = joint_support(Cast.of_scene(scene), CAMERA, events_of(scene), WINDOW // 2)
    assert counts.sum() == 0


def test_events_go_to_the_person_who_moves():
    still, mover = person(standing(6), place=(-0.5, 0, 0)), person(raising("left"), place=(0.4, 0, 0))
    for people, who in (([still, mover], 1), ([mover, still], 0)):
        scene = stage(people, camera=CAMERA)
        counts = joint_support(Cast.of_scene(scene), CAMERA, events_of(scene), WINDOW // 2)
        assert counts[who].sum() > 100 and counts[1 - who].sum() == 0


def test_counts_add_up_to_the_events_on_and_beside_the_body():
    """One event in every pixel: those on the silhouette and up to the margin outside it are counted, once."""
    scene = stage(person(standing(2)), camera=CAMERA)
    cast = Cast.of_scene(scene)
    ys, xs = np.mgrid[0:128, 0:128]
    n = ys.size
    events = Events(
        t=np.zeros(n, np.int64), x=xs.ravel().astype(np.uint16), y=ys.ravel().astype(np.uint16),
        p=np.zeros(n, np.uint8), sensor_size=(128, 128),
    )  # fmt: skip
    counts = joint_support(cast, CAMERA, events, 0)
    body = rasterize(cast.at_label(0).vertices[0], cast.faces, CAMERA).face_id >= 0
    rows, cols = np.nonzero(body)
    near = np.min(np.hypot(ys[..., None] - rows, xs[..., None] - cols), axis=-1) <= MARGIN_PX
    assert counts.sum() == near.sum() > body.sum() > 500
    silent = counts[0] == 0
    hidden = {SMPL_SKELETON.joints[j] for j in np.flatnonzero(silent)}
    assert hidden <= {"hand_left", "hand_right", "spine2", "collar_left", "collar_right"}


def test_the_bodies_stand_where_they_are_at_the_given_time():
    """An event on the hand of the last pose belongs to the hand only when asked for that time."""
    scene = stage(person(raising("left")), camera=CAMERA)
    cast = Cast.of_scene(scene)
    u, v = np.rint(CAMERA.project(cast.at_label(5).joints[0][joint("wrist_left")])).astype(int)
    event = Events(
        t=np.array([WINDOW - 1]), x=np.array([u], np.uint16), y=np.array([v], np.uint16),
        p=np.ones(1, np.uint8), sensor_size=(128, 128),
    )  # fmt: skip
    late, early = joint_support(cast, CAMERA, event, WINDOW), joint_support(cast, CAMERA, event, 0)
    arm = [joint(f"{n}_left") for n in ("elbow", "wrist", "hand")]
    assert late[0, arm].sum() == 1 and early[0, arm].sum() == 0
