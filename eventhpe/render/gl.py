"""A second opinion on the rasteriser: the same pictures drawn by OpenGL through pyrender (extra `gl`).

Nothing in the package needs it, nobody gets it without asking, and it never falls back to `raster`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventhpe.errors import CalibrationError, MissingExtraError, ShapeError, UnitError
from eventhpe.geometry.camera import Camera
from eventhpe.render.raster import NEAR_M
from eventhpe.render.shading import Light, vertex_normals

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

MAX_LIGHTS = 4
"""Distant lamps that pyrender's shader takes."""

_DISPLAY_GAMMA = 2.2
_DIELECTRIC = 0.04  # reflectance of the glTF material at normal incidence: what the diffuse part loses, twice
_DIFFUSE = (1 - _DIELECTRIC) ** 2 / np.pi  # diffuse reflection of base colour 1 per unit of n . l
_BRIGHTEST = 1 / (1 - _DIELECTRIC) ** 2  # diffuse and gloss together never exceed this, diffuse being 1


@dataclass(frozen=True)
class GlFrame:
    """What OpenGL saw.

    Attributes:
        color: (H, W, C) float32 linear intensity, mean over the covered samples of a pixel (not
            premultiplied, as `raster.Frame.attributes`); 0 where empty. It went through 8 bits.
        coverage: (H, W) float32 share of the pixel's samples that are covered: four per pixel, at places that
            the driver chooses, times supersample squared.
        depth: (H, W) float32 metres along the optical axis at the pixel's centre, or of the nearest of its
            supersample x supersample sample centres; inf where empty.
        mask: (H, W) bool, where `depth` is finite.
    """

    color: F32
    coverage: F32
    depth: F32
    mask: NDArray[np.bool_]


