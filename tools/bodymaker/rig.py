"""MakeHuman's rig turned into SMPL's 24 joints, skin weights and T-pose."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from eventhpe.geometry.rotation import rotvec_to_rotmat
from eventhpe.geometry.skeleton import SMPL_SKELETON

PARENTS = SMPL_SKELETON.parents


J = {name: i for i, name in enumerate(SMPL_SKELETON.joints)}


SIDES = (("left", "L", 1.0), ("right", "R", -1.0))


def point_rows(
    bones: dict, groups: dict, wanted: list[list[tuple[str, str, float]]], count: int
) -> sp.csr_matrix:
    """(len(wanted), count) sparse rows; each is a weighted mean of bone heads or tails over mesh vertices."""
    rows = sp.lil_matrix((len(wanted), count))
    for row, parts in enumerate(wanted):
        for bone, end, share in parts:
            spec = bones[bone][end]
            if spec["strategy"] == "CUBE":
                ids = [i for a, b in groups[spec["cube_name"]] for i in range(a, b + 1)]
            elif spec["strategy"] == "MEAN":
                ids = spec["vertex_indices"]
            else:
                ids = [spec["vertex_index"]]
            for i in ids:
                rows[row, i] += share / len(ids)
    return rows.tocsr()


def joint_points() -> list[list[tuple[str, str, float]]]:
    """The 24 joints from bone heads, then index and little knuckle of both hands (rows 24..27)."""

    def mean(*bones: str) -> list[tuple[str, str, float]]:
        return [(bone, "head", 1 / len(bones)) for bone in bones]

    table = {
        "pelvis": mean("spine05", "spine04"), "spine1": mean("spine03"),
        "spine2": [("spine02", "head", 0.6), ("spine01", "head", 0.4)], "spine3": mean("spine01"),
        "neck": mean("neck01"), "head": mean("head"),
    }  # fmt: skip
    for side, s, _ in SIDES:
        table.update({
            f"hip_{side}": mean(f"upperleg01.{s}"), f"knee_{side}": mean(f"lowerleg01.{s}"),
            f"ankle_{side}": mean(f"foot.{s}"),
            f"foot_{side}": mean(*(f"toe{k}-1.{s}" for k in (1, 2, 3, 4))),
            f"collar_{side}": mean(f"clavicle.{s}", f"shoulder01.{s}"),
            f"shoulder_{side}": mean(f"upperarm01.{s}"),
            f"elbow_{side}": mean(f"lowerarm01.{s}"), f"wrist_{side}": mean(f"wrist.{s}"),
            f"hand_{side}": mean(f"finger3-1.{s}"),
        })  # fmt: skip
    knuckles = [mean(f"finger{k}-1.{s}") for _, s, _ in SIDES for k in (2, 5)]
    return [table[name] for name in SMPL_SKELETON.joints] + knuckles


def bone_to_joint(bone: str) -> int:
    """Index of the joint that takes over a bone's skin weights."""
    stem, _, s = bone.partition(".")
    side = {"L": "left", "R": "right"}.get(s, "")
    for prefixes, joint in (
        (("root", "spine05", "spine04", "pelvis"), "pelvis"), (("spine03",), "spine1"),
        (("spine02",), "spine2"),
        (("spine01", "breast"), "spine3"), (("neck",), "neck"), (("clavicle", "shoulder01"), "collar_"),
        (("upperarm",), "shoulder_"), (("lowerarm",), "elbow_"), (("wrist", "metacarpal"), "wrist_"),
        (("finger",), "hand_"), (("upperleg",), "hip_"), (("lowerleg",), "knee_"), (("foot",), "ankle_"),
        (("toe",), "foot_"),
    ):  # fmt: skip
        if stem.startswith(prefixes):
            return J[joint + side if joint.endswith("_") else joint]
    return J["head"]


def keep_largest(weights: np.ndarray, count: int = 4) -> np.ndarray:
    """Rows with only their `count` largest entries, summing to one."""
    order = np.argsort(-weights, axis=1, kind="stable")[:, count:]
    out = weights.copy()
    np.put_along_axis(out, order, 0, axis=1)
    return out / out.sum(1, keepdims=True)


def unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def between(a: np.ndarray, b: np.ndarray, share: float = 1.0) -> np.ndarray:
    """Rotation that takes direction a towards direction b by `share` of their angle."""
    a, b = unit(a), unit(b)
    axis = np.cross(a, b)
    sine = np.linalg.norm(axis)
    if sine < 1e-9:
        return np.eye(3)
    return rotvec_to_rotmat(axis / sine * np.arctan2(sine, a @ b) * share)


