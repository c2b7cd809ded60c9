"""The default renderer: a z-buffer on the CPU that needs no graphics driver."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventhpe.errors import ShapeError, UnitError
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.flowfield import FlowField
from eventhpe.render.kernels import clip_faces_near, fill_triangles, resolve_samples, visible_points

NEAR_M = 0.05
"""Surfaces nearer to the camera plane than this are cut away."""

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Frame:
    """What the rasteriser saw.

    Attributes:
        attributes: (H, W, C) float32, mean over the covered samples of a pixel (not premultiplied:
            blend with `coverage`); 0 where empty.
        depth: (H, W) float32 metres along the optical axis of the nearest covered sample; inf where empty.
        coverage: (H, W) float32 share of the pixel's samples that are covered.
        face_id: (H, W) int32 face of the nearest covered sample; -1 where empty.
    """

    attributes: F32
    depth: F32
    coverage: F32
    face_id: NDArray[np.int32]


@dataclass
class RasterBuffers:
    """Scratch memory that saves its allocation when many frames are drawn; holds no result.

    One per thread. It grows by itself when the image size or the supersampling changes.
    """

    inv_depth: F32 = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    face_id: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, 0), np.int32))
    _used: tuple[int, int, int, int] = (0, 0, 0, 0)

    def prepare(self, size: tuple[int, int], occluder_depth: F32 | None, supersample: int) -> None:
        """Empty the buffers for an image of `size` (H, W); an occluder's depth map is written first."""
        shape = (size[0] * supersample, size[1] * supersample)
        if self.inv_depth.shape != shape:
            self.inv_depth, self.face_id = np.zeros(shape, np.float32), np.full(shape, -1, np.int32)
        else:
            y0, y1, x0, x1 = self._used
            self.inv_depth[y0:y1, x0:x1] = 0.0
            self.face_id[y0:y1, x0:x1] = -1
        self._used = (0, 0, 0, 0)
        if occluder_depth is not None:
            with np.errstate(divide="ignore"):
                inverse = np.where(occluder_depth > 0, np.float32(1) / occluder_depth, np.float32(0))
            self.inv_depth[:] = inverse.repeat(supersample, 0).repeat(supersample, 1)
            self._used = (0, shape[0], 0, shape[1])

    def mark(self, box: tuple[int, int, int, int]) -> None:
        """Remember which samples were written, so that only those are emptied next time."""
        if self._used == (0, 0, 0, 0):
            self._used = box


def rasterize(
    vertices: ArrayLike,
    faces: ArrayLike,
    camera: Camera,
    *,
    attributes: ArrayLike | None = None,
    supersample: int = 1,
    cull: bool = False,
    occluder_depth: F32 | None = None,
    buffers: RasterBuffers | None = None,
) -> Frame:
    """Draw a triangle mesh with a z-buffer.

    Args:
        vertices: (V, 3) metres in the camera frame (`Camera.to_camera_frame`).
        faces: (F, 3) vertex indices, anticlockwise seen from outside.
        camera: intrinsics, distortion and image size; its world pose is not used.
        attributes: (V, C) or (V,) values per vertex, interpolated perspective-correctly.
        supersample: 1-4, samples per pixel and axis; more give smooth edges in `coverage`.
        cull: leave out faces that show the camera their inside (twice as fast for closed bodies).
        occluder_depth: (H, W) metres, inf where empty (another Frame's `depth`): what lies behind it
            is not drawn. For exact edges between bodies concatenate their meshes instead.
        buffers: scratch memory to use again.
    Raises:
        ShapeError: array shapes that do not fit, or faces that point to no vertex.
        UnitError: vertices that are not finite.
    Convention:
        A sample stands for its centre; pixel centres lie at integers. Triangles are cut at 5 cm. Lens
        distortion moves vertices, edges between them stay straight (sub-pixel for body meshes).
    """
    xyz, tri = _checked_mesh(vertices, faces)
    values = _checked_attributes(attributes, len(xyz))
    if supersample not in (1, 2, 3, 4):
        raise ShapeError(f"supersample must be 1, 2, 3 or 4; got {supersample}.")
    H, W = camera.size
    if occluder_depth is not None and occluder_depth.shape != (H, W):
        raise ShapeError(f"occluder_depth must be (H, W) = {(H, W)}; got {occluder_depth.shape}.")
    source = np.arange(len(tri), dtype=np.int32)
    if len(xyz) and xyz[:, 2].min() < NEAR_M:
        xyz, values, tri, source = clip_faces_near(xyz, values, tri, NEAR_M)

    uv = _project_within_lens(xyz, camera)
    inv_z = 1.0 / np.maximum(xyz[:, 2], NEAR_M)
    scratch = RasterBuffers() if buffers is None else buffers
    scratch.prepare((H, W), occluder_depth, supersample)
    box = fill_triangles(uv, inv_z, tri, supersample, cull, scratch.inv_depth, scratch.face_id)
    scratch.mark(box)

    frame = Frame(
        attributes=np.zeros((H, W, values.shape[1]), np.float32),
        depth=np.full((H, W), np.inf, np.float32),
        coverage=np.zeros((H, W), np.float32),
        face_id=np.full((H, W), -1, np.int32),
    )
    resolve_samples(
        uv, inv_z, tri, source, values, supersample, scratch.inv_depth, scratch.face_id, box,
        frame.attributes, frame.depth, frame.coverage, frame.face_id,
    )  # fmt: skip
    return frame


