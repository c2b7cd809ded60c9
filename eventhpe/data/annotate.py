"""Labels of a scene: bodies, joints, markers, what is visible of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eventhpe.body.dhp19_markers import open_body_markers
from eventhpe.data.cast import Cast, Instant
from eventhpe.data.labels import Labels
from eventhpe.data.scene import Scene
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.skeleton import SMPL_SKELETON
from eventhpe.render.raster import RasterBuffers, depth_visible, rasterize

_DEEPER_M = {
    **dict.fromkeys(("pelvis", "spine1", "spine2", "spine3"), 0.24),
    **dict.fromkeys(
        ("hip_left", "hip_right", "collar_left", "collar_right", "shoulder_left", "shoulder_right", "neck",
         "head"), 0.16,
    ),
}  # fmt: skip
JOINT_DEPTH_M = np.array([_DEEPER_M.get(name, 0.13) for name in SMPL_SKELETON.joints])
"""(24,) how deep a joint lies under the skin that shows it, at most, on bodies of all shapes, dressed."""
MARKER_DEPTH_M = 0.03
"""Markers lie on the skin; loose clothes may cover them by this much."""


def scene_mesh(cast: Cast, instant: Instant) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """All people as one mesh: vertices (P * V, 3) and faces (P * F, 3), one person after the other."""
    V = len(instant.vertices[0])
    vertices = np.concatenate(instant.vertices).astype(np.float64)
    faces = np.concatenate([cast.faces + np.int32(i * V) for i in range(len(instant.vertices))])
    return vertices, faces


def label_scene(scene: Scene, cast: Cast) -> list[Labels]:
    """Labels of everybody in a scene, at every label time.

    A joint or marker is visible when it projects into the image and nobody's body, their own included, lies
    in front of it by more than the depth at which it sits.
    """
    markers_of = open_body_markers()
    K, P = scene.num_labels, len(scene.people)
    joints, markers = np.zeros((P, K, 24, 3)), np.zeros((P, K, 13, 3))
    joints_visible, markers_visible = np.zeros((P, K, 24), bool), np.zeros((P, K, 13), bool)
    buffers = RasterBuffers()
    for k in range(K):
        instant = cast.at_label(k)
        vertices, faces = scene_mesh(cast, instant)
        depth = rasterize(vertices, faces, scene.camera, cull=True, buffers=buffers).depth
        for i in range(P):
            joints[i, k], markers[i, k] = instant.joints[i], markers_of.positions(instant.vertices[i])
            joints_visible[i, k] = joints_seen(joints[i, k], depth, scene.camera)
            markers_visible[i, k] = markers_seen(markers[i, k], depth, scene.camera)
    track = None if scene.shake is None else scene.extrinsics()
    return [
        Labels(
            t_us=cast.t_us,
            params=cast.people[i],
            joints3d=joints[i].astype(np.float32),
            joints2d=_project(scene.camera, joints[i]),
            camera=scene.camera,
            joints_visible=joints_visible[i],
            markers3d=markers[i].astype(np.float32),
            markers2d=_project(scene.camera, markers[i]),
            markers_visible=markers_visible[i],
            track=track,
            offsets=scene.people[i].offsets,
        )
        for i in range(P)
    ]


def joints_seen(joints: NDArray[np.float64], depth: NDArray[np.float32], camera: Camera) -> NDArray[np.bool_]:
    """(24,) whether a camera sees the joints (24, 3), given the depth map (H, W) of everybody."""
    seen = np.zeros(len(joints), bool)
    for tolerance in np.unique(JOINT_DEPTH_M):
        alike = tolerance == JOINT_DEPTH_M
        seen[alike] = depth_visible(joints[alike], depth, camera, float(tolerance))
    return seen


def markers_seen(
    markers: NDArray[np.float64], depth: NDArray[np.float32], camera: Camera
) -> NDArray[np.bool_]:
    """(13,) whether a camera sees the markers (13, 3), given the depth map (H, W) of everybody."""
    return depth_visible(markers, depth, camera, MARKER_DEPTH_M)


def _project(camera: Camera, xyz: NDArray[np.float64]) -> NDArray[np.float32]:
    return camera.project(xyz).astype(np.float32)
