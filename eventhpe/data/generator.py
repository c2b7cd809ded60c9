"""The event-human generator: body + rasteriser + event simulator = a labelled recording."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from eventhpe.body.default import open_body, open_body_arrays
from eventhpe.body.motion import move_params
from eventhpe.body.params import BodyParams
from eventhpe.body.posing import BodyPoser
from eventhpe.data.labels import Labels, write_labels
from eventhpe.data.motions import MotionDraw, draw_movement, list_clips, load_clip, place_motion
from eventhpe.data.scene import Scene, SceneRanges, draw_scene
from eventhpe.errors import ShapeError
from eventhpe.events.simulate import EventSimulator
from eventhpe.events.store_writer import StoreWriter
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.rotation import interpolate_rotvec
from eventhpe.render.raster import mesh_flow, rasterize
from eventhpe.render.shading import Light, shade, vertex_normals


@dataclass(frozen=True)
class GeneratorConfig:
    """How recordings are generated."""

    duration_s: float = 4.0
    """Length of one recording."""
    label_step_us: int = 10_000
    """Spacing of the labels."""
    frame_step_us: int = 50_000
    """Spacing of gray frames, person masks and flow windows; a multiple of label_step_us."""
    max_motion_px: float = 0.75
    """Largest motion of any joint between two rendered images; the render rate adapts to it."""
    max_fps: float = 1000.0
    """Upper limit of the render rate."""
    min_fps: float = 100.0
    """Lower limit of the render rate."""
    supersample: int = 2
    """Samples per pixel side."""
    speed: tuple[float, float] = (0.6, 1.5)
    """Playing speed of motion-capture clips."""
    procedural_share: float = 0.3
    """Share of procedural movements when motion-capture clips are at hand."""
    flow_labels: bool = True
    """Store dense flow for every frame interval."""
    ranges: SceneRanges = field(default_factory=SceneRanges)
    """Ranges of the scene's random factors."""

    def __post_init__(self) -> None:
        for name in ("duration_s", "label_step_us", "frame_step_us", "max_motion_px", "max_fps", "min_fps"):
            if getattr(self, name) <= 0:
                raise ShapeError(f"GeneratorConfig.{name} must be positive; got {getattr(self, name)}.")
        if self.min_fps > self.max_fps:
            raise ShapeError(f"GeneratorConfig.min_fps {self.min_fps} is above max_fps {self.max_fps}.")
        if not 0 < self.speed[0] <= self.speed[1]:
            raise ShapeError(f"GeneratorConfig.speed must be (low, high), positive; got {self.speed}.")
        if not 0 <= self.procedural_share <= 1:
            raise ShapeError(
                f"GeneratorConfig.procedural_share must lie in [0, 1]; got {self.procedural_share}."
            )
        if self.duration_s * 1e6 < self.label_step_us:
            raise ShapeError(
                f"GeneratorConfig.duration_s ({self.duration_s}) must hold at least one label step "
                f"({self.label_step_us} us)."
            )
        if self.frame_step_us % self.label_step_us:
            raise ShapeError(
                f"GeneratorConfig.frame_step_us ({self.frame_step_us}) must be a multiple of "
                f"label_step_us ({self.label_step_us})."
            )
        if not 1 <= self.supersample <= 4:
            raise ShapeError(f"GeneratorConfig.supersample must be 1 to 4; got {self.supersample}.")


