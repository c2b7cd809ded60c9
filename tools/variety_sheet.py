"""Show what `eventhpe simulate` draws: every factor at both ends of its range, everything else kept equal.

Each row is a factor, each half of it an end: gray frame, 50 ms of events, and the last 5 ms of them as
column over time (downwards). Ends are the outermost of the presets lab and wild. `--table` prints the ranges
as the table of docs/simulate.md instead.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from eventhpe.atomic import PendingFile
from eventhpe.body.default import open_body_arrays
from eventhpe.body.loose_clothes import draw_loose_offsets
from eventhpe.body.wardrobe import WardrobeRanges, draw_outfit, draw_wardrobe
from eventhpe.cli.parse import field_docstrings
from eventhpe.data import scene_draws as draws
from eventhpe.data.cast import Cast, rest_joints
from eventhpe.data.generator import keep_in_front
from eventhpe.data.motion_library import MotionLibrary
from eventhpe.data.motion_play import play
from eventhpe.data.motion_style import MotionStyle
from eventhpe.data.presets import CLEAN, preset_config
from eventhpe.data.scene import Person, Scene
from eventhpe.data.scene_ranges import SceneRanges
from eventhpe.data.simulation import RenderSettings, simulate
from eventhpe.events.types import Events
from eventhpe.render.overlay import event_image
from eventhpe.render.report import encode_png

Image = NDArray[np.uint8]
Changes = Mapping[str, Any]

MOVEMENT = "kick"
STEP_US, WINDOW_US, STRIP_US = 10_000, 50_000, 5_000
PANEL = (130, 104)
"""(H, W) of a picture on the sheet."""

BASE = replace(
    CLEAN, sensor_sizes=((225, 180),), field_of_view_deg=(50.0, 50.0), body_fraction=(0.75, 0.75),
    camera_height_m=(1.4, 1.4), facing_share=1.0, facing_deg=(25.0, 25.0), ambient=(0.4, 0.4),
    empty_share=0.0, background_contrast=(0.15, 0.15), distractor_share=1.0, distractors=(0, 0),
    exposure_dn=(255.0, 255.0), shot_hz=(0.05, 0.05), gray_exposure_us=(1000.0, 1000.0),
)  # fmt: skip
CLOTHES = replace(WardrobeRanges(), pattern_contrast=(0.3, 0.3), tone=(0.5, 0.5), looseness_m=(0.01, 0.01))


@dataclass(frozen=True)
class Look:
    """One scene of the sheet.

    Attributes:
        beta: (number, value) of the first person's only shape coefficient that is not 0.
        ranges, wardrobe: pinned to single values.
        style: how the movement is played.
    """

    beta: tuple[int, float] = (0, 0.0)
    ranges: SceneRanges = BASE
    wardrobe: WardrobeRanges = CLOTHES
    style: MotionStyle = field(default_factory=MotionStyle)

    def changed(self, changes: Changes) -> Look:
        """With other values, named like "ranges.roll_deg"."""
        out = self
        for name, value in changes.items():
            group, _, inner = name.partition(".")
            out = replace(out, **{group: replace(getattr(out, group), **{inner: value}) if inner else value})
        return out


@dataclass(frozen=True)
class Factor:
    """A row of the sheet: what it is, how its ends are called, and what they change."""

    name: str
    labels: tuple[str, str]
    low: Changes
    high: Changes


@dataclass(frozen=True)
class Shot:
    """What the camera gives of a scene: a gray frame, (H, W), and the events of the 50 ms before it."""

    gray: Image
    events: Events

    @property
    def rate(self) -> float:
        """Events per second."""
        return len(self.events) / WINDOW_US * 1e6


def ends(name: str) -> tuple[float, float]:
    """Outermost values of a range in lab and wild; `name` as in a settings file."""
    group, _, inner = name.partition(".")
    both = [getattr(getattr(preset_config(p), group), inner) for p in ("lab", "wild")]
    return min(low for low, _ in both), max(high for _, high in both)


def factors() -> list[Factor]:
    """Rows of the sheet."""

    def pin(name: str, unit: str = "", digits: str = "g", **both: Any) -> Factor:
        """The range `name` at both ends; `both` (names with __ for the dot) holds for both."""
        low, high = ends(name)
        common = {key.replace("__", "."): value for key, value in both.items()}
        labels = (f"{low:{digits}}{unit}", f"{high:{digits}}{unit}")
        title = name.partition(".")[2].replace("_", " ")
        return Factor(title, labels, {name: (low, low)} | common, {name: (high, high)} | common)

    def switch(share: str, name: str, end: int, unit: str, both: Changes | None = None) -> Factor:
        """Off, and on at one end of the range `name`; `both` holds for both."""
        value = ends(name)[end]
        on = {share: 1.0, name: (value, value)}
        title, common = name.partition(".")[2].replace("_", " "), dict(both or {})
        return Factor(title, ("off", f"{value:g}{unit}"), common | {share: 0.0}, common | on)

    speed, shot = ends("style.speed"), ends("ranges.shot_hz")[1]
    bunch, limit = ends("ranges.bunch_us")[1], ends("ranges.readout_mev_per_s")[0]
    # Time stamps show where events are many.
    quick = {"ranges.threshold": (0.1, 0.1), "style.speed": speed[1]}
    strong = {"ranges.background_contrast": (0.6, 0.6)}
    lamps = {"ranges.flicker_share": 1.0, "ranges.flicker_depth": (0.15, 0.15)}
    return [
        Factor("body: 1st coefficient", ("-2.5", "2.5"), {"beta": (0, -2.5)}, {"beta": (0, 2.5)}),
        Factor("body: 2nd coefficient", ("-2.5", "2.5"), {"beta": (1, -2.5)}, {"beta": (1, 2.5)}),
        pin("wardrobe.tone"),
        pin("wardrobe.pattern_contrast"),
        pin("wardrobe.looseness_m", " m"),
        Factor("mirrored", ("no", "yes"), {}, {"style.mirrored": True}),
        Factor("speed", (f"x {speed[0]:g}", f"x {speed[1]:g}"), {"style.speed": speed[0]},
               {"style.speed": speed[1]}),
        Factor("pause", ("none", "now"), {}, {"style.pauses": ((0.0, 100.0),)}),
        pin("ranges.people", ranges__distance_m=(4.0, 4.0)),
        pin("ranges.field_of_view_deg", " deg"),
        pin("ranges.body_fraction"),
        pin("ranges.distance_m", " m"),
        pin("ranges.camera_height_m", " m"),
        pin("ranges.roll_deg", " deg"),
        pin("ranges.distortion_k1", ranges__distorted_share=1.0),
        Factor("heading", ("-70 deg", "180 deg"), {"ranges.facing_deg": (-70.0, -70.0)},
               {"ranges.facing_deg": (180.0, 180.0)}),
        pin("ranges.lights"),
        pin("ranges.ambient"),
        pin("ranges.exposure_dn", " DN"),
        switch("ranges.shadow_share", "ranges.shadow", 1, ""),
        switch("ranges.flicker_share", "ranges.flicker_depth", 1, ""),
        pin("ranges.background_contrast"),
        switch("ranges.shake_share", "ranges.shake_px", 1, " px", strong),
        Factor("distractors", ("0", str(ends("ranges.distractors")[1])), {},
               {"ranges.distractors": (ends("ranges.distractors")[1],) * 2}),
        pin("ranges.gray_exposure_us", " us", style__speed=speed[1]),
        pin("ranges.threshold"),
        pin("ranges.threshold_ratio"),
        pin("ranges.mismatch_sigma"),
        pin("ranges.refractory_us", " us", ranges__threshold=(0.1, 0.1), style__speed=speed[1]),
        pin("ranges.leak_hz", " Hz"),
        pin("ranges.shot_hz", " Hz"),
        pin("ranges.noise_spread", ranges__shot_hz=(shot, shot)),
        pin("ranges.noise_patch_share", ranges__shot_hz=(shot, shot), ranges__noise_spread=(1.5, 1.5)),
        switch("ranges.cutoff_share", "ranges.cutoff_hz", 0, " Hz"),
        pin("ranges.hot_pixel_fraction"),
        pin("ranges.hot_pixel_hz", " Hz", ranges__hot_pixel_fraction=(0.004, 0.004)),
        Factor("bunch us", ("off", f"{bunch:g} us"), quick,
               quick | {"ranges.bunched_share": 1.0, "ranges.bunch_us": (bunch, bunch)}),
        Factor("read-out limit", ("off", f"{limit:g} M/s"), lamps,
               lamps | {"ranges.readout_share": 1.0, "ranges.readout_mev_per_s": (limit, limit)}),
    ]  # fmt: skip


def compose(look: Look, *, seed: int, duration_s: float) -> Scene:
    """The scene of a look. Each part has random numbers of its own, so that one change moves nothing else."""

    def rng(*part: int) -> np.random.Generator:
        return np.random.default_rng([seed, *part])

    ranges, K = look.ranges, round(duration_s * 1e6 / STEP_US) + 1
    places = draws.draw_places(rng(0), ranges, ranges.people[0])
    camera, _ = draws.draw_camera(rng(1), ranges, width_m=float(np.ptp(places[:, 0])))
    people = tuple(
        _person(look, place, rng(2, i), first=i == 0, duration_s=duration_s) for i, place in enumerate(places)
    )
    camera = keep_in_front(camera, people)
    shake, _ = draws.draw_shake(rng(3), ranges, camera, K, STEP_US)
    lights, ambient = draws.draw_lights(rng(4), ranges)
    exposure = draws.log_uniform(rng(), ranges.exposure_dn)
    background, _ = draws.draw_background(
        rng(5), ranges, camera, exposure_dn=exposure, shake=shake, duration_us=(K - 1) * STEP_US
    )
    return Scene(
        people=people,
        step_us=STEP_US,
        camera=camera,
        background=background,
        lights=lights,
        ambient=ambient,
        exposure_dn=exposure,
        sensor=draws.draw_sensor(rng(6), ranges, camera.size[0]),
        shake=shake,
        shadow=ranges.shadow[0] if ranges.shadow_share else 0.0,
        flicker=draws.draw_flicker(rng(7), ranges),
        gray_exposure_us=int(ranges.gray_exposure_us[0]),
    )


def _person(
    look: Look, place: NDArray[np.float64], rng: np.random.Generator, *, first: bool, duration_s: float
) -> Person:
    arrays, betas = open_body_arrays(), draws.draw_betas(rng)
    if first:
        betas = np.zeros(10)
        betas[look.beta[0]] = look.beta[1]
    outfit = draw_outfit(rng, look.wardrobe)
    albedo = draw_wardrobe(rng, look.wardrobe, arrays, outfit)
    offsets = draw_loose_offsets(rng, look.wardrobe, arrays, outfit)
    rest = rest_joints(betas)
    draw = MotionLibrary(None).draw(
        rng, rest, betas, duration_s, speed=1.0, movement=MOVEMENT if first else None
    )
    motion = play(
        [draw], look.style, rng=rng, duration_s=duration_s, step_s=STEP_US * 1e-6,
        heading_rad=draws.draw_heading(rng, look.ranges), rest_joints=rest,
    )  # fmt: skip
    return Person(replace(motion, transl=motion.transl + place), draw.source, albedo, offsets)


def shoot(look: Look, *, seed: int, duration_s: float) -> Shot:
    """Simulate a look."""
    scene = compose(look, seed=seed, duration_s=duration_s)
    settings = RenderSettings(max_motion_px=0.75, frame_step_us=WINDOW_US)
    pieces, gray = [], {}
    for step in simulate(scene, Cast.of_scene(scene), settings, seed=seed):
        pieces.append(step.events)
        gray.update(dict(step.gray))
    t, x, y, p = (np.concatenate([getattr(e, c) for e in pieces]) for c in "txyp")
    end = scene.duration_us // WINDOW_US * WINDOW_US
    kept = (t >= end - WINDOW_US) & (t < end)
    events = Events(t=t[kept], x=x[kept], y=y[kept], p=p[kept], sensor_size=scene.camera.size)
    return Shot(gray[max(g for g in gray if g <= end)], events)


def write_sheet(
    output: Path, rows: Sequence[Factor], *, seed: int, duration_s: float, columns: int = 2
) -> None:
    """Picture of both ends of every factor, PNG."""
    pictures = []
    for factor in rows:
        halves = [np.full((PANEL[0] + 16, 130, 3), 255, np.uint8)]
        _write(halves[0], factor.name, (4, 70))
        for label, changes in zip(factor.labels, (factor.low, factor.high), strict=True):
            halves.append(_panels(shoot(Look().changed(changes), seed=seed, duration_s=duration_s), label))
        pictures.append(np.hstack(halves))
    pictures += [np.full_like(pictures[0], 255)] * (-len(pictures) % columns)
    height = len(pictures) // columns
    sheet = np.hstack([np.vstack(pictures[i * height : (i + 1) * height]) for i in range(columns)])
    with PendingFile(output) as pending:
        pending.temporary.write_bytes(encode_png(sheet))


def _panels(shot: Shot, label: str) -> Image:
    events, (h, w) = shot.events, PANEL
    end = int(events.t[-1]) + 1 if len(events) else STRIP_US
    last = events.slice(int(np.searchsorted(events.t, end - STRIP_US)), len(events))
    row = ((last.t - (end - STRIP_US)) * h // STRIP_US).astype(np.uint16)
    strip = replace(last, y=row, sensor_size=(h, events.sensor_size[1]))
    gray = np.repeat(shot.gray[..., None], 3, axis=2)
    out = np.full((h + 16, 3 * (w + 2), 3), 255, np.uint8)
    for i, picture in enumerate((gray, event_image(events), event_image(strip, full_at=1))):
        place = slice(i * (w + 2), (i + 1) * (w + 2) - 2)
        out[16:, place] = cv2.resize(picture, (w, h), interpolation=cv2.INTER_AREA)
    _write(out, f"{label}   ({shot.rate / 1000:,.0f} k events/s)", (2, 12))
    return out


def _write(image: Image, text: str, at: tuple[int, int]) -> None:
    """Write on a picture of ours."""
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.38, (20, 20, 20), 1, cv2.LINE_AA)


def table_rows() -> list[str]:
    """Rows of the table in docs/simulate.md: setting, lab, wild, how it is drawn, what it is."""
    lab, wild, rows = preset_config("lab"), preset_config("wild"), []
    for group in ("ranges", "style", "wardrobe"):
        a, b = getattr(lab, group), getattr(wild, group)
        told = field_docstrings(type(a))
        for f in fields(a):
            text = told.get(f.name, "").rstrip(".").split(". ")[0]
            text = text.replace(", drawn log-uniformly", "").replace(", log-uniform", "")
            how = _how(f.name, getattr(a, f.name), told.get(f.name, ""))
            values = [_text(getattr(v, f.name)) for v in (a, b)]
            rows.append(f"| `{group}.{f.name}` | {values[0]} | {values[1]} | {how} | {text} |")
    return rows


def _how(name: str, value: Any, told: str) -> str:
    if isinstance(value, float) or value is None:
        return "share" if name.endswith("_share") else "fixed"
    if isinstance(value, int):
        return "fixed"
    if isinstance(value[0], tuple):
        return "weighted" if isinstance(value[0][0], str) else "one of"
    if isinstance(value[0], int):
        return "whole number"
    return "log-uniform" if "log-uniform" in told else "uniform"


def _text(value: Any) -> str:
    if not isinstance(value, tuple):
        return "none" if value is None else f"{value:g}"
    if isinstance(value[0], tuple):
        if isinstance(value[0][0], str):
            return ", ".join(f"{kind} {weight:g}" for kind, weight in value)
        return ", ".join(f"({h}, {w})" for h, w in sorted(set(value)))
    return f"{value[0]:g} to {value[1]:g}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("variety.png"), help="PNG to write")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--duration", type=float, default=0.4, help="seconds to simulate before the picture")
    parser.add_argument("--table", action="store_true", help="print the ranges as a table instead")
    args = parser.parse_args()
    if args.table:
        print("\n".join(table_rows()))
    else:
        write_sheet(args.output, factors(), seed=args.seed, duration_s=args.duration)


if __name__ == "__main__":
    main()
