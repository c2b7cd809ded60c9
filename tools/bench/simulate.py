"""How fast does the event simulator turn images into events?

    python tools/bench/simulate.py --frames walk.npy [--step-us 2000] [--rounds 7]

CPU time of the process, one thread, median over the rounds; the settings take turns, round after round, so
that a busy machine slows all alike. A round is the whole clip through a fresh simulator, whose construction
is not timed. Images come from memory as float32, without boxes, so that every pixel is compared.

--frames: (N, H, W) linear intensities in DN, for instance a person who walks before a still background.
Flicker is a gain that differs for every image, so that every pixel changes. The event-heavy clip is made
here: a texture that moves by one pixel per image.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import timing
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from eventhpe.events.sensor import SensorModel
from eventhpe.events.simulate import EventSimulator

SIZE = (260, 346)
NOISY = SensorModel(mismatch_sigma=0.03, refractory_us=1000, leak_hz=0.1, shot_hz=1.0)
LIMITED = replace(NOISY, cutoff_hz=100.0)
LAMP_HZ, LAMP_DEPTH = 100.0, 0.1
HEAVY_FRAMES = 100


@dataclass(frozen=True)
class Setting:
    """One line of the table: a sensor, and whether the lamps flicker; `target` in `unit`."""

    name: str
    sensor: SensorModel
    flicker: bool
    target: float
    unit: str


WALK_SETTINGS = (
    Setting("mismatch, refractory, leak, shot", NOISY, False, 4500, "frames/s"),
    Setting("the same and bandwidth", LIMITED, False, 1200, "frames/s"),
    Setting("the same, bandwidth and flicker", LIMITED, True, 1200, "frames/s"),
)
HEAVY_SETTINGS = (Setting("moving background", NOISY, False, 25, "Mev/s"),)


@dataclass(frozen=True)
class Row:
    """What came of one setting: CPU time for the whole clip, one number per round."""

    setting: Setting
    num_frames: int
    num_events: int
    runs: tuple[timing.Seconds, ...]

    @property
    def frames_per_s(self) -> float:
        """Images per CPU second, median."""
        return self.num_frames / statistics.median(run.cpu for run in self.runs)

    @property
    def mev_per_s(self) -> float:
        """Million events per CPU second, median."""
        return self.num_events / statistics.median(run.cpu for run in self.runs) / 1e6

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        reached = self.frames_per_s if self.setting.unit == "frames/s" else self.mev_per_s
        return reached >= self.setting.target

    def as_dict(self) -> dict[str, Any]:
        """For the results file."""
        return {
            "frames": self.num_frames,
            "events_per_frame": round(self.num_events / self.num_frames, 1),
            "frames_per_cpu_second": round(self.frames_per_s),
            "mev_per_cpu_second": round(self.mev_per_s, 2),
            "fastest_frames_per_cpu_second": round(self.num_frames / min(r.cpu for r in self.runs)),
            "target": f"{self.setting.target:g} {self.setting.unit}",
            "met": self.met,
        }


def moving_background(size: tuple[int, int] = SIZE, num_frames: int = HEAVY_FRAMES) -> NDArray[np.float32]:
    """(N, H, W) clip of a soft texture that moves one pixel per image: tens of thousands of events each."""
    H, W = size
    noise = gaussian_filter(np.random.default_rng(0).standard_normal((H, W + num_frames)), 1.5)
    texture = (60 * np.exp(0.5 * noise / noise.std())).astype(np.float32)
    return np.stack([texture[:, k : k + W] for k in range(num_frames)])


def emulate(
    frames: Sequence[NDArray[np.float32]], setting: Setting, step_us: int
) -> tuple[int, timing.Seconds]:
    """Number of events of a clip, and what they cost."""
    simulator = EventSimulator(frames[0].shape, setting.sensor, seed=0)
    seconds = np.arange(len(frames)) * step_us * 1e-6
    # a little off the lamps' frequency, which the images of a 500 fps clip would meet at equal phases
    gains = 1 + LAMP_DEPTH * np.sin(2 * np.pi * 1.03 * LAMP_HZ * seconds) * setting.flicker
    count = 0

    def whole_clip() -> None:
        nonlocal count
        for k, (frame, gain) in enumerate(zip(frames, gains.tolist(), strict=True)):
            count += len(simulator.feed(frame, k * step_us, gain=gain))

    spent = timing.timed(whole_clip)
    return count, spent


def time_emulation(
    frames: Sequence[NDArray[np.float32]], settings: Sequence[Setting], *, step_us: int, rounds: int
) -> list[Row]:
    """Time settings in turns.

    Args:
        frames: N images (H, W), DN.
        step_us: time between them.
        rounds: how often each setting runs; one more, not timed, comes first.
    """
    counts: dict[str, int] = {}
    runs: dict[str, list[timing.Seconds]] = {setting.name: [] for setting in settings}
    for k in range(rounds + 1):
        for setting in settings:
            counts[setting.name], spent = emulate(frames, setting, step_us)
            if k:
                runs[setting.name].append(spent)
    return [Row(s, len(frames), counts[s.name], tuple(runs[s.name])) for s in settings]


def emulation_rows(frames: Sequence[NDArray[np.float32]], *, step_us: int, rounds: int) -> list[Row]:
    """The given clip with every setting, then the event-heavy clip of the same size."""
    frames = [np.ascontiguousarray(frame, np.float32) for frame in frames]
    heavy = list(moving_background(frames[0].shape))
    return [
        *time_emulation(frames, WALK_SETTINGS, step_us=step_us, rounds=rounds),
        *time_emulation(heavy, HEAVY_SETTINGS, step_us=step_us, rounds=rounds),
    ]


def show(rows: Sequence[Row]) -> str:
    """The rows as a table."""
    lines = []
    for row in rows:
        told = row.as_dict()
        lines.append(
            [
                row.setting.name,
                f"{told['events_per_frame']:,.0f}",
                f"{told['frames_per_cpu_second']:,}",
                f"{told['mev_per_cpu_second']:.1f}",
                f"{told['target']}: {'met' if row.met else 'MISSED'}",
            ]
        )
    return timing.table(["", "events/frame", "frames/CPU s", "Mev/CPU s", "target"], lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=Path, required=True, help="(N, H, W) .npy of linear intensities")
    parser.add_argument("--step-us", type=int, default=2000, help="time between two images")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, default=timing.RESULTS / "simulate.json")
    options = parser.parse_args()
    report = timing.report("event simulator, one thread, CPU time of the process", ["numpy", "numba"])
    rows = emulation_rows(
        np.load(options.frames, allow_pickle=False), step_us=options.step_us, rounds=options.rounds
    )
    print(show(rows))
    results = {row.setting.name: row.as_dict() for row in rows}
    timing.write_json(options.output, {**report, "rounds": options.rounds, "emulation": results})
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
