"""DHP19's frames and labels against what the authors' code makes of the same recording (F1), to the digit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from eventhpe.data.dhp19 import DHP19Movement
from eventhpe.data.dhp19_cutting import CountImages, RateCutter, VoxelGrids
from eventhpe.data.dhp19_filters import INFRARED_BOXES, DHP19Filter, StageCounts, pixel_marks
from eventhpe.data.dhp19_frames import FramePacket, MovementFrames, official_frames
from eventhpe.data.dhp19_raw import RawBlock
from eventhpe.data.dhp19_settings import DHP19Settings, settings_of
from eventhpe.errors import FormatError, MissingAssetError, ShapeError, UnitError
from eventhpe.events import kernels_dhp19 as kernels
from eventhpe.events.count_frames import three_sigma
from eventhpe.events.types import Events
from eventhpe.events.voxel import voxelize
from tests.data.dhp19_fixture import f1_vicon, write_f1

F1_SETTINGS = DHP19Settings(events_per_frame=5000)
T_LAST = (1423360, 1821013, 2213866, 2610080, 3006826, 3405973, 3803893)
ROWS = (43, 83, 122, 162, 202, 242, 281)
ROWS_FLOOR = (43, 83, 122, 162, 201, 241, 281)
COUNTS = (
    (1328, 1160, 1338, 1174), (1314, 1220, 1258, 1208), (1211, 1280, 1287, 1222), (1201, 1342, 1231, 1226),
    (1326, 1246, 1163, 1265), (1290, 1168, 1250, 1292), (1218, 1198, 1287, 1297),
)  # fmt: skip
SUMS = (
    (178803, 156440, 175284, 165373), (165206, 163664, 167015, 161412), (159162, 169030, 172077, 158205),
    (169395, 178923, 157247, 162050), (178712, 168122, 161494, 169380), (167320, 165041, 172992, 173853),
    (169950, 162174, 168569, 173577),
)  # fmt: skip
FIRED = (
    (1031, 892, 1023, 921), (996, 941, 967, 932), (928, 992, 995, 949), (941, 1021, 941, 934),
    (1018, 964, 907, 984), (973, 927, 982, 999), (950, 944, 983, 1003),
)  # fmt: skip
HEADS = (
    (122, -6, 1691), (163, 76, 1711.5), (202.5, 155, 1731.25), (242, 234, 1751), (282, 314, 1771),
    (322, 394, 1791), (361.5, 473, 1810.75),
)  # fmt: skip
HEAD, HIP_L, HAND_R = 0, 6, 7


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("f1")
    write_f1(folder / "mov1.aedat")
    for rows in (301, 300, 200):
        scipy.io.savemat(folder / f"{rows}.mat", {"XYZPOS": f1_vicon(rows)})
    return folder


def movement(folder: Path, rows: int = 300) -> DHP19Movement:
    return DHP19Movement(1, 1, 1, folder / "mov1.aedat", folder / f"{rows}.mat")


def packets(folder: Path, settings: DHP19Settings = F1_SETTINGS, rows: int = 300) -> list[FramePacket]:
    return list(official_frames(movement(folder, rows), settings))


def test_f1_gives_the_authors_frames(folder):
    found = packets(folder)
    assert [p.t_last_us for p in found] == list(T_LAST)
    assert [p.row for p in found] == list(ROWS)
    assert [tuple(p.num_events.tolist()) for p in found] == list(COUNTS)
    assert [tuple(p.data.sum((0, 1)).tolist()) for p in found] == list(SUMS)
    assert [tuple((p.data > 0).sum((0, 1)).tolist()) for p in found] == list(FIRED)
    assert all(p.data.shape == (260, 346, 4) and p.data.dtype == np.uint8 for p in found)
    assert [p.index for p in found] == list(range(7)) and not any(p.empty for p in found)


def test_f1_gives_the_authors_labels(folder):
    found = packets(folder)
    assert [tuple(p.label_mm[HEAD]) for p in found] == list(HEADS)
    assert found[0].label_mm[HAND_R].tolist() == [822, -356, 851]
    assert found[1].label_mm[HAND_R].round(4).tolist() == [865.9333, -268.1333, 872.9667]
    assert all(np.isnan(p.label_mm[HIP_L]).all() for p in found)
    assert not np.isnan(np.delete(found[0].label_mm, HIP_L, axis=0)).any()


def test_f1_at_every_stage(folder):
    with MovementFrames(movement(folder), F1_SETTINGS) as frames:
        assert (frames.window.start_us, frames.window.stop_us) == (1_000_000, 4_000_000)
        assert frames.span == (1877 - 1, 73_275)  # counted from 1 by the authors, the last one included
        assert sum(len(block) for block in frames.surviving()) == 37_463
        assert frames.stages == StageCounts(71_399, 71_249, 59_249, 39_228, 38_496, 37_463)


def test_rows_without_the_rounding(folder):
    found = packets(folder, replace(F1_SETTINGS, label_k="floor"))
    assert [p.row for p in found] == list(ROWS_FLOOR)
    assert found[4].label_mm[HEAD].tolist() == [281.5, 313, 1770.75]  # rows 162 to 201


def test_markers_that_end_before_the_events(folder):
    found = packets(folder, rows=200)
    assert [int(p.data.sum()) for p in found] == [675900, 657297, 658474, 667615, 0]
    assert found[4].empty and np.isnan(found[4].label_mm).all() and not found[4].num_events.any()
    assert [tuple(p.label_mm[HEAD]) for p in found[:4]] == list(HEADS[:4])
    without = packets(folder, replace(F1_SETTINGS, drop_trailing_empty_frame=True), rows=200)
    assert [int(p.data.sum()) for p in without] == [675900, 657297, 658474, 667615]


def test_one_row_more_or_less_decides_about_the_last_frame(folder, tmp_path):
    for rows, frames, empty in ((281, 7, False), (280, 7, True)):
        path = tmp_path / f"{rows}.mat"
        scipy.io.savemat(path, {"XYZPOS": f1_vicon(rows)})
        found = list(official_frames(replace(movement(folder), labels=path), F1_SETTINGS))
        assert (len(found), found[-1].empty) == (frames, empty)


def test_a_recording_with_less_than_a_frame_gives_none(folder):
    assert packets(folder, DHP19Settings(events_per_frame=40_000)) == []
    assert len(packets(folder, DHP19Settings(events_per_frame=37_460))) == 1


def test_the_first_record_moves_nothing_here_but_is_there(folder):
    with MovementFrames(movement(folder), replace(F1_SETTINGS, skip_first_record=False)) as frames:
        assert frames.survey.num_events == 75_151 and frames.survey.t_first_us == 899_999
        assert frames.span == (1877, 73_276)


def test_what_frames_are_refused(folder, tmp_path):
    with pytest.raises(MissingAssetError, match=r"nothing\.mat"):
        packets(folder, rows="nothing")  # type: ignore[arg-type]
    (tmp_path / "empty.aedat").write_bytes(b"#!AER-DAT2.0\r\n# End of Preferences\r\n")
    with pytest.raises(FormatError, match="holds no events"):
        MovementFrames(replace(movement(folder), events=tmp_path / "empty.aedat"))


# ---- filters, against a plain twin


def plain_filter(block: RawBlock, hot: int, dt: int) -> tuple[list[int], list[int]]:
    """Indices that survive and counts after each stage, with the authors' formulas, counted from 1."""
    X = block.x.astype(int) + 1 + 346 * block.camera.astype(int)
    Y = block.y.astype(int) + 1
    inside = [i for i in range(len(block)) if block.x[i] < 346 and block.y[i] < 260 and block.camera[i] < 4]
    fired: dict[tuple[int, int], int] = {}
    for i in inside:
        fired[X[i], Y[i]] = fired.get((X[i], Y[i]), 0) + 1
    cool = [i for i in inside if fired[X[i], Y[i]] < hot]
    last = np.zeros((1385, 261), np.uint32)
    kept = []
    for i in cool:
        now = np.uint32(block.t[i])
        since = 0 if now < last[X[i], Y[i]] else int(now - last[X[i], Y[i]])
        if since <= dt:
            kept.append(i)
        if X[i] not in (1, 1384) and Y[i] not in (1, 260):
            own = last[X[i], Y[i]]
            last[X[i] - 1 : X[i] + 2, Y[i] - 1 : Y[i] + 2] = now
            last[X[i], Y[i]] = own
    first = [i for i in kept if not (780 < X[i] < 810 and 115 < Y[i] < 145)]
    second = [i for i in first if not (1252 < X[i] < 1259 and 136 < Y[i] < 144)]
    return second, [len(stage) for stage in (X, inside, cool, kept, first, second)]