def tpose_rotations(points: np.ndarray) -> np.ndarray:
    """(24, 3, 3) world rotations from MakeHuman's A-pose to SMPL's T-pose, given the 28 points of
    `joint_points`."""
    world = np.tile(np.eye(3), (24, 1, 1))
    for k, (side, _, x) in enumerate(SIDES):
        at = {
            name: points[J[f"{name}_{side}"]]
            for name in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist", "hand")
        }
        upper, fore, hand = at["elbow"] - at["shoulder"], at["wrist"] - at["elbow"], at["hand"] - at["wrist"]
        out, hinge = np.array([x, 0.0, 0.0]), np.array([0.0, -x, 0.0])
        goal = np.stack([out, hinge, np.cross(out, hinge)], 1)

        def frame(direction: np.ndarray, axis: np.ndarray, goal: np.ndarray = goal) -> np.ndarray:
            u, a = unit(direction), unit(axis)
            return goal @ np.stack([u, a, np.cross(u, a)], 1).T

        axis = np.cross(upper, fore)
        world[J[f"shoulder_{side}"]] = frame(upper, axis)
        turn = frame(fore, axis)
        straight = between(turn @ hand, out, 0.8) @ turn
        across = straight @ (
            points[24 + 2 * k] - points[25 + 2 * k]
        )  # little finger to index: forward, palm down
        twist = np.arctan2(across[1], across[2])  # rotation about +x that brings `across` to +z
        world[J[f"elbow_{side}"]] = rotvec_to_rotmat([0.6 * twist, 0, 0]) @ turn
        hand_world = rotvec_to_rotmat([twist, 0, 0]) @ straight
        world[J[f"wrist_{side}"]] = world[J[f"hand_{side}"]] = hand_world
        outward = np.radians(4.0)
        world[J[f"hip_{side}"]] = between(
            at["knee"] - at["hip"], np.array([x * np.sin(outward), -np.cos(outward), 0])
        )
        world[J[f"knee_{side}"]] = between(at["ankle"] - at["knee"], np.array([0.0, -1.0, 0.0]))
    return world


def repose(
    vertices: np.ndarray, points: np.ndarray, weights: np.ndarray, world: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Forward skinning with world rotations; returns vertices and the 24 joints."""
    joints = points[:24].copy()
    for j in range(1, 24):
        joints[j] = joints[PARENTS[j]] + world[PARENTS[j]] @ (points[j] - points[PARENTS[j]])
    shift = joints - np.einsum("jab,jb->ja", world, points[:24])
    blended = (weights @ world.reshape(24, 9)).reshape(-1, 3, 3)
    return np.einsum("vab,vb->va", blended, vertices) + weights @ shift, joints


def tip_bones() -> dict[str, str]:
    """Bones whose tails are the finger and toe tips, by smplx's vertex names."""
    out = {}
    for _, s, _ in SIDES:
        for k, finger in enumerate(("thumb", "index", "middle", "ring", "pinky"), 1):
            out[f"{s.lower()}{finger}"] = f"finger{k}-3.{s}"
        out[f"{s}BigToe"], out[f"{s}SmallToe"] = f"toe1-2.{s}", f"toe5-3.{s}"
    return out


def landmark_ids(
    v: np.ndarray, joints: np.ndarray, tips: dict[str, np.ndarray], eyes: np.ndarray
) -> dict[str, int]:
    """The 21 vertices that smplx appends as joints 24..44, by smplx's names."""

    def extreme(mask: np.ndarray, value: np.ndarray) -> int:
        ids = np.nonzero(mask)[0]
        return int(ids[np.argmax(value[ids])])

    face = ~eyes & (v[:, 1] > joints[J["head"], 1] - 0.02)
    ids = {"nose": extreme(face, v[:, 2])}
    for side, s, x in SIDES:
        half = np.sign(v[:, 0]) == x
        foot = half & (v[:, 1] < joints[J[f"ankle_{side}"], 1] - 0.03)
        ids[f"{s.lower()}eye"] = extreme(eyes & half, v[:, 2])
        ids[f"{s.lower()}ear"] = extreme(face & half, np.abs(v[:, 0]))
        ids[f"{s}Heel"] = extreme(foot, -v[:, 2])
    for name, tip in tips.items():
        ids[name] = extreme(~eyes, -np.linalg.norm(v - tip, axis=1))
    return ids
