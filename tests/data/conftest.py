"""Tiny recordings made once for all tests of the data room, and motion clips written on the spot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eventhpe.body.default import open_body_arrays
from eventhpe.data.generator import Choice, Generator, GeneratorConfig
from eventhpe.data.motion_style import StyleRanges
from eventhpe.data.plan import Job, make_recording
from eventhpe.data.scene import Scene
from eventhpe.data.scene_ranges import SceneRanges
from eventhpe.events.simulate import SensorModel
from tests.data.staging import camera_at, performer, record, shaking, stage

STILL = {"shake_share": 0.0, "distractor_share": 0.0, "flicker_share": 0.0, "distorted_share": 0.0}
"""Nothing but the person moves, seen through a plain lens."""

TINY = GeneratorConfig(
    duration_s=0.3,
    supersample=1,
    ranges=SceneRanges(sensor_sizes=((64, 64),), shot_hz=(0.01, 0.2), **STILL),  # type: ignore[arg-type]
    style=StyleRanges(pause_share=0.0, speed=(0.8, 1.5)),
)
"""Six windows of 50 ms on 64 x 64 pixels."""

SEED = 5
MOVEMENTS = ("jumping_jack", "arm_circles", "walk_in_place")
"""Of the three recordings: all of them move in every window, whatever else is drawn."""

_BONES = (
    ("Hips", None, (0, 0, 0)),
    *((f"{s}UpLeg", "Hips", (x * 3, -6, 0)) for s, x in (("Left", 3), ("Right", -3))),
    *((f"{s}Leg", f"{s}UpLeg", (x * 4, -38, 0)) for s, x in (("Left", 3), ("Right", -3))),
    *((f"{s}Foot", f"{s}Leg", (x * 4, -38, 0)) for s, x in (("Left", 3), ("Right", -3))),
    *((f"{s}ToeBase", f"{s}Foot", (0, -6, 13)) for s in ("Left", "Right")),
    ("LowerBack", "Hips", (0, 5, 0)),
    ("Spine", "LowerBack", (0, 11, 0)),
    ("Spine1", "Spine", (0, 11, 0)),
    ("Neck1", "Spine1", (0, 15, 0)),
    ("Head", "Neck1", (0, 9, 0)),
    *((f"{s}Shoulder", "Spine1", (x * 2, 10, 0)) for s, x in (("Left", 3), ("Right", -3))),
    *((f"{s}Arm", f"{s}Shoulder", (x * 4, 0, 0)) for s, x in (("Left", 3), ("Right", -3))),
    *((f"{s}ForeArm", f"{s}Arm", (x * 9, 0, 0)) for s, x in (("Left", 3), ("Right", -3))),
    *((f"{s}Hand", f"{s}ForeArm", (x * 8, 0, 0)) for s, x in (("Left", 3), ("Right", -3))),
)
"""(joint, parent, offset in cm) of a person with the joint names of the CMU clips."""


def bvh_text(frames: int = 40, frame_time_s: float = 1 / 60) -> str:
    """A person who swings the arms and turns a little."""
    lines, order = ["HIERARCHY"], []

    def joint(name: str, offset: tuple[float, ...], root: bool) -> None:
        order.append(name)
        lines.extend([f"{'ROOT' if root else 'JOINT'} {name}", "{", "OFFSET " + " ".join(map(str, offset))])
        place = "6 Xposition Yposition Zposition " if root else "3 "
        lines.append(f"CHANNELS {place}Zrotation Yrotation Xrotation")
        children = [(n, o) for n, p, o in _BONES if p == name]
        for child, child_offset in children:
            joint(child, child_offset, False)
        if not children:
            lines.extend(["End Site", "{", "OFFSET 0 0 5", "}"])
        lines.append("}")

    joint("Hips", (0, 0, 0), True)
    lines += ["MOTION", f"Frames: {frames}", f"Frame Time: {frame_time_s:.6f}"]
    for k in range(frames):
        values = [0.3 * k, 95.0, 0.2 * k]
        for name in order:
            swing = {"LeftArm": -60.0, "RightArm": 60.0}.get(name, 0.0) * np.sin(0.1 * k)
            values += [swing, 0.5 * k if name == "Hips" else 0.0, 0.0]
        lines.append(" ".join(f"{v:.4f}" for v in values))
    return "\n".join(lines) + "\n"


def tiny_job(folder: Path, k: int) -> Job:
    """The job of recording k of `recordings`."""
    return Job(folder / f"{k:05d}.h5", TINY, SEED, k, choice=Choice(movement=MOVEMENTS[k]))


@pytest.fixture(scope="session")
def write_bvh() -> Callable[..., Path]:
    """Write a clip of a moving person with the joint names of CMU."""

    def write(path: Path, **options: Any) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(bvh_text(**options))
        return path

    return write


@pytest.fixture(scope="session")
def tiny_config() -> GeneratorConfig:
    return TINY


@pytest.fixture(scope="session", name="tiny_job")
def _tiny_job() -> Callable[[Path, int], Job]:
    return tiny_job


@pytest.fixture(scope="session")
def generator() -> Generator:
    return Generator(TINY)


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with three recordings with flow labels."""
    folder = tmp_path_factory.mktemp("recordings")
    for k in range(3):
        make_recording(tiny_job(folder, k))
    return folder


@pytest.fixture(scope="session")
def jacks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A jumping jack on 128 x 128 pixels seen from the front: large motion, every limb visible."""
    ranges = SceneRanges(
        sensor_sizes=((128, 128),), facing_share=1.0, facing_deg=(-20.0, 20.0), body_fraction=(0.6, 0.65),
        **STILL,  # type: ignore[arg-type]
    )  # fmt: skip
    path = tmp_path_factory.mktemp("jacks") / "jacks.h5"
    style = StyleRanges(speed=(1.0, 1.0), pause_share=0.0)
    config = GeneratorConfig(duration_s=0.4, supersample=1, ranges=ranges, style=style)
    Generator(config).make(path, seed=3, choice=Choice(movement="jumping_jack"))
    return path


@pytest.fixture(scope="session")
def duo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Scene]:
    """Two people, one of them in loose clothes, before a shaking camera with a slow, bunched read-out."""
    offsets = np.linspace(0.0, 0.02, len(open_body_arrays()["v_template"])).astype(np.float32)
    people = [
        performer("jumping_jack", 0.2, speed=2.0),
        replace(performer("punch", 0.2, speed=2.0, place=(0.5, 0.0, -0.7), seed=2), offsets=offsets),
    ]
    sensor = SensorModel(
        threshold_on=0.2, threshold_off=0.25, leak_hz=0.2, shot_hz=1.0, readout_mev_per_s=1.0,
        timestamp_step_us=90,
    )  # fmt: skip
    scene = stage(
        people, camera=camera_at(focal=105.0), shake=shaking(21, size_rad=0.02), sensor=sensor, shadow=0.4,
        gray_exposure_us=3_000,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("duo") / "duo.h5"
    return record(scene, path, flow=True, depth=True), scene