def random_block(seed: int, n: int = 6000) -> RawBlock:
    """Events around seams, borders and lamps, some outside, some out of order."""
    rng = np.random.default_rng(seed)
    camera = rng.integers(0, 4, n)
    x = rng.choice([0, 1, 2, 344, 345, 87, 88, 116, 117, 213, 214, 219, 220, 346], n)
    y = rng.choice([0, 1, 2, 114, 115, 140, 141, 143, 144, 258, 259, 260], n)
    camera[rng.random(n) < 0.02] = 7
    t = np.sort(rng.integers(80_000, 3_000_000, n))
    swapped = rng.random(n) < 0.05
    t[swapped] -= rng.integers(0, 80_000, swapped.sum())
    return RawBlock(
        0, t, x.astype(np.uint16), y.astype(np.uint16), rng.integers(0, 2, n).astype(np.uint8),
        camera.astype(np.uint8),
    )  # fmt: skip


@pytest.mark.parametrize(("seed", "cut"), [(0, 6000), (1, 997), (2, 64)])
def test_filters_equal_a_plain_twin_however_the_file_is_cut(seed, cut):
    block, hot, dt = random_block(seed), 16, 300_000
    expected, stages = plain_filter(block, hot, dt)
    inside = (block.x < 346) & (block.y < 260) & (block.camera < 4)
    counts = np.zeros((260, 1384), np.int32)
    np.add.at(counts, (block.y[inside], 346 * block.camera[inside].astype(int) + block.x[inside]), 1)
    marks = pixel_marks(counts, DHP19Settings(hot_pixel_events=hot))
    filters = DHP19Filter(marks, dt)
    parts = [block.part(i, i + cut) for i in range(0, len(block), cut)]
    found = [(b.start, b.t.copy(), b.x.copy(), b.y.copy(), b.camera.copy()) for b in filters.survivors(parts)]
    assert [part[0] for part in found] == np.cumsum([0] + [len(part[1]) for part in found[:-1]]).tolist()
    for column, k in ((block.t, 1), (block.x, 2), (block.y, 3), (block.camera, 4)):
        assert np.array_equal(np.concatenate([part[k] for part in found]), column[expected])
    assert filters.stages == StageCounts(*stages)
    assert len(set(stages)) == 6  # every stage dropped something


