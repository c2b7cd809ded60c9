"""APS frames and IMU samples inside AEDAT 2.0."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from eventhpe.events import kernels_aedat as kernels
from eventhpe.events.blocks import Side, read_stored
from eventhpe.events.formats.aedat2 import Aedat2Reader, open_reader
from eventhpe.events.formats.aedat2_frames import DavisWords
from eventhpe.events.formats.options import OpenOptions

CHIP = "eu.seebetter.ini.chips.davis.Davis128"
H = W = 128
PIXELS = H * W


def aps(x: int, y: int, kind: int, adc: int) -> int:
    return 1 << 31 | (H - 1 - y) << 22 | (W - 1 - x) << 12 | kind << 10 | adc


def imu_words(values: list[int], t: int) -> list[tuple[int, int]]:
    return [(1 << 31 | code << 28 | (v & 0xFFFF) << 12 | 3 << 10, t) for code, v in enumerate(values)]


def dvs(t: int) -> tuple[int, int]:
    return (5 << 22 | 7 << 12 | 1 << 11, t)


def write(path: Path, records: list[tuple[int, int]], *header: str) -> Path:
    lines = ["#!AER-DAT2.0", *header, "#End Of ASCII Header"]
    head = "".join(line + "\r\n" for line in lines).encode()
    path.write_bytes(head + np.array(records, ">u4").tobytes())
    return path


def opened(path: Path, sensor: str = "DAVIS128") -> Aedat2Reader:
    return open_reader(path, OpenOptions("aedat2", sensor))


def reads(kind: int, adc: NDArray[np.int64], t0: int, camera: int = 0) -> list[tuple[int, int]]:
    """One read of all pixels, column by column from the right, one word per µs."""
    return [
        (aps(W - 1 - k // H, k % H, kind, int(adc[k % H, W - 1 - k // H])) | camera, t0 + k)
        for k in range(PIXELS)
    ]


def noise(seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    reset, signal = rng.integers(500, 1024, (H, W)), rng.integers(0, 700, (H, W))
    return reset, signal, np.clip(reset - signal, 0, 1023) >> 2


def test_global_shutter_frame_between_events(tmp_path: Path) -> None:
    reset, signal, gray = noise(0)
    records = [dvs(99)]
    for k, word in enumerate(reads(0, reset, 100) + reads(1, signal, 50_000)):
        records += [word, dvs(word[1])] if k % 100 == 0 else [word]
    reader = opened(write(tmp_path / "a.aedat", records))
    raw, side = read_stored(reader)
    assert len(raw) == 1 + 328 and side.warnings() == ()
    assert side.elements == {"APS words": 2 * PIXELS}
    (frame,) = side.frames
    assert frame.t_us == (100 + PIXELS - 1 + 50_000) // 2  # last reset read to first signal read
    image = reader.load_frame(frame.ref)
    assert image.dtype == np.uint8 and np.array_equal(image, gray)
    assert np.array_equal(pickle.loads(pickle.dumps(reader)).load_frame(frame.ref), gray)


@pytest.mark.parametrize("block", [1000, 1 << 17])
def test_rolling_shutter_frames_over_block_borders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr("eventhpe.events.formats.aedat2_words.BLOCK_EVENTS", block)
    records, grays = [], []
    for k in range(2):
        reset, signal, gray = noise(k)
        grays.append(gray)
        first, second = reads(0, reset, 100_000 * k), reads(1, signal, 100_000 * k + 2000)
        # Signal reads follow 20 columns behind the reset reads.
        both = sorted(first + second, key=lambda word: word[1])
        records += both
    reader = opened(write(tmp_path / "a.aedat", records))
    _, side = read_stored(reader)
    assert [f.t_us for f in side.frames] == [1000, 101_000]  # first reset read to first signal read
    assert side.warnings() == ()
    for frame, gray in zip(side.frames, grays, strict=True):
        assert np.array_equal(reader.load_frame(frame.ref), gray)


def test_incomplete_frames_are_counted_and_reading_falls_into_step_again(tmp_path: Path) -> None:
    reset, signal, gray = noise(3)
    whole = reads(0, reset, 0) + reads(1, signal, 20_000)
    cut = whole[:5000] + whole[5100:]
    records = whole[20_000:] + cut + whole + whole[:PIXELS]
    reader = opened(write(tmp_path / "a.aedat", [(a, k) for k, (a, _) in enumerate(records)]))
    _, side = read_stored(reader)
    assert len(side.frames) == 1
    assert np.array_equal(reader.load_frame(side.frames[0].ref), gray)
    assert side.losses == {
        "APS words outside of any frame skipped": 2 * PIXELS - 20_000,  # the file begins within signal reads
        "incomplete APS frames skipped": 2,
    }


@pytest.mark.parametrize(("sensor", "cameras", "low"), [("StereoDAVIS240", 2, 1), ("MultiDAVIS240", 4, 3)])
def test_frames_of_several_cameras(tmp_path: Path, sensor: str, cameras: int, low: int) -> None:
    height, width = 180, 240
    rng = np.random.default_rng(1)
    adc = rng.integers(0, 1024, (2, cameras, height, width)) & ~low
    y, x = np.mgrid[:height, :width]
    words = []
    for kind in (0, 1):
        pixel = 1 << 31 | (height - 1 - y) << 22 | (width - 1 - x) << 12 | kind << 10
        for camera in range(cameras):
            words.append((pixel | adc[kind, camera] | camera).reshape(-1))
    a = np.concatenate(words)
    reader = opened(write(tmp_path / "a.aedat", list(zip(a.tolist(), range(len(a)), strict=True))), sensor)
    assert reader.streams == tuple(f"camera{k}" for k in range(cameras))
    _, side = read_stored(reader)
    assert [f.camera for f in side.frames] == list(range(cameras)) and side.warnings() == ()
    for camera, frame in enumerate(side.frames):
        expected = np.clip(adc[0, camera] - adc[1, camera], 0, 1023) >> 2
        assert np.array_equal(reader.load_frame(frame.ref), expected)


def test_frame_states_equal_a_plain_twin_on_random_words() -> None:
    """Small sensor, random order of reads: compared with dictionaries of pixels."""
    width, height = 3, 2
    layout = np.zeros(kernels.LAYOUT_SIZE, np.int64)
    layout[kernels.WIDTH], layout[kernels.HEIGHT] = width, height
    rng = np.random.default_rng(0)
    emitted = 0
    for trial in range(60):
        words = []
        for _ in range(6):
            pixels = [(x, y) for x in range(width) for y in range(height)]
            frame = [(x, y, 0) for x, y in pixels] + [(x, y, 1) for x, y in pixels]
            drop = rng.random(len(frame)) < (0.0 if trial % 2 else 0.05)
            words += [w for w, d in zip(frame, drop, strict=True) if not d]
        words = words[rng.integers(0, 12) :]
        records = np.array(
            [(1 << 31 | y << 22 | x << 12 | k << 10, i) for i, (x, y, k) in enumerate(words)], ">u4"
        )
        side, state = Side(), DavisWords(1, ())
        for start in range(0, len(records), 5):  # the state travels from block to block
            part = records[start : start + 5]
            state = DavisWords(1, state.numbers())
            other = np.arange(len(part))
            state.collect(
                np.ascontiguousarray(part).view(np.uint64).reshape(-1),
                layout,
                other,
                other + start,
                start,
                None,
                side,
            )
        state.end(side)
        expected, lost, stray = twin(words, width * height)
        assert [(f.t_us, f.ref) for f in side.frames] == expected
        assert side.losses.get("incomplete APS frames skipped", 0) == lost
        assert side.losses.get("APS words outside of any frame skipped", 0) == stray
        emitted += len(expected)
    assert emitted > 100


def twin(
    words: list[tuple[int, int, int]], pixels: int
) -> tuple[list[tuple[int, tuple[int, ...]]], int, int]:
    frames: list[tuple[int, tuple[int, ...]]] = []
    lost = stray = 0
    resets: list[int] = []
    signals: list[int] = []
    first: tuple[int, int] | None = None
    for i, (x, y, kind) in enumerate(words):
        if kind == 0:
            if (x, y) == first:
                lost += 1
                first = None
            if first is None:
                first, resets, signals = (x, y), [], []
            resets.append(i)
        elif first is None:
            stray += 1
        else:
            signals.append(i)
            if len(signals) == pixels:
                before = [r for r in resets if r < signals[0]]
                start = before[-1] if len(before) >= pixels else resets[0]
                if len(resets) == pixels:
                    frames.append(((start + signals[0]) // 2, (resets[0], i - resets[0] + 1, 0)))
                else:
                    lost += 1
                first = None
    return frames, lost + (first is not None), stray


def test_imu_samples_with_default_scales(tmp_path: Path) -> None:
    values = [8192, -4096, 16384, 340, 655, -1310, 131]
    broken = imu_words(values, 30)[:4]
    records = [*imu_words(values, 10)[3:], dvs(11), *imu_words(values, 20), *broken, *imu_words(values, 40)]
    records[9:9] = [dvs(20)]  # events may come between
    _, side = read_stored(opened(write(tmp_path / "a.aedat", records)))
    imu = side.imu(0)
    assert imu is not None and imu.t_us.tolist() == [20, 40]
    assert imu.accel.tolist() == [[1.0, -0.5, 2.0]] * 2
    assert np.allclose(imu.gyro, [[10.0, -20.0, 2.0]] * 2) and imu.temperature.tolist() == [36.0, 36.0]
    assert side.losses == {"incomplete IMU samples skipped": 2}
    assert len(side.remarks) == 1 and "true ranges are" in next(iter(side.remarks))
    assert side.elements["IMU words"] == 4 + 7 + 4 + 7


def test_imu_scales_of_the_header_are_used(tmp_path: Path) -> None:
    header = (
        '#  <entry key="ImuAccelScale" value="ImuAccelScaleG8"/>',
        '#  <entry key="ImuGyroScale" value="GyroFullScaleDegPerSec1000"/>',
    )
    path = write(tmp_path / "a.aedat", imu_words([4096, 0, 0, 0, 328, 0, 0], 5), *header)
    _, side = read_stored(opened(path))
    imu = side.imu(0)
    assert imu is not None and imu.accel[0, 0] == 1.0 and np.isclose(imu.gyro[0, 0], 10.0)
    assert side.warnings() == ()


def test_words_of_one_imu_sample_have_one_time(tmp_path: Path) -> None:
    records = imu_words([1] * 7, 5)
    records[4] = (records[4][0], 6)
    _, side = read_stored(opened(write(tmp_path / "a.aedat", records)))
    assert side.imu(0) is None and side.losses == {"incomplete IMU samples skipped": 1}


def test_random_words_give_a_result(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    for sensor in ("DAVIS128", "MultiDAVIS346", "DVS640"):
        a = rng.integers(0, 1 << 32, 20_000)
        a[::2] |= 1 << 31
        path = write(
            tmp_path / "a.aedat",
            list(zip(a.tolist(), rng.integers(0, 1 << 32, 20_000).tolist(), strict=True)),
        )
        raw, side = read_stored(opened(path, sensor))
        assert (
            len(raw) + sum(side.elements.values()) + side.losses["words that are no events skipped"] == 20_000
        )


def test_real_imu_of_a_davis240(shared: Path) -> None:
    reader = open_reader(shared / "events/davis240c-imu/IMU_translBoxes.aedat", OpenOptions("aedat2"))
    raw, side = read_stored(reader)
    assert len(raw) == 162_771 and side.elements == {"IMU words": 33_837}
    imu = side.imu(0)
    assert imu is not None and len(imu) == 4833 and side.losses == {"incomplete IMU samples skipped": 1}
    assert np.linalg.norm(np.median(imu.accel, 0)) == pytest.approx(1.0, abs=0.1)  # gravity
    assert 20 < np.median(imu.temperature) < 45
    assert imu.t_us[0] == 294_976_899


def test_mixed_words_of_a_made_file(shared: Path) -> None:
    path = shared / "events/containers/board_346_aps_imu.aedat"
    raw, side = read_stored(open_reader(path, OpenOptions("aedat2")))
    assert len(raw) == 60_000
    assert side.elements == {"APS words": 1152, "IMU words": 84, "special words": 3}
    imu, triggers = side.imu(0), side.triggers(0)
    assert imu is not None and triggers is not None
    assert len(imu) == 12 and imu.accel[0].tolist() == [100 / 8192, -200 / 8192, 2.0]
    assert triggers.t_us.tolist() == [32_728, 69_058, 108_132] and triggers.value.tolist() == [1, 1, 1]
    data = np.frombuffer(path.read_bytes()[350:], ">u4").reshape(-1, 2).astype(np.int64)
    words = [
        (a >> 12 & 0x3FF, a >> 22 & 0x1FF, a >> 10 & 3)
        for a, _ in data.tolist()
        if a >> 31 and a >> 10 & 3 != 3
    ]
    frames, lost, stray = twin(words, 346 * 260)
    assert frames == side.frames == [] and stray == 0
    assert side.losses == {"incomplete APS frames skipped": lost}
