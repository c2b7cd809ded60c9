"""Sets of recordings with a name: which seeds, motions and configurations they consist of."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from eventhpe.data.generator import Generator, GeneratorConfig
from eventhpe.data.motions import file_checksum
from eventhpe.data.scene import SceneRanges
from eventhpe.errors import FormatError, MissingAssetError

Preset = Literal["lab", "benchmark-v1"]

BENCHMARK_V1_SEED = 20211
BENCHMARK_V1: tuple[tuple[str, str], ...] = (
    ("cmu14_14_jumpjack1", "955928d169bf394f"),
    ("cmu14_14_jog1", "8006f0c8ce044d71"),
    ("cmu14_14_squat1", "d2fe3697b70146d5"),
    ("cmu14_20_kneeraise1", "1dae922ae4d0792b"),
    ("cmu14_14_twist1", "fb29f24b67c7e318"),
    ("cmu14_20_updown1", "c01b4042f0ad9109"),
    ("cmu86_01_walkturn", "58fabe19b295f905"),
    ("cmu86_01_jump", "064b1a84f15093e8"),
    ("cmu86_01_punch1", "7a4206606397b4ce"),
    ("cmu86_01_kick1", "2854230d99b71b9e"),
    ("cmu86_09_walk1", "68bf511936b5bd35"),
    ("cmu86_09_sitdown", "459e895217f7f559"),
    ("cmu86_09_gesture", "fe6617c2507613e6"),
    ("cmu94_dance06_1", "0bde8c8ec2cfab7f"),
    ("cmu94_dance08_2", "20612ff1d97aba42"),
    ("cmu94_dance13_1", "5c55b1a840d2ff42"),
    ("cmu94_dance15_1", "77670167788bce9a"),
    ("cmu60_salsa17_1", "146523325f159730"),
    ("cmu60_salsa20_1", "6321a199198a73b6"),
    ("cmu60_salsa28_1", "16fbe7851d3278d4"),
)
"""(clip, first 16 hex digits of its SHA-256) in order; frozen."""


@dataclass(frozen=True)
class Job:
    """One recording to make."""

    output: Path
    config: GeneratorConfig
    seed: int
    index: int
    motions: Path | None = None
    clip: Path | None = None
    speed: float = 0.0


def plan(
    output: Path,
    *,
    preset: Preset,
    motion: Path | None,
    motions: Path | None,
    n: int,
    seed: int,
    duration_s: float,
    flow_labels: bool,
) -> list[Job]:
    """What has to be made.

    Raises:
        FormatError: options that exclude each other.
        MissingAssetError: clips that are not there.
    """
    config = GeneratorConfig(duration_s=duration_s, flow_labels=flow_labels)
    if preset == "benchmark-v1":
        return _plan_benchmark(output, motions)
    if motion is not None and motions is not None:
        raise FormatError("give --motion CLIP.bvh or --motions FOLDER, not both.")
    if motion is not None and not motion.is_file():
        raise MissingAssetError(f"--motion {motion}: no such file.")
    single = output.suffix == ".h5"
    if single and n != 1:
        raise FormatError(
            f"-o {output} names one file, but --n {n} recordings were asked for; give a folder."
        )
    speed = 1.0 if motion is not None else 0.0
    return [
        Job(output if single else output / f"{k:05d}.h5", config, seed, k, motions, motion, speed)
        for k in range(n)
    ]


def _plan_benchmark(output: Path, motions: Path | None) -> list[Job]:
    if motions is None:
        raise MissingAssetError(
            "--preset benchmark-v1 needs --motions FOLDER with the BVH clips of CMU subjects 14, 60, 86 and "
            "94; docs/motion.md says where they come from."
        )
    if output.suffix == ".h5":
        raise FormatError(f"-o {output}: benchmark-v1 is a folder of recordings; give a folder.")
    found = {p.stem: p for p in Path(motions).rglob("*.bvh")}
    jobs = []
    config = GeneratorConfig(duration_s=4.0, ranges=replace(SceneRanges(), sensor_sizes=((260, 346),)))
    for index, (name, checksum) in enumerate(BENCHMARK_V1):
        if name not in found:
            raise MissingAssetError(f"--motions {motions}: clip {name}.bvh of benchmark-v1 is not there.")
        if file_checksum(found[name]) != checksum:
            raise FormatError(
                f"{found[name]}: differs from the clip that benchmark-v1 is made of "
                f"(SHA-256 must begin with {checksum})."
            )
        jobs.append(Job(output / f"{name}.h5", config, BENCHMARK_V1_SEED, index, clip=found[name], speed=1.0))
    return jobs


def run_plan(jobs: list[Job], *, workers: int = 1) -> _Running:
    """Make the recordings, one dict of facts per finished recording, in any order."""
    return _Running(jobs, workers)


class _Running:
    """Iterable with a length, so that progress bars know the end."""

    def __init__(self, jobs: list[Job], workers: int) -> None:
        self._jobs, self._workers = jobs, max(1, workers)

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self._workers == 1 or len(self._jobs) <= 1:
            for job in self._jobs:
                yield make_recording(job)
            return
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self._workers, mp_context=context, initializer=_one_thread) as pool:
            yield from pool.map(make_recording, self._jobs)


def make_recording(job: Job) -> dict[str, Any]:
    """Make one recording; the unit of work for local processes and clusters alike."""
    import h5py

    generator = _generator(job.config, job.motions)
    job.output.parent.mkdir(parents=True, exist_ok=True)
    generator.make(job.output, seed=job.seed, index=job.index, clip=job.clip, speed=job.speed)
    with h5py.File(job.output, "r", locking=False) as f:
        return {"output": str(job.output), "num_events": int(f["events/t"].shape[0])}


@lru_cache(maxsize=4)
def _generator(config: GeneratorConfig, motions: Path | None) -> Generator:
    return Generator(config, motions=motions)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