def lone(t: list[int], column: list[int], row: list[int]) -> RawBlock:
    """Events by column of the map of four images."""
    x, camera = np.array(column) % 346, np.array(column) // 346
    return RawBlock(
        0, np.array(t, np.int64), x.astype(np.uint16), np.array(row, np.uint16),
        np.zeros(len(t), np.uint8), camera.astype(np.uint8),
    )  # fmt: skip


def kept(block: RawBlock) -> list[int]:
    marks = pixel_marks(np.zeros((260, 1384), np.int32), DHP19Settings())
    return np.concatenate([b.t.copy() for b in DHP19Filter(marks, 70_000).survivors([block])]).tolist()


def test_support_and_its_edges():
    at = 1_000_000
    assert kept(lone([at, at + 1], [500, 500], [50, 50])) == []  # no event supports its own pixel
    assert kept(lone([at, at + 70_000], [500, 501], [50, 51])) == [at + 70_000]
    assert kept(lone([at, at + 70_001], [500, 501], [50, 51])) == []
    assert kept(lone([at, at + 5], [345, 346], [50, 50])) == [at + 5]  # across the seam of two cameras
    assert kept(lone([at, at + 5], [1383, 1382], [50, 50])) == []  # the border supports nobody
    assert kept(lone([at, at + 5], [500, 500], [0, 1])) == []
    assert kept(lone([at, at - 90_000], [500, 501], [50, 50])) == [at - 90_000]  # back in time: saturates
    assert kept(lone([70_000, 70_001], [9, 700], [9, 9])) == [70_000]  # the map begins with zeros


