"""Reads damaged copies of an HDF5 file: `python -m tests.events.hdf5_fuzz FILE COUNT SEED`.

Each copy has a few bytes changed or its end cut. A result or a FormatError is
fine; anything else ends the program.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import numpy as np

from eventhpe.errors import FormatError
from eventhpe.events.blocks import BlockReader, read_stored
from eventhpe.events.formats import ecf, hdf5_tables
from eventhpe.events.formats.dsec import open_dsec
from eventhpe.events.formats.hdf5_layouts import layout_of
from eventhpe.events.formats.options import OpenOptions
from eventhpe.events.store import open_store

_MEMORY = 6 << 30


def _read(path: Path) -> None:
    layout = layout_of(path)
    if layout in ("dsec", "eventhpe"):
        backend = open_dsec(path) if layout == "dsec" else open_store(path)
        backend.read_raw()
        backend.read(0, backend.num_events)
        backend.index_at(5000)
        backend.triggers(), backend.imu(), backend.frames()
        backend.close()
        return
    options = OpenOptions(layout)
    reader: BlockReader = (
        ecf.open_reader(path, options) if layout == "ecf" else hdf5_tables.open_reader(path, options)
    )
    _, side = read_stored(reader)
    for frame in side.frames[:2]:
        reader.load_frame(frame.ref)
    reader.close()


def _damaged(good: bytes, rng: np.random.Generator) -> bytes:
    data = np.frombuffer(good, np.uint8).copy()
    # Most bytes are event data; most changes go where headers and trees lie: to bytes that are not zero among
    # zeros.
    structure = np.flatnonzero((data != 0) & (np.convolve(data == 0, np.ones(9), "same") >= 4))
    for _ in range(rng.integers(1, 4)):
        place = rng.choice(structure) if rng.random() < 0.7 else rng.integers(0, len(data))
        kind = rng.integers(0, 3)
        data[place] = (rng.integers(0, 256), data[place] ^ (1 << rng.integers(0, 8)), 255)[kind]
    return data[: rng.integers(1, len(data))].tobytes() if rng.random() < 0.1 else data.tobytes()


def main(file: str, count: str, seed: str) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    path, good = Path(file), Path(file).read_bytes()
    copy = path.with_suffix(".damaged.h5")
    refused = 0
    for k in range(int(seed), int(seed) + int(count)):
        copy.write_bytes(_damaged(good, np.random.default_rng(k)))
        try:
            _read(copy)
        except FormatError:
            refused += 1
        except BaseException:
            print(f"seed {k}", file=sys.stderr)
            raise
    print(f"{count} tried, {refused} refused")


if __name__ == "__main__":
    main(*sys.argv[1:])