def depth_visible(
    points: ArrayLike, depth: F32, camera: Camera, tolerance_m: float = 0.02
) -> NDArray[np.bool_]:
    """Which points a camera sees, given the depth map of the scene.

    Args:
        points: (N, 3) metres in the camera frame.
        depth: (H, W) metres, inf where empty.
        tolerance_m: how far behind the surface a point may lie and still count as on it. (Joints lie
            inside the body: use about a limb's radius.)
    Returns:
        (N,) bool; points outside the image are False, points over empty pixels True.
    """
    xyz = np.ascontiguousarray(points, dtype=np.float64)
    if xyz.ndim != 2 or xyz.shape[1] != 3:
        raise ShapeError(f"points must be (N, 3); got {xyz.shape}.")
    if depth.shape != camera.size:
        raise ShapeError(f"depth must be (H, W) = {camera.size} like the camera; got {depth.shape}.")
    uv = _project_within_lens(xyz, camera)
    return np.asarray(visible_points(uv, xyz[:, 2], np.ascontiguousarray(depth, np.float32), tolerance_m))


@dataclass(frozen=True)
class MeshFlow(FlowField):
    """Exact flow of a mesh. `valid` says where the mesh is at t0.

    Attributes:
        occluded: (H, W) bool, valid pixels whose surface point is not seen at t1 (hidden, or out of
            the image).
        depth: (H, W) float32 metres at t0, inf where empty.
    """

    occluded: NDArray[np.bool_]
    depth: F32


def mesh_flow(
    vertices_t0: ArrayLike,
    vertices_t1: ArrayLike,
    faces: ArrayLike,
    camera: Camera,
    t0_us: int,
    t1_us: int,
    *,
    tolerance_m: float = 0.02,
    buffers: RasterBuffers | None = None,
) -> MeshFlow:
    """Dense optical flow of a moving mesh, exact for each visible surface point.

    Args:
        vertices_t0, vertices_t1: (V, 3) metres in the camera frame at both ends of the window. (A moving
            camera is the same thing: give each in the camera frame of its time.)
        tolerance_m: depth tolerance of the occlusion test.
    Convention:
        Forward flow, indexed at t0: the surface point under pixel (x, y) at t0 lies at (x, y) + uv at t1.
    """
    end = np.asarray(vertices_t1, dtype=np.float64)
    if end.shape != np.shape(vertices_t0):
        raise ShapeError(f"both meshes need the same shape; got {np.shape(vertices_t0)} and {end.shape}.")
    scratch = RasterBuffers() if buffers is None else buffers
    start = rasterize(vertices_t0, faces, camera, attributes=end, buffers=scratch)
    rows, cols = np.nonzero(start.face_id >= 0)
    moved = start.attributes[rows, cols].astype(np.float64)
    target = camera.project(moved)
    reachable = moved[:, 2] >= NEAR_M

    H, W = camera.size
    uv, valid, occluded = np.zeros((2, H, W), np.float32), np.zeros((H, W), bool), np.zeros((H, W), bool)
    valid[rows, cols] = reachable
    uv[0, rows, cols] = np.where(reachable, target[:, 0] - cols, 0.0)
    uv[1, rows, cols] = np.where(reachable, target[:, 1] - rows, 0.0)
    depth_t1 = rasterize(end, faces, camera, buffers=scratch).depth
    occluded[rows, cols] = reachable & ~depth_visible(moved, depth_t1, camera, tolerance_m)
    return MeshFlow(uv=uv, valid=valid, t0_us=t0_us, t1_us=t1_us, occluded=occluded, depth=start.depth)


def _checked_mesh(vertices: ArrayLike, faces: ArrayLike) -> tuple[F64, NDArray[np.int32]]:
    xyz = np.ascontiguousarray(vertices, dtype=np.float64)
    tri = np.asarray(faces)
    if xyz.ndim != 2 or xyz.shape[1] != 3:
        raise ShapeError(f"vertices must be (V, 3); got {xyz.shape}. Several bodies: concatenate them.")
    if tri.ndim != 2 or tri.shape[1] != 3 or tri.dtype.kind not in "iu":
        raise ShapeError(f"faces must be (F, 3) integers; got {tri.shape} {tri.dtype}.")
    if tri.size and (int(tri.min()) < 0 or int(tri.max()) >= len(xyz)):
        raise ShapeError(f"faces point to vertices {tri.min()}..{tri.max()}, but there are {len(xyz)}.")
    if not np.isfinite(xyz).all():
        raise UnitError("vertices hold values that are not finite; check the pose they come from.")
    return xyz, np.ascontiguousarray(tri, dtype=np.int32)


def _checked_attributes(attributes: ArrayLike | None, num_vertices: int) -> F32:
    if attributes is None:
        return np.zeros((num_vertices, 0), np.float32)
    values = np.ascontiguousarray(attributes, dtype=np.float32)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or len(values) != num_vertices:
        raise ShapeError(f"attributes must be (V, C) with V = {num_vertices}; got {np.shape(attributes)}.")
    return values


def _project_within_lens(xyz: F64, camera: Camera) -> F64:
    """(V, 2) pixels; NaN behind the camera and where the distortion polynomial no longer holds."""
    uv = camera.project(xyz)
    if camera.dist.any():
        k1, k2, _, _, k3 = camera.dist
        # Beyond the first extremum of r (1 + k1 r^2 + k2 r^4 + k3 r^6) far points fold back into the image.
        roots = np.roots(np.array([7 * k3, 5 * k2, 3 * k1, 1.0]))
        folds = roots.real[(np.abs(roots.imag) < 1e-9) & (roots.real > 0)]
        if folds.size:
            with np.errstate(divide="ignore", invalid="ignore"):
                r2 = (xyz[:, 0] ** 2 + xyz[:, 1] ** 2) / xyz[:, 2] ** 2
            uv[~(r2 < folds.min())] = np.nan
    return uv
