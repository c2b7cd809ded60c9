"""Compressed chunks of HDF5: what they unpack to is known before the library unpacks them."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest

from eventhpe.errors import FormatError
from eventhpe.events.formats.hdf5 import hdf5_errors
from eventhpe.events.formats.hdf5_chunks import Pipeline
from eventhpe.events.formats.hdf5_damage import CheckedRows, plain_attribute
from tests.events.small_files import small_events
from tools.fuzz.mutate import mutate

FILTERS: dict[str, dict[str, Any]] = {
    "gzip": {"compression": "gzip"},
    "shuffle": {"compression": "gzip", "shuffle": True},
    "sums": {"compression": "gzip", "shuffle": True, "fletcher32": True},
    "sums alone": {"fletcher32": True},
    "lzf": {"compression": "lzf", "shuffle": True},
    "blosc": {**hdf5plugin.Blosc()},
    "lz4": {**hdf5plugin.LZ4()},
    "zstd": {**hdf5plugin.Zstd()},
    "bitshuffle": {**hdf5plugin.Bitshuffle()},
    "none": {},
}


@pytest.mark.parametrize("name", FILTERS)
def test_chunks_that_unpack_to_less_are_found_before_hdf5_reads_past_them(name: str, tmp_path: Path) -> None:
    path, rng = tmp_path / "a.h5", np.random.default_rng(0)
    values = rng.integers(0, 1000, (100, 4)).astype(">i8")
    records = small_events().to_structured()
    with h5py.File(path, "w") as file:
        for key, data, chunk in (
            ("rows", values, (32, 4)),
            ("cells", values, (32, 3)),
            ("records", records, (32,)),
        ):
            file.create_dataset(key, data=data, chunks=chunk, **FILTERS[name])
        file.create_dataset("small", data=values, chunks=(8, 4), **FILTERS[name])
        file["whole"] = values
    with h5py.File(path) as file:
        for key in ("rows", "cells", "records", "small", "whole"):
            rows = CheckedRows(file[key], path)
            for i, j in ((0, 100), (5, 9), (31, 33), (90, 1000), (0, 32), (7, 7), (0, 1000)):
                assert np.array_equal(rows.read(i, j), file[key][i:j])
                rows.check(i, j)
                assert np.array_equal(CheckedRows(file[key], path).read(i, j), file[key][i:j])
    if not FILTERS[name]:  # the library does not even keep the sizes of such chunks
        return
    with h5py.File(path, "r+") as file:
        mask, short = file["small"].id.read_direct_chunk((0, 0))
        file["rows"].id.write_direct_chunk((32, 0), short, filter_mask=mask)
    with h5py.File(path) as file:
        rows = CheckedRows(file["rows"], path)
        assert np.array_equal(rows.read(0, 32), values[:32])
        for wrong in (lambda: rows.read(0, 100), lambda: rows.check(40, 41)):
            with pytest.raises(FormatError, match="chunks of /rows are damaged"):
                wrong()


@pytest.mark.parametrize(
    "told",
    [
        [(32001, ())], [(32001, (2, 2, 8))], [(32008, (0, 4))], [(32008, (0, 4, 4, 0, 2))],
        [(32008, (0, 4, 8, 0, 9))], [(2, (4,)), (1, (4,))], [(2, ()), (1, (4,))],
        [(32000, (4, 261, 1 << 30))], [(1, (4,)), (32015, (3,))],
    ],
)  # fmt: skip
def test_impossible_parameters_of_filters(told: list[tuple[int, tuple[int, ...]]]) -> None:
    """Blosc reads its fourth parameter, whether there is one or not."""
    plist = SimpleNamespace(
        get_nfilters=lambda: len(told), get_filter=lambda k: (told[k][0], 1, told[k][1], b"")
    )
    kind = SimpleNamespace(get_size=lambda: 8)
    stored = SimpleNamespace(get_create_plist=lambda: plist, get_type=lambda: kind)
    with pytest.raises(ValueError, match="filters"):
        Pipeline(SimpleNamespace(chunks=(16,), id=stored, name="/x"))


@pytest.mark.parametrize("name", ["gzip", "lzf", "blosc", "lz4", "zstd", "bitshuffle"])
def test_damaged_chunks_give_what_hdf5_gives_or_an_error(name: str, tmp_path: Path) -> None:
    path, rng = tmp_path / "a.h5", np.random.default_rng(1)
    values = rng.integers(0, 40, 256).astype("<i4")
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=values, chunks=(256,), **FILTERS[name])
        _, sound = file["x"].id.read_direct_chunk((0,))
    read = 0
    for k in range(60):
        with h5py.File(path, "r+") as file:
            file["x"].id.write_direct_chunk((0,), mutate(sound, sound, np.random.default_rng(k)) or b"x")
        with h5py.File(path) as file, contextlib.suppress(FormatError), hdf5_errors(path):
            assert np.array_equal(CheckedRows(file["x"], path).read(0, 256), file["x"][:])
            read += 1
    assert read < 60


def test_attributes_of_other_types_are_not_read(tmp_path: Path) -> None:
    """A damaged type turned into sequences or references leads the library through memory that is not
    there."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["text"], file.attrs["number"], file.attrs["size"] = "640x480", 7, np.array([260, 346])
        sequences = np.empty(1, object)
        sequences[0] = np.arange(3, dtype=np.int32)
        file.attrs.create("sequences", sequences, dtype=h5py.vlen_dtype(np.int32))
        file.attrs["reference"] = file.ref
        file.attrs["large"] = np.zeros(7000, np.int64)
        assert plain_attribute(file, "text") == "640x480" and plain_attribute(file, "number") == 7
        assert plain_attribute(file, "size").tolist() == [260, 346] and plain_attribute(file, "none", 3) == 3
        for name in ("sequences", "reference", "large"):
            assert plain_attribute(file, name) is None, name