class Generator:
    """Makes labelled recordings, one per (seed, index): equal arguments give equal bytes.

    Args:
        config: how recordings are made.
        motions: folder with BVH clips, or None for procedural movements only. Clips of held-out subjects are
            never drawn.
    """

    def __init__(self, config: GeneratorConfig, *, motions: Path | None = None) -> None:
        self.config = config
        self.clips = list_clips(motions, held_out=False) if motions is not None else []
        self.body = open_body()
        arrays = open_body_arrays()
        self._poser = BodyPoser(self.body)
        self._rest_vertices = np.asarray(arrays["v_template"], np.float64)
        self._region_weights = np.eye(len(arrays["region_names"]))[np.asarray(arrays["region"], int)]
        self._faces = np.ascontiguousarray(self.body.faces, np.int32)

    def rest_joints(self, betas: NDArray[np.float64]) -> NDArray[np.float64]:
        """(24, 3) rest joints of the body with these betas, metres."""
        import torch

        with torch.no_grad():
            return self.body.rest_joints(torch.tensor(betas, dtype=torch.float32)).double().numpy()

    def make(
        self,
        output: Path,
        *,
        seed: int,
        index: int = 0,
        clip: Path | None = None,
        movement: str | None = None,
        speed: float = 0.0,
    ) -> None:
        """Generate one recording.

        Args:
            output: file to write (atomically).
            seed, index: choose the scene; every clip of a set has its own index.
            clip: use this BVH clip instead of a random motion.
            movement: use this procedural movement instead of a random motion.
            speed: playing speed of the clip; 0 draws it.
        """
        config = self.config
        rng = np.random.default_rng([seed, index])
        scene = draw_scene(
            rng, config.ranges, rest_vertices=self._rest_vertices, region_weights=self._region_weights
        )
        rest = self.rest_joints(scene.betas)
        motion, drawn_speed = self._draw_motion(rng, clip, movement, rest, scene.betas)
        world = place_motion(
            motion,
            rng=rng if clip is None else None,
            duration_s=config.duration_s,
            step_s=config.label_step_us * 1e-6,
            heading_rad=scene.heading_rad,
            mirrored=scene.mirrored,
            rest_pelvis=rest[0],
            speed=speed or drawn_speed,
        )
        camera = scene.camera
        params = move_params(world, camera.R_world_to_cam, camera.t_world_to_cam, rest[0], frame="camera")
        params, camera = _keep_in_front(params, camera)
        labels = self._labels(params, camera)
        provenance: dict[str, Any] = {
            "generator": "eventhpe simulate",
            "seed": seed,
            "index": index,
            "motion": motion.source,
            "config": asdict(config),
            "sensor_model": asdict(scene.sensor),
        }
        length = int(labels.t_us[-1])
        with StoreWriter(output, camera.size, provenance=provenance, duration_us=length) as writer:
            self._simulate(writer, scene, labels, seed=int(rng.integers(2**31)))
            group = write_labels(writer.file, labels)
            self._dense_labels(group, labels)

    def _draw_motion(
        self,
        rng: np.random.Generator,
        clip: Path | None,
        movement: str | None,
        rest: NDArray[np.float64],
        betas: NDArray[np.float64],
    ) -> tuple[MotionDraw, float]:
        speed = float(np.exp(rng.uniform(*np.log(self.config.speed))))
        if clip is not None:
            return load_clip(clip, rest, betas), speed
        if movement is None and self.clips and rng.random() >= self.config.procedural_share:
            return load_clip(self.clips[int(rng.integers(len(self.clips)))], rest, betas), speed
        return draw_movement(rng, self.config.duration_s + 1.0, rest, betas, name=movement), 1.0

    def _labels(self, params: BodyParams, camera: Camera) -> Labels:
        joints = np.stack(
            [
                self._poser.joints(params.betas[k], params.pose[k], params.transl[k])
                for k in range(len(params.transl))
            ]
        )
        step = self.config.label_step_us
        return Labels(
            t_us=np.arange(len(joints), dtype=np.int64) * step,
            params=params,
            joints3d=joints.astype(np.float32),
            joints2d=camera.project(joints).astype(np.float32),
            camera=camera,
        )

    def render_times(self, labels: Labels) -> NDArray[np.int64]:
        """(F,) render times in µs such that no joint moves more than `max_motion_px` between two of them."""
        motion = np.linalg.norm(np.diff(labels.joints2d, axis=0), axis=-1)
        # A limb's surface moves somewhat faster than its joints.
        fastest = 1.2 * np.nan_to_num(motion, nan=0.0).max(axis=1)
        per_step = self.config.label_step_us * 1e-6
        limits = np.ceil(per_step * self.config.min_fps), np.floor(per_step * self.config.max_fps)
        counts = np.clip(
            np.ceil(fastest / self.config.max_motion_px), max(1, limits[0]), max(1, limits[1])
        ).astype(int)
        pieces = [labels.t_us[k] + np.arange(n) * labels.step_us // n for k, n in enumerate(counts)]
        return np.concatenate([*pieces, labels.t_us[-1:]]).astype(np.int64)

    def _simulate(self, writer: StoreWriter, scene: Scene, labels: Labels, *, seed: int) -> None:
        times = self.render_times(labels)
        pose = interpolate_rotvec(times, labels.t_us, labels.params.pose)
        transl = np.stack(
            [np.interp(times, labels.t_us, labels.params.transl[:, i]) for i in range(3)], axis=-1
        )
        simulator = EventSimulator(labels.camera.size, scene.sensor, seed=seed)
        for k, t_us in enumerate(times):
            image = self._render(scene, labels.camera, labels.params.betas[0], pose[k], transl[k])
            writer.append(simulator.feed(image, int(t_us)))
            if t_us % self.config.frame_step_us == 0:
                writer.append_frame(int(t_us), np.rint(np.clip(image, 0, 255)).astype(np.uint8))

    def _render(
        self,
        scene: Scene,
        camera: Camera,
        betas: NDArray[np.float64],
        pose: NDArray[np.float64],
        transl: NDArray[np.float64],
    ) -> NDArray[np.float32]:
        vertices = self._poser.vertices(betas, pose, transl)
        normals = vertex_normals(vertices, self._faces)
        lit = shade(
            vertices,
            self._faces,
            normals,
            scene.albedo,
            [Light(direction=tuple(scene.light_dir), intensity=1.0 - scene.ambient)],
            scene.ambient,
        )
        frame = rasterize(
            vertices,
            self._faces,
            camera,
            attributes=np.ascontiguousarray(lit[:, None] * np.float32(scene.exposure_dn), np.float32),
            supersample=self.config.supersample,
            cull=True,
        )
        cover = frame.coverage
        return (cover * frame.attributes[..., 0] + (1 - cover) * scene.background).astype(np.float32)

    def _vertices(self, labels: Labels, k: int) -> NDArray[np.float32]:
        p = labels.params
        return self._poser.vertices(p.betas[k], p.pose[k], p.transl[k])

    def _dense_labels(self, group: h5py.Group, labels: Labels) -> None:
        h, w = labels.camera.size
        stride = self.config.frame_step_us // labels.step_us
        ks = list(range(0, len(labels.t_us), stride))
        group["mask_t_us"] = labels.t_us[ks]
        masks = group.create_dataset(
            "mask", (len(ks), h, w), "u1", chunks=(1, h, w), compression="gzip", shuffle=True
        )
        before = self._vertices(labels, ks[0])
        flow: h5py.Group | None = None
        if self.config.flow_labels and len(ks) > 1:
            flow = group.create_group("flow")
            n = len(ks) - 1
            flow["t0_us"], flow["t1_us"] = labels.t_us[ks[:-1]], labels.t_us[ks[1:]]
            flow.create_dataset(
                "uv", (n, 2, h, w), "f2", chunks=(1, 2, h, w), compression="gzip", shuffle=True
            )
            flow.create_dataset("valid", (n, h, w), "u1", chunks=(1, h, w), compression="gzip", shuffle=True)
        for i, k in enumerate(ks):
            masks[i] = rasterize(before, self._faces, labels.camera).coverage > 0.5
            if i + 1 == len(ks):
                break
            after = self._vertices(labels, ks[i + 1])
            if flow is not None:
                field_ = mesh_flow(
                    before,
                    after,
                    self._faces,
                    labels.camera,
                    int(labels.t_us[k]),
                    int(labels.t_us[ks[i + 1]]),
                )
                flow["uv"][i], flow["valid"][i] = field_.uv.astype(np.float16), field_.valid
            before = after


def _keep_in_front(params: BodyParams, camera: Camera, nearest_m: float = 1.0) -> tuple[BodyParams, Camera]:
    """Move the camera back when the person would come nearer than `nearest_m`."""
    short = nearest_m - float(params.transl[:, 2].min())
    if short <= 0:
        return params, camera
    back = np.array([0.0, 0.0, short])
    camera = replace(camera, t_world_to_cam=camera.t_world_to_cam + back)
    return replace(params, transl=params.transl + back), camera