class GlRenderer:
    """Draws meshes with OpenGL off screen, with the conventions of `raster.rasterize`.

    All renderers of a process share one context, which is freed when the last is closed; use them from one
    thread. PYOPENGL_PLATFORM and PYGLET_HEADLESS are set for EGL without a display where they are unset.

    Raises:
        MissingExtraError: pyrender or OpenGL is missing or does not draw what it should.
    """

    _backend: ClassVar[_Backend | None] = None
    _users: ClassVar[int] = 0

    def __init__(self) -> None:
        self._open = False
        if GlRenderer._backend is None:
            GlRenderer._backend = _start()
        GlRenderer._users += 1
        self._open = True

    def __enter__(self) -> GlRenderer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the context back; a second call does nothing."""
        if not self._open:
            return
        self._open = False
        GlRenderer._users -= 1
        # pyrender ends the whole display with a context, so the context goes with its last user.
        if GlRenderer._users == 0 and GlRenderer._backend is not None:
            backend, GlRenderer._backend = GlRenderer._backend, None
            backend.canvas.delete()

    def render(
        self,
        vertices: ArrayLike,
        faces: ArrayLike,
        camera: Camera,
        *,
        color: ArrayLike = 1.0,
        lights: Sequence[Light] | None = None,
        ambient: float | Sequence[float] = 0.2,
        supersample: int = 1,
        cull: bool = False,
    ) -> GlFrame:
        """Draw a triangle mesh.

        Args:
            vertices: (V, 3) metres in the camera frame.
            faces: (F, 3) vertex indices, anticlockwise seen from outside.
            camera: intrinsics (skew included) and image size; its world pose is not used.
            color: (V,) or (V, C) linear intensity with C 1 or 3, or one number; 8 bits of its maximum are
                kept.
            lights: None draws `color` as it is. With at most 4 lamps `color` is albedo, lit by OpenGL per
                pixel: the Lambertian part of the glTF material (see Convention).
            ambient: light from everywhere, used with `lights`.
            supersample: 1-4, samples per pixel and axis, on top of OpenGL's four per pixel.
            cull: leave out faces that show the camera their inside.
        Raises:
            ShapeError: array shapes that do not fit, faces that point to no vertex, too many lamps.
            UnitError: vertices that are not finite; intensities that are negative or not finite.
            CalibrationError: the camera has lens distortion, which OpenGL's pinhole has not.
        Convention:
            Pixel centres lie at integers. OpenGL's depth buffer is sampled beside the pixel's centre, so
            depth and mask come from a second pass that is shifted to meet it. Light: the material (glTF 2.0,
            metallic 0, roughness 1) is drawn white and black; the difference is free of gloss and equals
            albedo * (ambient + sum of intensity * max(0, n . l)), except that a lamp behind the body loses to
            Fresnel reflection: 0.2 % at 90 degrees from the viewing direction, 3 % at 120. Normals that look
            away are not turned round.
        """
        if not self._open or GlRenderer._backend is None:
            raise ValueError("this GlRenderer is closed; make a new one.")
        if camera.dist.any():
            raise CalibrationError(
                f"OpenGL draws a pinhole, but the camera has lens distortion {camera.dist.tolist()}; use "
                "raster.rasterize, or a camera without distortion."
            )
        if supersample not in (1, 2, 3, 4):
            raise ShapeError(f"supersample must be 1, 2, 3 or 4; got {supersample}.")
        xyz, tri = _checked_mesh(vertices, faces)
        tint = _checked_color(color, len(xyz))
        (H, W), C = camera.size, tint.shape[1]
        lamps = None if lights is None else _checked_lights(lights, ambient, C)
        if not len(tri):
            blank = np.zeros((H, W), np.float32)
            return GlFrame(np.zeros((H, W, C), np.float32), blank, blank + np.inf, np.zeros((H, W), bool))

        scene = _Scene(GlRenderer._backend, xyz, tri, camera, supersample, cull)
        shown, alpha = scene.flat(tint) if lamps is None else scene.lit(tint, *lamps)
        coverage = _per_pixel(alpha, supersample).mean(-1)
        weighted = _per_pixel(shown * alpha[..., None], supersample).mean(-1)
        depth = _per_pixel(scene.depth(), supersample).min(-1)
        seen = np.maximum(coverage, np.finfo(np.float32).tiny)[..., None]
        return GlFrame(weighted[..., :C] / seen, coverage, depth, np.isfinite(depth))


def render_gl(
    vertices: ArrayLike,
    faces: ArrayLike,
    camera: Camera,
    *,
    color: ArrayLike = 1.0,
    lights: Sequence[Light] | None = None,
    ambient: float | Sequence[float] = 0.2,
    supersample: int = 1,
    cull: bool = False,
) -> GlFrame:
    """One picture with a `GlRenderer` of its own; arguments and errors as in `GlRenderer.render`."""
    with GlRenderer() as renderer:
        return renderer.render(
            vertices, faces, camera, color=color, lights=lights, ambient=ambient,
            supersample=supersample, cull=cull,
        )  # fmt: skip


@dataclass(frozen=True)
class _Backend:
    """pyrender, its offscreen context, and where in a pixel the depth buffer is sampled."""

    pyrender: Any
    canvas: Any
    depth_sample: tuple[float, float]  # (right, down) of the pixel's centre, pixels


class _Scene:
    """One mesh before one camera, drawn in as many passes as needed."""

    def __init__(
        self,
        backend: _Backend,
        xyz: F64,
        tri: NDArray[np.int32],
        camera: Camera,
        supersample: int,
        cull: bool,
    ) -> None:
        self._gl, self._canvas, self._shift = backend.pyrender, backend.canvas, backend.depth_sample
        self._xyz, self._tri, self._camera, self._scale = xyz, tri, camera, supersample
        self._far = max(1.01 * float(xyz[:, 2].max()), 2 * NEAR_M)
        self._size = camera.size[0] * supersample, camera.size[1] * supersample
        flags = self._gl.RenderFlags
        self._flags = flags.RGBA | (0 if cull else flags.SKIP_CULL_FACES)
        self._flat = self._flags | flags.FLAT

    def flat(self, tint: F64) -> tuple[F32, F32]:
        """Intensity (h, w, 3) and alpha (h, w) of all samples, tint shown as it is."""
        scale = float(tint.max()) or 1.0
        shown, alpha, _ = self._draw(tint / scale, self._flat)
        return shown * np.float32(scale), alpha

    def lit(self, albedo: F64, lamps: list[tuple[F64, F64]], ambient: F64) -> tuple[F32, F32]:
        """Intensity and alpha under lamps (direction towards, intensity per channel) and ambient light."""
        scale = float(albedo.max()) or 1.0
        most = ambient + _BRIGHTEST * sum((intensity for _, intensity in lamps), np.zeros_like(ambient))
        light = float(most.max()) or 1.0
        scaled = [(towards, intensity / light) for towards, intensity in lamps]
        (white, alpha, _), (black, _, _) = (
            self._draw(albedo / scale, self._flags, base=base, lamps=scaled, ambient=ambient / light)
            for base in (1.0, 0.0)
        )
        gloss_free = np.maximum(white**_DISPLAY_GAMMA - black**_DISPLAY_GAMMA, 0)
        return gloss_free.astype(np.float32) * np.float32(scale * light), alpha

    def depth(self) -> F32:
        """(h, w) metres at the centres of all samples; inf where empty."""
        depth = self._draw(np.ones((len(self._xyz), 1)), self._flat, shift=self._shift)[2]
        return np.where(depth == 0, np.float32(np.inf), depth)

    def _draw(
        self,
        tint: F64,
        flags: int,
        *,
        base: float = 1.0,
        lamps: Sequence[tuple[F64, F64]] = (),
        ambient: ArrayLike = 1.0,
        shift: tuple[float, float] = (0.0, 0.0),
    ) -> tuple[F32, F32, F32]:
        """One pass: colour (h, w, 3) as the shader wrote it, alpha, depth (h, w) with 0 where empty."""
        gl, axes = self._gl, np.array([1.0, -1.0, -1.0])  # OpenGL: y up, looking along -z
        rgba = np.ones((len(tint), 4), np.float32)
        rgba[:, :3] = tint
        material = gl.MetallicRoughnessMaterial(
            baseColorFactor=[base, base, base, 1.0], metallicFactor=0.0, roughnessFactor=1.0
        )
        mesh = gl.Primitive(
            positions=self._xyz * axes, normals=vertex_normals(self._xyz, self._tri) * axes,
            color_0=rgba, indices=self._tri, material=material,
        )  # fmt: skip
        scene = gl.Scene(bg_color=[0.0] * 4, ambient_light=np.broadcast_to(ambient, 3).astype(np.float64))
        scene.add(gl.Mesh([mesh]))
        scene.add(_gl_camera(gl, self._camera.K, self._scale, shift, self._far), pose=np.eye(4))
        for towards, intensity in lamps:
            peak = float(intensity.max()) or 1.0
            color = np.broadcast_to(intensity / peak, 3).astype(np.float64)
            scene.add(gl.DirectionalLight(color, peak / _DIFFUSE), pose=_facing(towards * axes))
        self._canvas.viewport_height, self._canvas.viewport_width = self._size
        seen, depth = self._canvas.render(scene, flags)
        # The resolved colour is mixed with the empty samples' black.
        alpha = seen[..., 3].astype(np.float32) / np.float32(255)
        mixed = np.maximum(seen[..., 3:], 1).astype(np.float32)
        return np.minimum(seen[..., :3] / mixed, np.float32(1)), alpha, depth


def _gl_camera(gl: Any, K: F64, scale: int, shift: tuple[float, float], far: float) -> Any:
    """pyrender camera for `scale` samples per pixel and axis, its image moved by `shift` samples."""

    class SkewedCamera(gl.IntrinsicsCamera):
        def get_projection_matrix(self, width: int, height: int) -> F64:
            P: F64 = super().get_projection_matrix(width, height)
            P[0, 1] = -2.0 * K[0, 1] * scale / width
            return P

    # OpenGL counts from the image's edge: the centre of pixel 0 lies at 0.5.
    cx, cy = (K[:2, 2] + 0.5) * scale + shift
    return SkewedCamera(K[0, 0] * scale, K[1, 1] * scale, cx, cy, znear=NEAR_M, zfar=far)


def _facing(towards: F64) -> F64:
    """(4, 4) pose whose +z axis is `towards`; pyrender's lamps shine along -z."""
    z = towards / np.linalg.norm(towards)
    x = np.cross([0.0, 1.0, 0.0] if abs(z[1]) < 0.9 else [1.0, 0.0, 0.0], z)
    x /= np.linalg.norm(x)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1)
    return pose


