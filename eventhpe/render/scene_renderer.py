"""The fast renderer of gray images of bodies; `raster` is its exact and general sibling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.body.solid_texture import SolidTexture
from eventhpe.errors import ShapeError, UnitError
from eventhpe.geometry.camera import Camera
from eventhpe.render.boxes import EMPTY, Box, clip_box, is_empty, union_boxes
from eventhpe.render.kernels import clip_faces_near
from eventhpe.render.kernels_samples import (
    LANES,
    copy_clipped,
    fill_cells,
    fill_gray,
    resolve,
    texture_samples,
)
from eventhpe.render.kernels_scene import (
    any_nearer,
    bounds,
    light_vertices,
    mesh_is_sound,
    place_in_cells,
    project_to_samples,
    sum_normals,
)
from eventhpe.render.lens import fold_radius_squared
from eventhpe.render.raster import NEAR_M
from eventhpe.render.shading import Light

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]


@dataclass(frozen=True)
class Surface:
    """One body at one instant.

    Attributes:
        vertices: (V, 3) float32 metres, camera frame.
        faces: (F, 3) int32, anticlockwise seen from outside; those that show their inside are not drawn.
        albedo: (V,) float32 reflectance of every vertex, or a solid texture.
        template: (V, 3) float32 place of every vertex in the texture's coordinates; needed with a texture.
    Raises:
        ShapeError: arrays that do not fit together.
    """

    vertices: F32
    faces: I32
    albedo: F32 | SolidTexture
    template: F32 | None = None

    def __post_init__(self) -> None:
        V, F = len(self.vertices), len(self.faces)
        self._set("vertices", np.float32, (V, 3))
        self._set("faces", np.int32, (F, 3))
        if not isinstance(self.albedo, SolidTexture):
            self._set("albedo", np.float32, (V,))
        elif self.template is None:
            raise ShapeError("a Surface with a SolidTexture needs its template coordinates, (V, 3).")
        else:
            self._set("template", np.float32, (V, 3))
            if self.albedo.reflectance.size >= 2**31:
                raise ShapeError(f"a texture may have 2**31 - 1 cells; got {self.albedo.reflectance.shape}.")

    def _set(self, name: str, dtype: type, shape: tuple[int, ...]) -> None:
        array: NDArray[Any] = np.ascontiguousarray(getattr(self, name), dtype)
        if array.shape != shape:
            raise ShapeError(f"Surface.{name} must be {shape}; got {array.shape}.")
        object.__setattr__(self, name, array)


@dataclass(frozen=True)
class Lighting:
    """Light on everybody at one instant.

    Attributes:
        lights: lamps, directions in the CAMERA frame of that instant, one intensity each.
        ambient: light from everywhere, >= 0.
        exposure_dn: digital numbers of reflectance 1 under light 1.
    """

    lights: tuple[Light, ...]
    ambient: float
    exposure_dn: float

    def __post_init__(self) -> None:
        for name in ("ambient", "exposure_dn"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UnitError(f"Lighting.{name} must be finite, at least 0; got {getattr(self, name)}.")
        if any(np.ndim(lamp.intensity) for lamp in self.lights):
            raise ShapeError("Lighting.lights must have one intensity each, as images are gray.")

    def lamps(self) -> F32:
        """(L, 3) directions towards the lamps, as long as the lamps are bright."""
        rows = np.empty((len(self.lights), 3), np.float32)
        for row, lamp in zip(rows, self.lights, strict=True):
            x, y, z = lamp.direction
            scale = float(lamp.intensity) / math.sqrt(x * x + y * y + z * z)  # type: ignore[arg-type]
            row[:] = x * scale, y * scale, z * scale
        return rows


class SceneRenderer:
    """Draws bodies over a background, image after image, touching only what changed.

    Lambert light at the vertices, interpolated (Gouraud). A per-vertex reflectance is interpolated with it; a
    solid texture is looked up at every sample (nearest cell). Interpolation is linear on the image. Within a
    triangle of size s, whose depth changes by dz at distance z, that is off the perspective-correct place by
    about s dz / (4 z) at most: a tenth of a millimetre for a body mesh at 2 m. The z-buffer compares 1/z,
    which is linear on the image. For one thread.

    Args:
        camera: intrinsics, distortion and image size; its world pose is not used. Distortion moves vertices,
            edges stay straight.
        supersample: 1-4 samples per pixel and axis.
    """

    def __init__(self, camera: Camera, *, supersample: int = 2) -> None:
        if supersample not in (1, 2, 3, 4):
            raise ShapeError(f"supersample must be 1, 2, 3 or 4; got {supersample}.")
        self._camera, self._S = camera, supersample
        self._samples = np.zeros(0, np.int64)  # both grow; between calls they hold 0 and -1
        self._cells = np.zeros(0, np.int32)
        self._lens, self._fold_r2 = _lens(camera, supersample), fold_radius_squared(camera)
        self._scratch: list[_Scratch] = []
        self._tables: list[tuple[SolidTexture, F32]] = []
        self._out: F32 | None = None
        self._drawn: Box = EMPTY

    def draw(
        self,
        surfaces: Sequence[Surface],
        lighting: Lighting,
        background: F32,
        out: F32,
        *,
        background_box: Box | None,
    ) -> Box:
        """Draw one image.

        Args:
            surfaces: bodies; they hide each other as they should.
            lighting: the light on them.
            background: (H, W) float32 digital numbers, seen by samples that no body covers.
            out: (H, W) float32 linear digital numbers, clipped to 0..255, that are written; hand in the same
                array each time, as pixels that cannot have changed are left alone.
            background_box: outside this box the background is the same as in the last call; None = it may
                have changed everywhere. The first call, and one with another `out`, draws everything.
        Returns:
            (y0, y1, x0, x1) outside which `out` was not touched.
        Raises:
            ShapeError: images of the wrong size or type, faces that point to no vertex.
            UnitError: vertices that are not finite.
        """
        H, W = size = self._camera.size
        for name, image in (("background", background), ("out", out)):
            if image.shape != size or image.dtype != np.float32 or not image.flags.c_contiguous:
                raise ShapeError(
                    f"{name} must be {size} float32, C-contiguous; got {image.shape} {image.dtype}."
                )
        for surface in surfaces:
            if not mesh_is_sound(surface.vertices, surface.faces):
                raise _explain(surface)
        if out is not self._out:
            background_box = None
        self._out = None  # an interrupted call leaves nothing to build on
        lamps = lighting.lamps() * np.float32(lighting.exposure_dn)
        ambient = lighting.ambient * lighting.exposure_dn
        meshes = [self._light(n, surface, lamps, ambient) for n, surface in enumerate(surfaces)]
        body = union_boxes(*(self._pixels(mesh.screen) for mesh in meshes))
        try:
            samples = self._fill(meshes, body)
            changed = (0, H, 0, W)
            if background_box is not None:
                changed = union_boxes(self._drawn, body, clip_box(background_box, size))
            for around in _around(changed, body):
                copy_clipped(background, around, out)
            resolve(samples, self._S, body, background, out)
        except BaseException:
            self._samples[:], self._cells[:] = 0, -1
            raise
        self._out, self._drawn = out, body
        return changed

    def _light(self, n: int, surface: Surface, lamps: F32, ambient: float) -> _Mesh:
        """Light the n-th body and project it."""
        if n == len(self._scratch):
            self._scratch.append(_Scratch())
        vertices, faces, albedo = surface.vertices, surface.faces, surface.albedo
        s = self._scratch[n].prepare(len(vertices), len(faces))
        count = sum_normals(vertices, faces, s.normals, s.front)
        light_vertices(vertices, s.normals, lamps, ambient, s.scale, s.light)
        texture = None
        if isinstance(albedo, SolidTexture):
            assert surface.template is not None  # as Surface checks
            texture = albedo
            shape = texture.reflectance.shape
            place_in_cells(surface.template, texture.origin, texture.cell_m, shape, s.places)
        else:
            s.light *= albedo
        mesh = _Mesh(s.screen, s.places, faces, s.front, count, texture)
        if any_nearer(vertices, NEAR_M):
            values = np.concatenate([s.light[:, None], s.places], 1)
            xyz, values, faces, _ = clip_faces_near(vertices.astype(np.float64), values, faces, NEAR_M)
            vertices, places = xyz.astype(np.float32), np.ascontiguousarray(values[:, 1:])
            screen, front = np.empty((len(vertices), 4), np.float32), np.arange(len(faces), dtype=np.int32)
            screen[:, 3] = values[:, 0]
            mesh = _Mesh(screen, places, faces, front, len(faces), texture)
        else:
            s.screen[:, 3] = s.light
        project_to_samples(vertices, self._lens, self._fold_r2, mesh.screen)
        return mesh

    def _pixels(self, screen: F32) -> Box:
        H, W = self._camera.size
        S = self._S
        y0, y1, x0, x1 = bounds(screen, H * S, W * S)
        return y0 // S, (y1 + S - 1) // S, x0 // S, (x1 + S - 1) // S

    def _fill(self, meshes: Sequence[_Mesh], box: Box) -> NDArray[np.int64]:
        """The z-buffer of `box` with all bodies; no larger than that, as a small one stays in the caches."""
        S = self._S
        y0, y1, x0, x1 = (S * edge for edge in box)
        shape = (y1 - y0, x1 - x0 + LANES)
        length = shape[0] * shape[1]
        if length > len(self._samples):
            self._samples, self._cells = np.zeros(length, np.int64), np.full(length, -1, np.int32)
        samples, cells = self._samples[:length].reshape(shape), self._cells[:length].reshape(shape)
        for mesh in meshes:
            mesh.screen[:, 0] -= np.float32(x0)
            mesh.screen[:, 1] -= np.float32(y0)
            arguments = (mesh.faces, mesh.front, mesh.count, x1 - x0, samples)
            if mesh.texture is None:
                fill_gray(mesh.screen, *arguments)
            else:
                fill_cells(mesh.screen, mesh.places, mesh.texture.reflectance.shape, *arguments, cells)
                texture_samples(self._table(mesh.texture), samples, cells)
        return samples

    def _table(self, texture: SolidTexture) -> F32:
        """The cells of a texture in the order of `fill_cells`; those of the latest few textures are kept."""
        for kept, table in self._tables:
            if kept is texture:
                return table
        table = np.ascontiguousarray(texture.reflectance.transpose(0, 2, 1)).ravel()
        self._tables = [*self._tables, (texture, table)][-8:]
        return table


@dataclass(frozen=True)
class _Mesh:
    """A body that is lit and projected: what the fill kernels want to know."""

    screen: F32
    places: F32
    faces: I32
    front: I32
    count: int
    texture: SolidTexture | None


def _around(outer: Box, inner: Box) -> tuple[Box, ...]:
    """The parts of a box outside another one inside it."""
    if is_empty(inner):
        return (outer,)
    (y0, y1, x0, x1), (top, bottom, left, right) = outer, inner
    return (y0, top, x0, x1), (bottom, y1, x0, x1), (top, bottom, x0, left), (top, bottom, right, x1)


class _Scratch:
    """Arrays over vertices and faces that are used again for every body; they grow."""

    def __init__(self) -> None:
        self._capacity = (-1, -1)

    def prepare(self, num_vertices: int, num_faces: int) -> _Scratch:
        if (num_vertices, num_faces) != self._capacity:
            self._capacity = (num_vertices, num_faces)
            self.normals = np.zeros((num_vertices, 3), np.float32)
            self.scale, self.light = (np.zeros(num_vertices, np.float32) for _ in range(2))
            self.screen, self.places = (np.zeros((num_vertices, 4), np.float32) for _ in range(2))
            self.front = np.zeros(num_faces + 1, np.int32)
        return self


def _lens(camera: Camera, S: int) -> F32:
    """What `project_to_samples` wants to know of a camera."""
    K = camera.K
    axis = [(K[0, 2] + 0.5) * S - 0.5, (K[1, 2] + 0.5) * S - 0.5]
    scale = [K[0, 0] * S, K[0, 1] * S, K[1, 1] * S]
    return np.array([*axis, *scale, *camera.dist, float(camera.dist.any())], np.float32)


def _explain(surface: Surface) -> Exception:
    faces, V = surface.faces, len(surface.vertices)
    if faces.size and (int(faces.min()) < 0 or int(faces.max()) >= V):
        return ShapeError(f"faces point to vertices {faces.min()}..{faces.max()}, but there are {V}.")
    return UnitError("vertices hold values that are not finite; check the pose they come from.")
