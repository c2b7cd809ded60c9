"""The event-human generator: draws a scene for every (seed, index) and records it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eventhpe.body.default import open_body_arrays
from eventhpe.body.loose_clothes import draw_loose_offsets
from eventhpe.body.params import BodyParams
from eventhpe.body.wardrobe import WardrobeRanges, draw_outfit, draw_wardrobe
from eventhpe.data import scene_draws as draws
from eventhpe.data.cast import rest_joints
from eventhpe.data.motion_library import MotionLibrary
from eventhpe.data.motion_play import play
from eventhpe.data.motion_split import MotionFile
from eventhpe.data.motion_style import StyleRanges, draw_style
from eventhpe.data.motions import place_motion
from eventhpe.data.record_scene import record_scene
from eventhpe.data.scene import Person, Scene
from eventhpe.data.scene_ranges import SceneRanges
from eventhpe.data.simulation import RenderSettings
from eventhpe.errors import ShapeError
from eventhpe.geometry.camera import Camera

NEAREST_M = 0.9
"""Nobody comes nearer to the camera plane than this; the camera moves back instead."""


@dataclass(frozen=True)
class GeneratorConfig:
    """How recordings are generated."""

    duration_s: float = 4.0
    """Length of one recording."""
    label_step_us: int = 10_000
    """Spacing of the labels."""
    frame_step_us: int = 50_000
    """Spacing of gray frames, person masks and flow windows; a multiple of label_step_us."""
    max_motion_px: float = 0.5
    """Nothing moves farther than this between two rendered images; the render rate adapts to it."""
    min_fps: float = 100.0
    """Lower limit of the render rate."""
    max_fps: float = 8000.0
    """Upper limit of the render rate; where it binds, max_motion_px does not hold."""
    supersample: int = 2
    """Samples per pixel side."""
    procedural_share: float = 0.3
    """Share of procedural movements when motion-capture clips are at hand."""
    flow_labels: bool = True
    """Store dense flow for every frame interval."""
    depth_labels: bool = False
    """Store the depth of the people at every gray frame."""
    ranges: SceneRanges = field(default_factory=SceneRanges)
    """Ranges of the scene's random factors."""
    style: StyleRanges = field(default_factory=StyleRanges)
    """Ranges of how motions are played: speed, pauses, blends."""
    wardrobe: WardrobeRanges = field(default_factory=WardrobeRanges)
    """Ranges of clothes, tones, patterns and looseness."""

    def __post_init__(self) -> None:
        for name in ("duration_s", "label_step_us", "frame_step_us", "max_motion_px", "max_fps", "min_fps"):
            if not 0 < getattr(self, name) < np.inf:
                raise ShapeError(
                    f"GeneratorConfig.{name} must be positive and finite; got {getattr(self, name)}."
                )
        if self.min_fps > self.max_fps:
            raise ShapeError(f"GeneratorConfig.min_fps {self.min_fps} is above max_fps {self.max_fps}.")
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
        if not self.ranges.gray_exposure_us[1] < self.frame_step_us:
            raise ShapeError(
                f"SceneRanges.gray_exposure_us {self.ranges.gray_exposure_us} must stay below "
                f"GeneratorConfig.frame_step_us ({self.frame_step_us})."
            )
        if not 1 <= self.supersample <= 4:
            raise ShapeError(f"GeneratorConfig.supersample must be 1 to 4; got {self.supersample}.")

    @property
    def settings(self) -> RenderSettings:
        """What the simulation needs of it."""
        return RenderSettings(
            self.max_motion_px, self.min_fps, self.max_fps, self.supersample, self.frame_step_us
        )


@dataclass(frozen=True)
class Choice:
    """What is fixed instead of drawn.

    Attributes:
        clip: motion clip to perform.
        movement: procedural movement to perform.
        speed: playing speed; 0 = drawn.
        camera: camera in the world; None = drawn.
    """

    clip: Path | None = None
    movement: str | None = None
    speed: float = 0.0
    camera: Camera | None = None