def _start() -> _Backend:
    """Load pyrender, open a context, and let it draw two planes of known depth.

    Failures have many faces (ImportError without EGL, AttributeError without libGL, pyglet's
    NoSuchDisplayException, driver errors at the first picture), so all are caught.
    """
    os.environ.setdefault("PYOPENGL_PLATFORM", "egl")
    os.environ.setdefault("PYGLET_HEADLESS", "1")  # or pyglet looks for an X display
    canvas: Any = None
    try:
        import pyrender  # type: ignore[import-not-found, import-untyped, unused-ignore]

        canvas = pyrender.OffscreenRenderer(_PROBE, _PROBE)
        return _Backend(pyrender, canvas, _depth_sample(_Backend(pyrender, canvas, (0.0, 0.0))))
    except Exception as error:
        with contextlib.suppress(Exception):
            canvas.delete()
        raise MissingExtraError(
            f"OpenGL off screen is needed here and does not work ({type(error).__name__}: {error}). Install "
            "pip install 'eventhpe[gl]' and, on Debian or Ubuntu, apt-get install libegl1 libgl1; "
            f"PYOPENGL_PLATFORM is {os.environ['PYOPENGL_PLATFORM']!r}. raster.rasterize needs none of this."
        ) from error


_PROBE = 16  # pixels, side of the probe's image


