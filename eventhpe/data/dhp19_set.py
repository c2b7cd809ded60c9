"""A mini data set in DHP19's format: our people, its movements, cameras and files.

Recording k is movement 1 + (k // 2) % 33 of a pair of subjects, the training subject first, then the test
subject, so that a few recordings already hold both splits: pairs (1, 13), (2, 14) ... (5, 17), then subjects
6 to 12 alone.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from eventhpe.body.default import open_body_arrays
from eventhpe.body.dhp19_movements import DHP19_MOVEMENTS, perform_dhp19
from eventhpe.body.loose_clothes import draw_loose_offsets
from eventhpe.body.wardrobe import draw_outfit, draw_wardrobe
from eventhpe.data import scene_draws as draws
from eventhpe.data.cast import rest_joints
from eventhpe.data.dhp19 import MOVEMENTS_PER_SESSION, DHP19Movement
from eventhpe.data.dhp19_cameras import CHANNEL_TO_CAMERA, DHP19_SIZE, dhp19_camera
from eventhpe.data.dhp19_export import MARKER_STEP_US, export_dhp19
from eventhpe.data.generator import Generator
from eventhpe.data.labels import read_labels
from eventhpe.data.motions import MotionDraw, place_motion
from eventhpe.data.record_scene import record_scene
from eventhpe.data.scene import Person, Scene
from eventhpe.errors import FormatError

PAIRS = ((1, 13), (2, 14), (3, 15), (4, 16), (5, 17))
ALONE = (6, 7, 8, 9, 10, 11, 12)
NUM_MOVEMENTS = sum(MOVEMENTS_PER_SESSION)
MOTION_FPS = 100.0


def movement_of(k: int) -> tuple[int, int, int]:
    """(subject, session, movement) of recording k.

    Raises:
        FormatError: DHP19 has 17 subjects with 33 movements each, no more.
    """
    paired = len(PAIRS) * 2 * NUM_MOVEMENTS
    if k < paired:
        pair, rest = divmod(k, 2 * NUM_MOVEMENTS)
        subject, number = PAIRS[pair][rest % 2], rest // 2
    else:
        alone, number = divmod(k - paired, NUM_MOVEMENTS)
        if alone >= len(ALONE):
            raise FormatError(f"--n: DHP19 has {17 * NUM_MOVEMENTS} recordings; {k + 1} were asked for.")
        subject = ALONE[alone]
    named = DHP19_MOVEMENTS[number]
    return subject, named.session, named.movement


def paths_of(root: Path, which: tuple[int, int, int]) -> DHP19Movement:
    """Where a movement's files lie under the root."""
    subject, session, movement = which
    return DHP19Movement(
        *which,
        root / "DVS_movies" / f"S{subject}" / f"session{session}" / f"mov{movement}.aedat",
        root / "Vicon_data" / f"S{subject}_{session}_{movement}.mat",
    )


def make_movement(root: Path, generator: Generator, seed: int, k: int) -> list[Path]:
    """Simulate recording k with DHP19's four cameras and write it in DHP19's format.

    A subject keeps body and clothes over all movements; light and background are those of the recording.

    Returns:
        The four recordings in our own format, with all labels, kept under `recordings/`.
    """
    config = generator.config
    if config.label_step_us != MARKER_STEP_US:
        raise FormatError(
            f"GeneratorConfig.label_step_us must be {MARKER_STEP_US} for DHP19's markers at 100 Hz; "
            f"got {config.label_step_us}."
        )
    subject, session, movement = movement_of(k)
    who = np.random.default_rng([seed, 19, subject])
    arrays, betas = open_body_arrays(), draws.draw_betas(who)
    outfit = draw_outfit(who, config.wardrobe)
    albedo = draw_wardrobe(who, config.wardrobe, arrays, outfit)
    offsets = draw_loose_offsets(who, config.wardrobe, arrays, outfit)

    rng = np.random.default_rng([seed, subject, session, movement])
    rest = rest_joints(betas)
    motion = perform_dhp19(
        session, movement, duration_s=config.duration_s + 0.5, fps=MOTION_FPS, rng=rng, rest_joints=rest,
        amplitude=float(rng.uniform(0.8, 1.1)), tempo=float(rng.uniform(0.8, 1.25)),
    )  # fmt: skip
    source = f"dhp19:S{subject}_{session}_{movement}"
    motion = replace(motion, betas=np.broadcast_to(betas, motion.betas.shape))
    world = place_motion(
        MotionDraw(motion, MOTION_FPS, source), rng=None, duration_s=config.duration_s,
        step_s=config.label_step_us * 1e-6, heading_rad=draws.draw_heading(rng, config.ranges),
        mirrored=False, rest_pelvis=rest[0],
    )  # fmt: skip
    lights, ambient = draws.draw_lights(rng, config.ranges)
    exposure = draws.log_uniform(rng, config.ranges.exposure_dn)
    flicker = draws.draw_flicker(rng, config.ranges)
    shaded = rng.random() < config.ranges.shadow_share
    shadow = draws.uniform(rng, config.ranges.shadow) if shaded else 0.0
    sensor = draws.draw_sensor(rng, config.ranges, DHP19_SIZE[0])  # four cameras of one make
    recordings = {}
    for channel in sorted(CHANNEL_TO_CAMERA):
        camera = dhp19_camera(channel)
        background, behind = draws.draw_background(
            rng, config.ranges, camera, exposure_dn=exposure, shake=None,
            duration_us=round(config.duration_s * 1e6),
        )  # fmt: skip
        scene = Scene(
            people=(Person(world, source, albedo, offsets),),
            step_us=config.label_step_us,
            camera=camera,
            background=background,
            lights=lights,
            ambient=ambient,
            exposure_dn=exposure,
            sensor=sensor,
            shadow=shadow,
            flicker=flicker,
            gray_exposure_us=int(draws.uniform(rng, config.ranges.gray_exposure_us)),
            factors={"camera": f"dhp19 channel {channel}", **behind},
        )
        path = root / "recordings" / f"S{subject}_{session}_{movement}_ch{channel}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        told = {
            "generator": "eventhpe simulate --preset dhp19",
            "seed": seed,
            "index": k,
            "config": asdict(config),
        }
        record_scene(
            scene, path, settings=config.settings, seed=int(rng.integers(2**31)), provenance=told,
            flow=config.flow_labels, depth=config.depth_labels,
        )  # fmt: skip
        recordings[channel] = path
    labels = read_labels(recordings[0])
    assert labels.markers3d is not None
    export_dhp19(
        root, subject=subject, session=session, movement=movement, recordings=recordings,
        markers=labels.to_world(labels.markers3d), specials=(2, 3)[int(rng.integers(2))],
        t_start_us=int(rng.integers(140_000_000, 900_000_000)), overwrite=True,
    )  # fmt: skip
    return list(recordings.values())