class Generator:
    """Makes labelled recordings, one per (seed, index): equal arguments give equal bytes.

    Args:
        config: how recordings are made.
        library: where motions come from.
    """

    def __init__(self, config: GeneratorConfig, *, library: MotionLibrary | None = None) -> None:
        self.config = config
        self.library = library or MotionLibrary(None)

    def make(self, output: Path, *, seed: int, index: int = 0, choice: Choice | None = None) -> None:
        """Generate one recording.

        Args:
            output: file to write (atomically).
            seed, index: choose the scene; every recording of a set has its own index.
            choice: what is fixed instead of drawn.
        """
        rng = np.random.default_rng([seed, index])
        scene = self.draw_scene(rng, choice or Choice())
        record_scene(
            scene,
            output,
            settings=self.config.settings,
            seed=int(rng.integers(2**31)),
            provenance={
                "generator": "eventhpe simulate", "seed": seed, "index": index, "config": asdict(self.config)
            },
            flow=self.config.flow_labels,
            depth=self.config.depth_labels,
        )  # fmt: skip

    def draw_scene(self, rng: np.random.Generator, choice: Choice) -> Scene:
        """Draw everything but the sensor's noise."""
        config, ranges = self.config, self.config.ranges
        count = draws.whole(rng, ranges.people)
        places = draws.draw_places(rng, ranges, count)
        if choice.camera is None:
            camera, facts = draws.draw_camera(rng, ranges, width_m=float(np.ptp(places[:, 0])))
        else:
            camera, facts = choice.camera, {"camera": "given", "moved_back_m": 0.0}
        people = tuple(self.draw_person(rng, choice, place=p) for p in places)
        if choice.camera is None:
            drawn, camera = camera, keep_in_front(camera, people)
            facts["moved_back_m"] = float(np.linalg.norm(camera.t_world_to_cam - drawn.t_world_to_cam))
        step, K = config.label_step_us, len(people[0].motion.transl)
        shake, shake_px = draws.draw_shake(rng, ranges, camera, K, step)
        lights, ambient = draws.draw_lights(rng, ranges)
        exposure = draws.log_uniform(rng, ranges.exposure_dn)
        shadow = draws.uniform(rng, ranges.shadow) if rng.random() < ranges.shadow_share else 0.0
        background, behind = draws.draw_background(
            rng, ranges, camera, exposure_dn=exposure, shake=shake, duration_us=(K - 1) * step
        )
        flicker = draws.draw_flicker(rng, ranges)
        return Scene(
            people=people,
            step_us=step,
            camera=camera,
            background=background,
            lights=lights,
            ambient=ambient,
            exposure_dn=exposure,
            sensor=draws.draw_sensor(rng, ranges, camera.size[0]),
            shake=shake,
            shadow=shadow,
            flicker=flicker,
            gray_exposure_us=int(draws.uniform(rng, ranges.gray_exposure_us)),
            factors={
                **facts, **behind, "people": count, "shake_px": shake_px, "lights": len(lights),
                "ambient": ambient, "exposure_dn": exposure, "shadow": shadow,
                "flicker_hz": 0.0 if flicker is None else flicker.hz,
                "flicker_depth": 0.0 if flicker is None else flicker.depth,
            },
        )  # fmt: skip

    def draw_person(self, rng: np.random.Generator, choice: Choice, *, place: NDArray[np.float64]) -> Person:
        """Draw one person at a place (3,) metres on the floor."""
        arrays, betas = open_body_arrays(), draws.draw_betas(rng)
        outfit = draw_outfit(rng, self.config.wardrobe)
        albedo = draw_wardrobe(rng, self.config.wardrobe, arrays, outfit)
        offsets = draw_loose_offsets(rng, self.config.wardrobe, arrays, outfit)
        heading = draws.draw_heading(rng, self.config.ranges)
        motion, source = self.draw_motion(rng, choice, betas, heading)
        transl = motion.transl + place
        motion = BodyParams(
            motion.betas, motion.global_orient, motion.body_pose, transl, motion.model, motion.gender, "world"
        )
        return Person(motion, source, albedo, offsets)

    def draw_motion(
        self, rng: np.random.Generator, choice: Choice, betas: NDArray[np.float64], heading_rad: float
    ) -> tuple[BodyParams, str]:
        """A motion in its drawn style, centred over the origin, and where it comes from."""
        config, rest = self.config, rest_joints(betas)
        step_s = config.label_step_us * 1e-6
        if choice.clip is not None:  # a clip that is asked for is played as it is, from its beginning
            clip = self.library.load(MotionFile(choice.clip, choice.clip.stem, False), rest, betas)
            placed = place_motion(
                clip, rng=None, duration_s=config.duration_s, step_s=step_s, heading_rad=heading_rad,
                mirrored=False, rest_pelvis=rest[0], speed=choice.speed or 1.0,
            )  # fmt: skip
            return placed, clip.source
        ranges = config.style if choice.movement is None else replace(config.style, blend_share=0.0)
        style = draw_style(rng, ranges, duration_s=config.duration_s)
        if choice.speed:
            style = replace(style, speed=choice.speed)
        motions = [
            self.library.draw(
                rng, rest, betas, config.duration_s, speed=style.speed, movement=choice.movement
            )
            for _ in range(style.num_motions)
        ]
        params = play(
            motions, style, rng=rng, duration_s=config.duration_s, step_s=step_s, heading_rad=heading_rad,
            rest_joints=rest,
        )  # fmt: skip
        return params, " > ".join(m.source for m in motions)


def keep_in_front(camera: Camera, people: tuple[Person, ...]) -> Camera:
    """Move the camera back along its axis when somebody would come nearer than NEAREST_M."""
    pelvises = np.concatenate([p.motion.transl + rest_joints(p.motion.betas[0])[0] for p in people])
    nearest = float(camera.to_camera_frame(pelvises)[:, 2].min())
    if nearest >= NEAREST_M:
        return camera
    back = np.array([0.0, 0.0, NEAREST_M - nearest])
    return Camera(camera.K, camera.size, camera.dist, camera.R_world_to_cam, camera.t_world_to_cam + back)
