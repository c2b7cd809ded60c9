"""Many recordings converted: one unit of work per recording, resumable, each output complete or absent.

A unit depends on nothing but itself, so that a cluster engine can run the same function:
`convert_unit(unit)`.
"""

from __future__ import annotations

import glob
import json
import multiprocessing
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import xxhash

from eventhpe.atomic import PendingFile, remove_leftovers
from eventhpe.errors import EventHPEError, FormatError
from eventhpe.events.conversion import convert
from eventhpe.events.formats.hdf5 import open_hdf5
from eventhpe.events.formats.hdf5_damage import plain_attribute
from eventhpe.events.formats.options import TimeUnit
from eventhpe.events.formats.sniff import sniff
from eventhpe.events.open import open_recording
from eventhpe.events.sinks import target_named
from eventhpe.events.store_writer import package_version
from eventhpe.events.transforms import Changes

REPORT_NAME = "convert-report.jsonl"
_HASH_BLOCK = 1 << 22
_HEADER_BYTES = 1 << 18
_MARK = re.compile(rb"source_xxh3_128=([0-9a-f]{32}) recipe=([0-9a-f]{16})")


@dataclass(frozen=True)
class Unit:
    """One recording to convert: where it is, how to open it, what to make of it."""

    source: Path
    output: Path
    format: str | None = None
    sensor: str | None = None
    stream: int | str | None = None
    time_unit: TimeUnit | None = None
    target: str = "eventhpe"
    compression: str | None = None
    changes: Changes = field(default_factory=Changes)
    overwrite: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of a unit; a line of the report."""

    source: str
    output: str
    status: Literal["done", "skipped", "failed"]
    num_events: int = 0
    duration_s: float = 0.0
    source_bytes: int = 0
    source_xxh3_128: str = ""
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    error: str = ""


def file_checksum(path: Path) -> str:
    """xxh3-128 of a file's bytes (of all files of a ROS 2 bag's folder, in the order of their names)."""
    checksum = xxhash.xxh3_128()
    for part in sorted(path.iterdir()) if path.is_dir() else [path]:
        if part.is_file():
            with part.open("rb") as file:
                while block := file.read(_HASH_BLOCK):
                    checksum.update(block)
    return checksum.hexdigest()


def recipe(unit: Unit) -> str:
    """Fingerprint of everything but the source that decides what the output holds."""
    told = asdict(unit)
    for name in ("source", "output", "overwrite"):
        del told[name]
    camera = unit.changes.undistort
    if camera is not None:
        told["changes"]["undistort"] = [camera.K.tolist(), camera.dist.tolist(), list(camera.size)]
    text = json.dumps({**told, "version": package_version()}, sort_keys=True)
    return xxhash.xxh3_64(text.encode()).hexdigest()


def convert_unit(unit: Unit, progress: Callable[[int], object] = lambda count: None) -> Outcome:
    """Convert one recording, unless the same conversion of the same bytes is there already. Never raises
    what a file can cause: a failure is an outcome."""
    begin = time.perf_counter()
    told: dict[str, Any] = {"source": str(unit.source), "output": str(unit.output)}
    try:
        remove_leftovers(unit.output)
        if not unit.source.exists():
            raise FormatError(f"{unit.source}: no such file.")
        checksum = file_checksum(unit.source)
        told |= {"source_bytes": _size(unit.source), "source_xxh3_128": checksum}
        mark = {"source_xxh3_128": checksum, "recipe": recipe(unit)}
        if unit.output.exists() and mark.items() <= made_from(unit.output).items():
            return Outcome(**told, status="skipped")
        if unit.output.exists() and not unit.overwrite:
            raise FormatError(
                f"{unit.output}: exists already and was not made by this conversion; say --overwrite to "
                f"replace it."
            )
        with open_recording(
            unit.source, format=unit.format, sensor=unit.sensor, stream=unit.stream, time_unit=unit.time_unit
        ) as recording:
            made = convert(
                recording, unit.output, target=unit.target, compression=unit.compression,
                changes=unit.changes, provenance=mark, overwrite=True, progress=progress,
            )  # fmt: skip
        return Outcome(
            **told, status="done", num_events=made.num_events, duration_s=made.duration_us * 1e-6,
            seconds=round(time.perf_counter() - begin, 3), notes=made.notes,
        )  # fmt: skip
    except (EventHPEError, OSError) as error:
        return Outcome(**told, status="failed", error=f"{type(error).__name__}: {error}")
    except MemoryError:
        return Outcome(**told, status="failed", error="MemoryError: not enough memory for this recording.")


def made_from(output: Path) -> dict[str, Any]:
    """What a converted file says about its making: in the provenance of HDF5 files, in the header of
    others."""
    try:
        with output.open("rb") as file:
            head = file.read(_HEADER_BYTES)
        if head.startswith(b"\x89HDF"):
            with open_hdf5(output) as stored:
                told = json.loads(plain_attribute(stored, "provenance", "{}"))
            return told if isinstance(told, dict) else {}
    except (OSError, FormatError, ValueError, TypeError):
        return {}
    found = _MARK.search(head)
    return {"source_xxh3_128": found[1].decode(), "recipe": found[2].decode()} if found else {}


def _size(path: Path) -> int:
    return (
        sum(p.stat().st_size for p in path.iterdir() if p.is_file()) if path.is_dir() else path.stat().st_size
    )


def find_sources(inputs: Iterable[Path]) -> list[tuple[Path, Path]]:
    """Recordings behind files, folders and glob patterns, each with its path relative to what was asked for.

    A folder stands for all recordings under it (recognised by content; a ROS 2 bag is one recording); hidden
    files and earlier outputs of temporary name are passed over.

    Raises:
        FormatError: nothing is there, or a folder holds no recording.
    """
    found: dict[Path, Path] = {}
    for given in inputs:
        matches = (
            [given] if given.exists() else [Path(m) for m in sorted(glob.glob(str(given), recursive=True))]
        )
        if not matches:
            raise FormatError(f"{given}: no such file, and no file matches it as a pattern.")
        for match in matches:
            if match.is_dir() and not (match / "metadata.yaml").is_file():
                inside = list(_recordings_in(match))
                if not inside:
                    raise FormatError(f"{match}: no file in this folder is a recording of a known format.")
                found.update((path, path.relative_to(match)) for path in inside)
            else:
                found[match] = Path(match.name)
    return sorted(found.items())


def _recordings_in(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir() and not (path / "metadata.yaml").is_file():
            yield from _recordings_in(path)
            continue
        try:
            sniff(path)
        except FormatError:
            continue
        yield path


def name_outputs(sources: Sequence[tuple[Path, Path]], folder: Path, target: str) -> list[tuple[Path, Path]]:
    """Source and output of each: the same tree under `folder`, the target's suffix; files of one folder that
    differ in their suffix only keep it in the name."""
    suffix = target_named(target).suffix
    stems: dict[Path, int] = {}
    for _, relative in sources:
        stem = relative.with_suffix("")
        stems[stem] = stems.get(stem, 0) + 1
    named = []
    for source, relative in sources:
        alone = stems[relative.with_suffix("")] == 1
        name = (relative.stem if alone else relative.name) + suffix
        named.append((source, folder / relative.with_name(name)))
    return named


def per_stream(unit: Unit) -> list[Unit]:
    """A unit for each camera of a recording, with the camera's name in the output's."""
    with open_recording(
        unit.source, format=unit.format, sensor=unit.sensor, time_unit=unit.time_unit
    ) as recording:
        streams = recording.streams
    if len(streams) == 1:
        return [unit]
    names = [re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_") or "camera" for name in streams]
    if len(set(names)) < len(names):
        names = [f"{name}{k}" for k, name in enumerate(names)]
    return [
        replace(
            unit, stream=k, output=unit.output.with_name(f"{unit.output.stem}.{name}{unit.output.suffix}")
        )
        for k, name in enumerate(names)
    ]


def run_batch(
    units: Sequence[Unit],
    report: Path | None,
    *,
    jobs: int = 1,
    told: Callable[[Outcome], object] = lambda o: None,
    refused: Sequence[Outcome] = (),
) -> list[Outcome]:
    """Convert all units; a failure stops none of the others.

    Args:
        report: JSONL file, one line per unit, appended as units end and rewritten in the order of the units
            at the end; None: no report.
        jobs: local processes; 1 works in this one.
        told: called with every outcome as it comes.
        refused: recordings of which no unit could be made.
    Returns:
        What was refused, then one outcome per unit, in the order of the units.
    """
    outcomes: dict[Path, Outcome] = {}

    def note(outcome: Outcome) -> None:
        outcomes[Path(outcome.output)] = outcome
        if report is not None:
            with report.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(outcome)) + "\n")
        told(outcome)

    for unit in units:
        unit.output.parent.mkdir(parents=True, exist_ok=True)
    if report is not None:
        report.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(report)
    if jobs == 1:
        for unit in units:
            note(convert_unit(unit))
    else:
        _in_processes(units, jobs, note)
    done = [*refused, *(outcomes[unit.output] for unit in units)]
    if report is not None:
        with PendingFile(report) as pending:
            lines = "".join(json.dumps(asdict(outcome)) + "\n" for outcome in done)
            pending.temporary.write_text(lines, encoding="utf-8")
    return done


def _in_processes(units: Sequence[Unit], jobs: int, note: Callable[[Outcome], None]) -> None:
    """Units in worker processes. A worker that dies takes its pool along; what was unfinished is then tried
    again one by one, so that only the unit that kills its process fails."""
    context = multiprocessing.get_context("spawn")  # forked HDF5 and thread state would be shared
    unfinished = list(units)
    try:
        with ProcessPoolExecutor(jobs, mp_context=context) as pool:
            futures = {pool.submit(convert_unit, unit): unit for unit in units}
            for future in as_completed(futures):
                note(future.result())
                unfinished.remove(futures[future])
    except BrokenProcessPool:
        pass
    while unfinished:
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            for unit in tuple(unfinished):
                unfinished.remove(unit)
                try:
                    note(pool.submit(convert_unit, unit).result())
                except BrokenProcessPool:
                    error = "the process that converted it died (killed, or out of memory)"
                    note(Outcome(str(unit.source), str(unit.output), "failed", error=error))
                    break