def _depth_sample(backend: _Backend) -> tuple[float, float]:
    """Where in a pixel depth is sampled, from planes whose 1/z grows by a known amount per pixel."""
    camera = Camera.from_focal(float(_PROBE), (_PROBE, _PROBE))
    rows, cols = np.mgrid[:_PROBE, :_PROBE]
    corners = np.array([[-8.0, -8.0], [-8.0, 24.0], [24.0, 24.0], [24.0, -8.0]])
    found = []
    for axis, at in ((0, cols), (1, rows)):
        inverse = 0.6 + 0.02 * corners[:, axis]
        rays = np.column_stack([(corners - camera.K[:2, 2]) / _PROBE, np.ones(4)])
        tri = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
        depth = _Scene(backend, rays / inverse[:, None], tri, camera, 1, False).depth()
        offset = (1 / depth.astype(np.float64) - 0.6) / 0.02 - at
        if not (np.isfinite(offset).all() and np.ptp(offset) < 0.05 and abs(offset.mean()) < 0.51):
            raise RuntimeError(
                f"a plane drawn as a test has the wrong depth, off by up to {np.ptp(offset)} px"
            )
        found.append(float(offset.mean()))
    return found[0], found[1]


def _per_pixel(samples: F32, supersample: int) -> F32:
    """(H * S, W * S, ...) samples as (H, W, ..., S * S)."""
    S = supersample
    H, W = samples.shape[0] // S, samples.shape[1] // S
    blocks = samples.reshape(H, S, W, S, *samples.shape[2:])
    return np.moveaxis(blocks, (1, 3), (-2, -1)).reshape(H, W, *samples.shape[2:], S * S)


def _checked_mesh(vertices: ArrayLike, faces: ArrayLike) -> tuple[F64, NDArray[np.int32]]:
    xyz, tri = np.asarray(vertices, np.float64), np.asarray(faces)
    if xyz.ndim != 2 or xyz.shape[1] != 3:
        raise ShapeError(f"vertices must be (V, 3); got {xyz.shape}. Several bodies: concatenate them.")
    if tri.ndim != 2 or tri.shape[1] != 3 or tri.dtype.kind not in "iu":
        raise ShapeError(f"faces must be (F, 3) integers; got {tri.shape} {tri.dtype}.")
    if tri.size and (int(tri.min()) < 0 or int(tri.max()) >= len(xyz)):
        raise ShapeError(f"faces point to vertices {tri.min()}..{tri.max()}, but there are {len(xyz)}.")
    if not np.isfinite(xyz).all():
        raise UnitError("vertices hold values that are not finite; check the pose they come from.")
    return xyz, np.ascontiguousarray(tri, np.int32)


def _checked_color(color: ArrayLike, num_vertices: int) -> F64:
    tint = np.asarray(color, np.float64)
    if tint.ndim < 2:
        tint = np.broadcast_to(tint, (num_vertices,))[:, None] if tint.ndim == 0 else tint[:, None]
    if tint.ndim != 2 or len(tint) != num_vertices or tint.shape[1] not in (1, 3):
        raise ShapeError(
            f"color must be (V,), (V, 1) or (V, 3) with V = {num_vertices}; got {np.shape(color)}."
        )
    if tint.size and not (np.isfinite(tint).all() and tint.min() >= 0):
        raise UnitError("color must be finite and not negative.")
    return tint


def _checked_lights(
    lights: Sequence[Light], ambient: float | Sequence[float], channels: int
) -> tuple[list[tuple[F64, F64]], F64]:
    if len(lights) > MAX_LIGHTS:
        raise ShapeError(f"OpenGL lights a picture with at most {MAX_LIGHTS} lamps; got {len(lights)}.")
    try:
        base = np.array(np.broadcast_to(ambient, (channels,)), np.float64)
        lamps = [
            (
                np.asarray(lamp.direction, np.float64),
                np.array(np.broadcast_to(lamp.intensity, channels), float),
            )
            for lamp in lights
        ]
    except ValueError:
        raise ShapeError(
            f"intensities must be one number or {channels}, like the color's channels."
        ) from None
    if not (np.isfinite(base).all() and base.min() >= 0):
        raise UnitError(f"ambient must not be negative; got {ambient}.")
    return lamps, base
