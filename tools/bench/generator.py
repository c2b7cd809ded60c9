"""How fast is the whole generator: skinning, 2 x 2 supersampled render, emulation, sort; and the emulation
alone?

    python tools/bench/generator.py [--rounds 5]

One thread, CPU time of the process, median over rounds; the settings take turns. The clip is that of the
emulation
bench's targets: a walking person, 346 x 260, still background, 500 images per second, 400 images. Whole =
the loop
that `eventhpe simulate` runs (`data.simulation.simulate`), with textured clothes and a contact shadow where
it says
so, without labels and files. Memory: growth of the resident set while a clip of 10 times the length runs.
"""

from __future__ import annotations

import argparse
import resource
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import simulate as emulation
import timing
from numpy.typing import NDArray

from eventhpe.body.choreography import perform
from eventhpe.body.default import open_body_arrays
from eventhpe.body.wardrobe import WardrobeRanges, draw_wardrobe
from eventhpe.data.cast import Cast, rest_joints
from eventhpe.data.scene import Flicker, Person, Scene
from eventhpe.data.scene_draws import look_at
from eventhpe.data.simulation import RenderSettings, simulate
from eventhpe.events.sensor import SensorModel
from eventhpe.geometry.camera import Camera
from eventhpe.render.background import Background
from eventhpe.render.shading import Light

SIZE, FPS, NUM_IMAGES, LABEL_US = (260, 346), 500, 400, 10_000
SETTINGS = RenderSettings(min_fps=FPS, max_fps=FPS)


@dataclass(frozen=True)
class Whole:
    """One line of the table: a scene, and its target in images per CPU second."""

    name: str
    scene: Scene
    target: float


def walking_scene(
    sensor: SensorModel,
    *,
    num_images: int = NUM_IMAGES,
    textured: bool = True,
    shadow: float = 0.0,
    flicker: Flicker | None = None,
) -> Scene:
    """A person who walks on the spot before a still, textured background."""
    rng = np.random.default_rng(0)
    betas, arrays = np.zeros(10), open_body_arrays()
    K = num_images * 1_000_000 // FPS // LABEL_US + 1
    motion = perform(
        "walk_in_place",
        duration_s=K * LABEL_US * 1e-6,
        fps=1e6 / LABEL_US,
        rng=rng,
        rest_joints=rest_joints(betas),
    )
    albedo = (
        draw_wardrobe(rng, WardrobeRanges(), arrays)
        if textured
        else np.full(len(arrays["v_template"]), 0.4, np.float32)
    )
    eye, target = np.array([0.3, 1.2, 3.2]), np.array([0.0, 0.9, 0.0])
    noise = 60 + 40 * rng.random(SIZE).astype(np.float32)
    return Scene(
        people=(Person(motion, "walk", albedo),),
        step_us=LABEL_US,
        camera=look_at(eye, target, Camera.from_focal(330.0, SIZE)),
        background=Background(noise),
        lights=(Light((0.3, 1.0, 0.8), 0.6),),
        ambient=0.4,
        exposure_dn=200.0,
        sensor=sensor,
        shadow=shadow,
        flicker=flicker,
    )


def settings() -> list[Whole]:
    """The targets' two settings, with and without what the targets do not name."""
    lamp = Flicker(40.0, 0.1)  # so slow that 500 images a second follow it; every image changes everywhere
    noisy, limited = emulation.NOISY, emulation.LIMITED
    return [
        Whole("plain clothes", walking_scene(noisy, textured=False), 500),
        Whole("textured clothes", walking_scene(noisy), 500),
        Whole("textured clothes, contact shadow", walking_scene(noisy, shadow=0.5), 500),
        Whole("the same, bandwidth and flicker", walking_scene(limited, shadow=0.5, flicker=lamp), 250),
    ]


def run(scene: Scene) -> tuple[int, int, timing.Seconds]:
    """Images, events, and what a clip costs."""
    cast = Cast.of_scene(scene)
    images = events = 0

    def whole_clip() -> None:
        nonlocal images, events
        for step in simulate(scene, cast, SETTINGS, seed=0):
            images, events = images + 1, events + len(step.events)

    spent = timing.timed(whole_clip)
    return images - 1, events, spent


def whole_rows(rounds: int) -> list[dict[str, Any]]:
    """Time every setting in turns; one more round, not timed, comes first."""
    runs: dict[str, list[tuple[int, int, timing.Seconds]]] = {}
    wanted = settings()
    for k in range(rounds + 1):
        for line in wanted:
            result = run(line.scene)
            if k:
                runs.setdefault(line.name, []).append(result)
    rows = []
    for line in wanted:
        images, events, _ = runs[line.name][0]
        cpu = statistics.median(spent.cpu for _, _, spent in runs[line.name])
        rows.append(
            {
                "name": line.name,
                "images": images,
                "events_per_image": round(events / images, 1),
                "images_per_cpu_second": round(images / cpu),
                "target": line.target,
                "met": images / cpu >= line.target,
            }
        )
    return rows


def rendered_frames() -> list[NDArray[np.float32]]:
    """The walking clip's images, for the emulation alone."""
    from eventhpe.data import simulation

    scene = walking_scene(emulation.NOISY)
    stage = simulation.Stage(scene, Cast.of_scene(scene), SETTINGS)
    return [image.copy() for _, image, _ in stage.images()]


def memory_growth_mb() -> float:
    """Growth of the largest resident set from a clip to one of ten times its length."""
    run(walking_scene(emulation.NOISY))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run(walking_scene(emulation.NOISY, num_images=10 * NUM_IMAGES))
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=timing.RESULTS / "generator.json")
    options = parser.parse_args()
    rows = whole_rows(options.rounds)
    print(f"{'whole generator, 346 x 260':38s}{'events/image':>14s}{'images/CPU s':>14s}  target")
    for row in rows:
        state = "met" if row["met"] else "MISSED"
        print(
            f"  {row['name']:36s}{row['events_per_image']:14,.0f}{row['images_per_cpu_second']:14,d}"
            f"  {row['target']:.0f}: {state}"
        )
    growth = memory_growth_mb()
    print(f"memory: {growth:+.1f} MB from 0.8 s to 8 s")
    emulated = emulation.emulation_rows(rendered_frames(), step_us=1_000_000 // FPS, rounds=options.rounds)
    print(emulation.show(emulated))
    timing.write_json(
        options.output,
        {
            **timing.report("generator, one thread, CPU time of the process", ["numpy", "numba"]),
            "rounds": options.rounds,
            "whole": rows,
            "memory_growth_mb": round(growth, 1),
            "emulation": {row.setting.name: row.as_dict() for row in emulated},
        },
    )
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