def test_the_lamps_lie_where_the_authors_cut_them():
    marks = pixel_marks(np.zeros((260, 1384), np.int32), DHP19Settings())
    rows, columns = np.nonzero(marks >= kernels.FIRST_BOX)
    X, Y = columns + 1, rows + 1
    first = (780 < X) & (X < 810) & (115 < Y) & (Y < 145)
    second = (1252 < X) & (X < 1259) & (136 < Y) & (Y < 144)
    assert (first ^ second).all() and first.sum() == 29 * 29 and second.sum() == 6 * 7
    assert [box[0] for box in INFRARED_BOXES] == [2, 3]
    without = pixel_marks(np.zeros((260, 1384), np.int32), DHP19Settings(infrared_boxes=False))
    assert not without[1:-1, 1:-1].any() and (without[0] == kernels.BORDER).all()


# ---- images


def image_of(counts: np.ndarray) -> np.ndarray:
    """What `CountImages` makes of (H, W, C) counts."""
    content = CountImages(counts.shape[2], int(counts.sum()))
    y, x, camera = (k.repeat(counts[counts > 0]) for k in np.nonzero(counts))
    events = RawBlock(
        0, np.zeros(len(x), np.int64), x.astype(np.uint16), y.astype(np.uint16),
        np.zeros(len(x), np.uint8), camera.astype(np.uint8),
    )  # fmt: skip
    content.add(events, 0, len(events))
    image, number = content.take(0, 1)
    assert number.tolist() == counts.sum((0, 1)).tolist()
    again, none = content.take(0, 1)
    assert not again.any() and not none.any()  # begins anew
    return image


def test_counts_one_to_four():
    counts = np.zeros((260, 346, 4), int)
    counts[10, 20:24, 2] = 1, 2, 3, 4
    image = image_of(counts)
    assert image[10, 20:24, 2].tolist() == [65, 131, 197, 255]
    assert np.count_nonzero(image) == 4


def test_images_equal_the_plain_normalisation():
    rng = np.random.default_rng(5)
    for scale in (0.05, 0.6, 300.0):
        counts = rng.poisson(rng.exponential(scale, (260, 346, 4)) * (rng.random((260, 346, 4)) < 0.2))
        image = image_of(counts)
        for c in range(4):
            assert np.array_equal(image[..., c], three_sigma(counts[..., c])), (scale, c)
    assert counts.max() > 256


def test_a_single_pixel_and_equal_counts_saturate():
    counts = np.zeros((260, 346, 4), int)
    counts[3, 4, 0] = 9
    counts[5, 6:9, 1] = 2
    image = image_of(counts)
    assert image[3, 4, 0] == 255 and image[5, 6:9, 1].tolist() == [255] * 3


# ---- other windows


def test_windows_of_each_camera(folder):
    settings = replace(settings_of("modern"), events_per_frame=5000, windows="per_camera")
    found = packets(folder, settings)
    with MovementFrames(movement(folder), settings) as frames:
        per_camera = np.zeros(4, int)
        times: list[list[int]] = [[], [], [], []]
        for block in frames.surviving():
            per_camera += np.bincount(block.camera, minlength=4)
            for c in range(4):
                times[c] += block.t[block.camera == c].tolist()
    for c in range(4):
        of = [p for p in found if p.channel == c]
        assert len(of) == per_camera[c] // 1250 > 5
        assert [p.index for p in of] == list(range(len(of)))
        assert all(p.data.shape == (260, 346, 1) and p.num_events.tolist() == [1250] for p in of)
        assert [p.t_last_us for p in of] == times[c][1249::1250]


def test_fixed_rate_windows_hold_every_event_once(folder):
    settings = replace(settings_of("modern"), windows="fixed_rate", window_us=100_000)
    found = packets(folder, settings)
    assert [p.t0_us for p in found] == [1_000_000 + 100_000 * k for k in range(len(found))]
    assert len(found) == 29  # the last of 300 rows lies 10 ms before the end of the last of 30 windows
    with MovementFrames(movement(folder, 301), settings) as frames:
        whole = list(frames.packets())
        assert len(whole) == 30
        assert sum(int(p.num_events.sum()) for p in whole) == frames.stages.box2
    t = np.concatenate([b.t.copy() for b in MovementFrames(movement(folder), settings).surviving()])
    expected = np.histogram(t, 1_000_000 + 100_000 * np.arange(31))[0]
    assert [int(p.num_events.sum()) for p in whole] == expected.tolist()


