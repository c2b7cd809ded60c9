"""Streams: the same batches at any number of workers and from any place; caches; nothing left behind."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from eventhpe.data import streaming
from eventhpe.data.generator import GeneratorConfig
from eventhpe.data.plan import Job
from eventhpe.data.sample import Clip, FlowPair
from eventhpe.data.streaming import ClipSamples, FlowSamples, SampleStream, StreamConfig, stream_config
from eventhpe.errors import FormatError, MissingAssetError, ShapeError

CLIPS = ClipSamples(num_windows=2, size_px=16)
FLOWS = FlowSamples(size_px=16)


@pytest.fixture(scope="module")
def config(tiny_config: GeneratorConfig) -> StreamConfig:
    """Two recordings of 0.1 s to a group, and three batches from them."""
    return StreamConfig(replace(tiny_config, duration_s=0.1), seed=3, recordings=2, batches=3)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Job]]:
    """Jobs that this process has done."""
    jobs: list[Job] = []
    make = streaming.make_recording

    def remember(job: Job) -> Any:
        jobs.append(job)
        return make(job)

    monkeypatch.setattr(streaming, "make_recording", remember)
    yield jobs


def stream(config: StreamConfig, samples: Any = CLIPS, *, workers: int = 0, offset: int = 0) -> SampleStream:
    out = SampleStream(config, samples, batch_size=2, workers=workers)
    out.offset = offset
    return out


def take(source: SampleStream, count: int) -> list[Any]:
    """The first batches, and the stream closed after them."""
    with closing(iter(source)) as batches:  # type: ignore[type-var]
        return list(islice(batches, count))


def equal(a: list[Any], b: list[Any]) -> bool:
    return len(a) == len(b) and all(
        torch.equal(u, v) for x, y in zip(a, b, strict=True) for u, v in zip(x, y, strict=True)
    )


@pytest.fixture(scope="module")
def seven(config: StreamConfig) -> list[Any]:
    """Batches of two groups and the beginning of a third."""
    return take(stream(config), 7)


def test_batches_are_whole_and_all_different(seven: list[Any]) -> None:
    for clip in seven:
        assert isinstance(clip, Clip)
        assert clip.frames.shape == (2, 2, 8, 16, 16) and clip.rotmats.shape == (2, 3, 24, 3, 3)
        assert clip.frames.abs().sum() > 0
    people = {tuple(betas.tolist()) for clip in seven for betas in clip.betas}
    assert 3 <= len(people) <= 6, "two people to a group"
    assert len({clip.frames.sum().item() for clip in seven}) == 7


def test_two_workers_give_the_same_batches_and_leave_nothing(
    config: StreamConfig, seven: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with closing(iter(stream(config, workers=2))) as batches:  # type: ignore[type-var]
        first = list(islice(batches, 7))
        assert len(list(tmp_path.iterdir())) == 1, "workers have recordings ahead"
    assert equal(first, seven)
    assert list(tmp_path.iterdir()) == [], "stopped in the middle of a group"


@pytest.mark.parametrize("done", [3, 5])
def test_going_on_equals_not_having_stopped(config: StreamConfig, seven: list[Any], done: int) -> None:
    assert equal(take(stream(config, offset=done * 2), 7 - done), seven[done:])


def test_going_on_makes_no_groups_that_lie_behind(config: StreamConfig, made: list[Job]) -> None:
    take(stream(config, offset=6), 1)
    assert [job.index for job in made] == [2, 3]


def test_another_seed_gives_other_people(config: StreamConfig, seven: list[Any]) -> None:
    (other,) = take(stream(replace(config, seed=4)), 1)
    assert not torch.equal(other.betas, seven[0].betas)


def test_a_cache_is_filled_once_and_read_in_new_samples(
    config: StreamConfig, seven: list[Any], tmp_path: Path, made: list[Job]
) -> None:
    cached = replace(config, cache=tmp_path / "cache", num_groups=1)
    assert stream(cached).num_recordings == 2 and stream(config).num_recordings == 0
    batches = take(stream(cached), 6)
    assert equal(batches[:3], seven[:3]), "the first pass is that of a stream without a cache"
    assert len(made) == 2
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("*.h5")}
    assert sorted(p.relative_to(tmp_path / "cache").as_posix() for p in stamps) == [
        "000000/000.h5", "000000/001.h5"
    ]  # fmt: skip
    people = {tuple(b.tolist()) for clip in batches for b in clip.betas}
    assert len(people) == 2 and not equal(batches[:3], batches[3:])
    assert equal(take(stream(cached), 6), batches)
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps and len(made) == 2


def test_without_a_cache_the_same_groups_are_made_again(config: StreamConfig, made: list[Job]) -> None:
    batches = take(stream(replace(config, num_groups=1)), 4)
    assert [job.index for job in made] == [0, 1, 0, 1]
    assert len({tuple(b.tolist()) for clip in batches for b in clip.betas}) == 2


def test_a_cache_of_other_recordings_is_refused(config: StreamConfig, tmp_path: Path) -> None:
    cached = replace(config, cache=tmp_path, num_groups=2)
    take(stream(cached), 1)
    take(stream(replace(cached, num_groups=5, batches=1)), 1)
    for other in (
        replace(cached, seed=9),
        replace(cached, recordings=1),
        replace(cached, motions=tmp_path),
        replace(cached, generator=replace(config.generator, max_motion_px=0.4)),
    ):
        with pytest.raises(FormatError, match=r"settings\.yaml: .*made with another"):
            take(stream(other), 1)


def test_flow_pairs_with_and_without_true_flow(config: StreamConfig) -> None:
    for flow in (True, False):
        preset = replace(config.generator, flow_labels=True)
        some = stream_config(preset, motions=None, seed=3, flow=flow)
        assert some.generator.flow_labels is flow and some.seed == 3
        (pair,) = take(stream(replace(some, recordings=1, batches=1), FLOWS), 1)
        assert isinstance(pair, FlowPair) and pair.frames.shape == (2, 8, 16, 16)
        assert (pair.valid.sum() > 0) == flow and pair.image0.max() > 10


def test_an_empty_folder_of_motions_is_told_at_the_first_batch(config: StreamConfig, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingAssetError, match="empty: found no training motion clips"):
        take(stream(replace(config, motions=tmp_path / "empty")), 1)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"recordings": 0}, "recordings"),
        ({"batches": 0}, "batches"),
        ({"num_groups": -1}, "num_groups"),
        ({"seed": -1}, "seed"),
        ({"cache": Path("x")}, "cache needs num_groups"),
    ],
)
def test_bad_numbers_are_refused_by_name(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ShapeError, match=rf"StreamConfig\.{field}"):
        StreamConfig(**changes)
