"""What `eventhpe simulate` has to make, one job per recording, and making it in several processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from eventhpe.data.generator import Choice, Generator, GeneratorConfig
from eventhpe.data.motion_library import MotionLibrary
from eventhpe.errors import FormatError, MissingAssetError


@dataclass(frozen=True)
class Job:
    """One recording to make.

    Attributes:
        output: the file that tells that the job is done; jobs whose output exists are skipped.
        kind: "scene" for drawn scenes, or the preset that says how the recording is made.
        config, seed, index: as in `Generator`; the frozen benchmarks bring their own config.
        motions: folder of clips to draw from.
        choice: what is fixed instead of drawn.
        root: folder of a data set, for presets that write one.
    """

    output: Path
    config: GeneratorConfig | None
    seed: int
    index: int
    kind: str = "scene"
    motions: Path | None = None
    choice: Choice = field(default_factory=Choice)
    root: Path | None = None


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    Attributes:
        output: a file ending in .h5 for one recording, else a folder.
        preset: name of the preset.
        config: settings, from the preset or changed; None for the frozen benchmarks.
        motion: clip to perform; motions: folder to draw from.
        n: number of recordings; seed: of all draws.
    """

    output: Path
    preset: str
    config: GeneratorConfig | None
    motion: Path | None = None
    motions: Path | None = None
    n: int = 1
    seed: int = 0


_PLAIN = ("lab", "wild", "clean")  # the other presets are sets with a layout of their own


def plan(request: Request) -> list[Job]:
    """Jobs of a request.

    Raises:
        FormatError: options that exclude each other.
        MissingAssetError: clips that are not there.
    """
    single = request.output.suffix == ".h5"
    if request.motion is not None and request.motions is not None:
        raise FormatError("give --motion CLIP or --motions FOLDER, not both.")
    if request.motion is not None and not request.motion.is_file():
        raise MissingAssetError(f"--motion {request.motion}: no such file.")
    if request.preset not in _PLAIN and request.motion is not None:
        raise FormatError(f"--motion: preset {request.preset} has motions of its own.")
    if request.preset in ("benchmark-p1", "dhp19") and request.motions is not None:
        raise FormatError(f"--motions: preset {request.preset} has movements of its own.")
    if request.preset not in _PLAIN and single:
        raise FormatError(
            f"-o {request.output}: preset {request.preset} makes a folder of recordings; give a folder."
        )
    if request.preset == "benchmark-v1":
        return _benchmark_v1(request)
    if request.preset == "benchmark-p1":
        return _benchmark_p1(request)
    assert request.config is not None
    if request.motions is not None:
        _generator(request.config, request.motions)  # an empty folder is refused before anything is made
    if request.preset == "dhp19":
        return _dhp19(request, request.config)
    if request.preset == "mmhpsd":
        return _mmhpsd(request, request.config)
    if single and request.n != 1:
        raise FormatError(
            f"-o {request.output} names one file, but --n {request.n} recordings were asked for; "
            "give a folder."
        )
    choice = Choice(clip=request.motion, speed=0.0 if request.motion is None else 1.0)
    return [
        Job(
            request.output if single else request.output / f"{k:05d}.h5",
            request.config, request.seed, k, motions=request.motions, choice=choice,
        )
        for k in range(request.n)
    ]  # fmt: skip


def _benchmark_v1(request: Request) -> list[Job]:
    from eventhpe.data.benchmark_v1 import BENCHMARK_V1_SEED, find_clips

    if request.motions is None:
        raise MissingAssetError(
            "--preset benchmark-v1 needs --motions FOLDER with the BVH clips of CMU subjects 14, 60, 86 and "
            "94; docs/motion.md says where they come from."
        )
    return [
        Job(
            request.output / f"{clip.stem}.h5", None, BENCHMARK_V1_SEED, index, kind="benchmark-v1",
            choice=Choice(clip=clip, speed=1.0),
        )
        for index, clip in enumerate(find_clips(request.motions))
    ]  # fmt: skip


def _benchmark_p1(request: Request) -> list[Job]:
    from eventhpe.data.benchmark_p1 import BENCHMARK_P1, BENCHMARK_P1_SEED

    return [
        Job(
            request.output / f"{index:02d}_{movement}.h5", None, BENCHMARK_P1_SEED, index,
            kind="benchmark-p1",
        )
        for index, movement in enumerate(BENCHMARK_P1)
    ]  # fmt: skip


def _dhp19(request: Request, config: GeneratorConfig) -> list[Job]:
    from eventhpe.data.dhp19_set import movement_of, paths_of

    return [
        Job(paths_of(request.output, movement_of(k)).events, config, request.seed, k, kind="dhp19",
            root=request.output)
        for k in range(request.n)
    ]  # fmt: skip


def _mmhpsd(request: Request, config: GeneratorConfig) -> list[Job]:
    from eventhpe.data.mmhpsd_set import marker_of, sequence_of

    return [
        Job(marker_of(request.output, sequence_of(k)), config, request.seed, k, kind="mmhpsd",
            motions=request.motions, root=request.output)
        for k in range(request.n)
    ]  # fmt: skip


def run_plan(jobs: list[Job], *, workers: int = 1) -> Running:
    """Make the recordings, one dict of facts per finished recording, in the jobs' order."""
    return Running(jobs, workers)


class Running:
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
    """Make one recording; the unit of work for local processes and clusters alike.

    Returns:
        "output" and "num_events".
    """
    job.output.parent.mkdir(parents=True, exist_ok=True)
    if job.kind == "benchmark-v1":
        from eventhpe.data.benchmark_v1 import record_v1

        assert job.choice.clip is not None
        record_v1(job.output, job.index, job.choice.clip)
        return _facts(job, [job.output])
    if job.kind == "benchmark-p1":
        from eventhpe.data.benchmark_p1 import record_p1

        record_p1(job.output, job.index)
        return _facts(job, [job.output])
    assert job.config is not None
    generator = _generator(job.config, job.motions)
    if job.kind == "scene":
        generator.make(job.output, seed=job.seed, index=job.index, choice=job.choice)
        return _facts(job, [job.output])
    assert job.root is not None
    if job.kind == "dhp19":
        from eventhpe.data.dhp19_set import make_movement

        return _facts(job, make_movement(job.root, generator, job.seed, job.index))
    from eventhpe.data.mmhpsd_set import make_sequence

    return _facts(job, [make_sequence(job.root, generator, job.seed, job.index)])


def _facts(job: Job, recordings: list[Path]) -> dict[str, Any]:
    return {"output": str(job.output), "num_events": sum(count_events(path) for path in recordings)}


def count_events(recording: Path) -> int:
    """Events of a canonical recording."""
    import h5py

    with h5py.File(recording, "r", locking=False) as f:
        return int(f["events/t"].shape[0])


@lru_cache(maxsize=4)
def _generator(config: GeneratorConfig, motions: Path | None) -> Generator:
    return Generator(config, library=MotionLibrary(motions, procedural_share=config.procedural_share))


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
