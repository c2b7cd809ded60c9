"""Files without a header are recognised only where it is sure."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from eventhpe.events.formats.headerless import records_of


def camera_times(n: int, rng: np.random.Generator, start: int = 0) -> np.ndarray:
    return start + np.cumsum(rng.integers(0, 200, n))


def aedat1(n: int, seed: int = 0, start: int = 0) -> bytes:
    rng = np.random.default_rng(seed)
    records = np.empty(n, [("a", ">u2"), ("t", ">u4")])
    records["a"] = rng.integers(0, 1 << 15, n)
    records["t"] = camera_times(n, rng, start) & 0xFFFFFFFF
    return records.tobytes()


def dat(n: int, width: int = 640, height: int = 480, seed: int = 0, start: int = 0) -> bytes:
    rng = np.random.default_rng(seed)
    records = np.empty((n, 2), "<u4")
    records[:, 0] = camera_times(n, rng, start) & 0xFFFFFFFF
    x, y, p = rng.integers(0, width, n), rng.integers(0, height, n), rng.integers(0, 2, n)
    records[:, 1] = x | y << 14 | p << 28
    return records.tobytes()


@pytest.mark.parametrize("n", [100, 1000, 20_000])
@pytest.mark.parametrize("start", [0, 135_000_000, (1 << 32) - 5000])
def test_records_of_both_kinds_are_told(tmp_path: Path, n: int, start: int) -> None:
    path = tmp_path / "a.dat"
    for seed in range(5):
        for rest in (0, 3):
            path.write_bytes(aedat1(n, seed, start) + bytes(rest))
            assert records_of(path) == "aedat1"
            for size in ((304, 240), (640, 480), (1280, 720)):
                path.write_bytes(dat(n, *size, seed, start) + bytes(rest))
                assert records_of(path) == "dat"


def test_external_inputs_and_single_steps_back_do_not_disturb(tmp_path: Path) -> None:
    content = np.frombuffer(aedat1(2000), np.dtype([("a", ">u2"), ("t", ">u4")])).copy()
    content["a"][::50] |= 0x8000
    content["t"][1000] -= 150
    (tmp_path / "a").write_bytes(content.tobytes())
    assert records_of(tmp_path / "a") == "aedat1"


def test_other_content_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    random.seed(3)
    rng = np.random.default_rng(3)
    gradient = np.add.outer(np.arange(300), np.arange(300) // 2)
    contents = [
        b"",
        b"\x01" * 7,
        *(bytes(n) for n in (10, 1000, 100_000)),
        *(random.randbytes(n) for n in (50, 500, 5000, 50_000) for _ in range(50)),
        "\n".join(f"{k} {k % 346} {k % 260} {k % 2}" for k in range(5000)).encode(),
        "".join(f"{k:06d}" for k in range(9000)).encode(),
        "".join(f"{k:08d}" for k in range(9000)).encode(),
        "Some words in a row. ".encode("utf-16") * 300,
        *(gradient.astype(d).tobytes() for d in ("u1", "<u2", ">u2", "<u4", ">u4", "<f4", "<f8")),
        *(np.arange(20_000).astype(d).tobytes() for d in ("<u2", ">u2", "<u4", ">u4", "<i8", ">i8", "<f4")),
        np.cumsum(rng.integers(0, 50, 20_000)).astype("<u4").tobytes(),
        b"\x89PNG\r\n\x1a\n" + random.randbytes(4000),
        b"BM" + gradient.astype("u1").tobytes() * 3,
    ]
    for content in contents:
        path.write_bytes(content)
        assert records_of(path) is None, content[:40]


def test_too_few_records_are_not_sure(tmp_path: Path) -> None:
    for content in (aedat1(40), dat(40)):
        (tmp_path / "a").write_bytes(content)
        assert records_of(tmp_path / "a") is None


def test_damaged_records_give_an_answer(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for k in range(200):
        damaged = bytearray(aedat1(200) if k % 2 else dat(200))
        for position in rng.integers(0, len(damaged), 3):
            damaged[position] = rng.integers(0, 256)
        (tmp_path / "a").write_bytes(damaged)
        assert records_of(tmp_path / "a") in ("aedat1", "dat", None)


def test_real_files(shared: Path, tmp_path: Path) -> None:
    events = shared / "events"
    assert records_of(events / "containers/walking_128_aedat1_noheader.dat") == "aedat1"
    for path in ("psee-dat-ncars/sample_ncars.dat", "containers/person_vga_td.dat"):
        content = (events / path).read_bytes()
        at = 0
        while content[at : at + 2] == b"% ":
            at = content.index(b"\n", at) + 1
        (tmp_path / "a").write_bytes(content[at + 2 :])
        assert records_of(tmp_path / "a") == "dat"
    for path in ("davis346-evl/event.txt", "containers/board_346.npz", "containers/person_vga_evt3.raw"):
        assert records_of(events / path) is None