def test_silence_gives_empty_windows():
    cutter = RateCutter(1000, 6000, 1000, CountImages(4, None))
    block = lone([1000, 1999, 2000, 4500], [5, 6, 7, 8], [5, 5, 5, 5])
    cuts = [*cutter.push(block), *cutter.finish()]
    assert [(c.t0_us, c.t_end_us, int(c.num_events.sum())) for c in cuts] == [
        (1000, 2000, 2), (2000, 3000, 1), (3000, 4000, 0), (4000, 5000, 1), (5000, 6000, 0),
    ]  # fmt: skip


def test_labels_at_the_end_of_windows(folder):
    found = packets(folder, replace(settings_of("modern"), events_per_frame=5000))
    assert [p.t_last_us for p in found] == list(T_LAST)
    n = 1 + (T_LAST[0] - 1_000_000) / 10_000
    assert found[0].label_mm[HEAD] == pytest.approx([100 + n, -50 + 2 * n, 1680 + n / 2], abs=1e-9)
    assert np.isnan(found[0].label_mm[HIP_L]).all()
    assert len(packets(folder, replace(settings_of("modern"), events_per_frame=5000), rows=200)) == 4


def test_voxel_grids(folder):
    settings = replace(settings_of("modern"), events_per_frame=10_000, voxel_bins=3)
    found = packets(folder, settings)
    assert [p.data.shape for p in found] == [(4, 3, 260, 346)] * 3
    with MovementFrames(movement(folder), settings) as frames:
        columns = [
            np.concatenate(c)
            for c in zip(*((b.t.copy(), b.x.copy(), b.y.copy(), b.p.copy(), b.camera.copy())
                           for b in frames.surviving()), strict=True)
        ]  # fmt: skip
    t, x, y, p, camera = (c[:10_000] for c in columns)
    of = camera == 2
    grid = voxelize(
        Events.from_columns(t[of], x[of], y[of], p[of], (260, 346)), 3, t0_us=int(t[0]), t1_us=int(t[-1]) + 1
    )
    assert np.array_equal(found[0].data[2], grid.data)
    assert found[0].data[2].sum() == pytest.approx((2.0 * p[of] - 1).sum(), abs=1e-2)


def test_voxel_grids_take_events_out_of_order():
    content = VoxelGrids(4, 2)
    block = lone([50, 40, 45], [5, 6, 7], [5, 5, 5])
    content.add(block, 0, 3)
    grids, number = content.take(45, 51)
    assert number.tolist() == [3, 0, 0, 0] and grids[0].sum() == pytest.approx(-3)


def test_min_events(folder):
    found = packets(folder, replace(F1_SETTINGS, min_events=1200))
    assert [p.t_last_us for p in found] == [t for t, c in zip(T_LAST, COUNTS, strict=True) if min(c) >= 1200]
    assert [p.index for p in found] == list(range(len(found)))
    assert tuple(found[0].label_mm[HEAD]) == HEADS[1]  # labels of the others stay what they are


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("events_per_frame", 30_001, ShapeError),
        ("events_per_frame", 0, ShapeError),
        ("windows", "some", FormatError),
        ("label", "begin", FormatError),
        ("label_k", "ceil", FormatError),
        ("time_jump", "never", FormatError),
        ("window_us", 50, UnitError),
        ("voxel_bins", -1, ShapeError),
        ("background_us", -1, UnitError),
        ("hot_pixel_events", 0, ShapeError),
        ("min_events", -1, ShapeError),
    ],
)
def test_settings_name_what_is_wrong(field, value, error):
    with pytest.raises(error, match=field):
        DHP19Settings(**{field: value})


def test_names_of_sets():
    assert DHP19Settings().variant == "7500events"
    assert settings_of("modern").variant == "7500shared"
    assert settings_of("modern", windows="per_camera").variant == "7500percamera"
    assert settings_of("modern", windows="fixed_rate", window_us=20_000).variant == "20000us"
    assert settings_of("faithful", voxel_bins=5).variant == "7500shared5bins"
    with pytest.raises(FormatError, match="mode must be"):
        settings_of("old")  # type: ignore[arg-type]
