"""DHP19 with fitted bodies: fit, files, clocks, cameras, gates, going on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from eventhpe.body.default import open_body
from eventhpe.body.fit_settings import FitSettings
from eventhpe.body.posing import BodyPoser
from eventhpe.data.dhp19 import find_movements
from eventhpe.data.dhp19_bodies_files import (
    CAMERA_TO_CHANNEL,
    BodiesName,
    find_bodies,
    read_body_attachment,
)
from eventhpe.data.dhp19_bodies_prepare import prepare_dhp19_bodies
from eventhpe.data.dhp19_cameras import projection_matrix
from eventhpe.data.dhp19_export import VICON_FIELDS
from eventhpe.data.dhp19_fits import FitOutcome, FitPlan, fit_path, read_movement_fit
from eventhpe.data.dhp19_frames import MovementFrames
from eventhpe.data.dhp19_settings import settings_of
from eventhpe.data.labels import read_labels
from eventhpe.errors import FormatError, MissingAssetError, UnitError
from eventhpe.evaluation.dhp19_bodies import body_markers
from eventhpe.events.formats.multidavis_writer import MultiDavisWriter
from eventhpe.events.open import open_recording
from tests.data.bodies_fixture import markers_mm, moving_fit

START_US, ROWS, NUM = 2_000_000, 61, 30_000
QUICK = FitPlan(
    settings=FitSettings(shape_frames=12, shape_iterations=30, coarse_iterations=20, pose_iterations=5)
)
HIPS = [VICON_FIELDS.index("hipR"), VICON_FIELDS.index("hipL")]


def write_movement(root: Path, which: tuple[int, int, int], xyz_mm: np.ndarray, *, seed: int) -> None:
    """Events of four cameras that see blobs, over the time of the markers, and before and after it."""
    s, e, m = which
    rng = np.random.default_rng(seed)
    path = root / f"DVS_movies/S{s}/session{e}/mov{m}.aedat"
    path.parent.mkdir(parents=True, exist_ok=True)
    end = 10_000 * (len(xyz_mm) - 1)
    t = np.sort(rng.integers(-200_000, end + 200_000, NUM))
    t[(t == 0) | (t == 1)] = -1
    x, y = rng.integers(150, 180, NUM), rng.integers(150, 180, NUM)
    camera, p = rng.integers(0, 4, NUM), rng.integers(0, 2, NUM)
    with MultiDavisWriter(path, t_offset_us=START_US) as writer:
        for part, specials in ((t < 1, (0, 1)), ((t >= 1) & (t <= end), (end,)), (t > end, ())):
            writer.append_merged(t[part], x[part], y[part], p[part], camera[part])
            for special in specials:
                writer.special(special)
    (root / "Vicon_data").mkdir(exist_ok=True)
    fields = {name: xyz_mm[:, j] for j, name in enumerate(VICON_FIELDS)}
    scipy.io.savemat(root / f"Vicon_data/S{s}_{e}_{m}.mat", {"XYZPOS": fields})


@pytest.fixture(scope="module")
def markers() -> dict[tuple[int, int, int], np.ndarray]:
    """Two movements of a subject; in the second the hips are missing for 0.3 s, a hand throughout."""
    fit = moving_fit(2 * ROWS)
    both = markers_mm(fit)
    first, second = both[:ROWS].copy(), both[ROWS:].copy()
    second[20:50, HIPS] = np.nan
    second[:, VICON_FIELDS.index("handR")] = np.nan
    return {(1, 1, 1): first, (1, 1, 2): second}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, markers: dict) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    for k, (which, xyz) in enumerate(markers.items()):
        write_movement(folder, which, xyz, seed=k)
    return folder


@pytest.fixture(scope="module")
def prepared(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bodies")
    told: list = []
    outcomes = prepare_dhp19_bodies(root, out, QUICK, told=told.append)
    assert [o.status for o in outcomes] == ["done", "done"], [o.error for o in outcomes]
    assert isinstance(told[0], FitOutcome) and told[0].frames == 26 and told[0].residual_mm < 15
    return out


def test_files_and_report(prepared: Path) -> None:
    names = [p.name for p in find_bodies(prepared)]
    assert names == [f"S1_1_{m}_cam{c}.h5" for m in (1, 2) for c in (2, 3)]
    report = [json.loads(line) for line in (prepared / "prepare-report.jsonl").read_text().splitlines()]
    assert [line["name"] for line in report] == ["S1", "S1_1_1", "S1_1_2"]
    assert report[2]["labels"] == 13 and report[2]["valid"] == 13 - 6, "six labels without hips"
    assert any("hipR is missing in 49.2 %" in fault for fault in report[2]["faults"])


def test_stored_markers_are_vicons_and_project_as_the_authors_do(prepared: Path, markers: dict) -> None:
    for path in find_bodies(prepared):
        name, labels = BodiesName.parse(path.name), read_labels(path)
        assert name is not None and labels.markers3d is not None and labels.markers2d is not None
        xyz = markers[name.subject, name.session, name.movement][labels.t_us // 10_000]
        P = projection_matrix(CAMERA_TO_CHANNEL[name.camera])
        h = np.concatenate([xyz, np.ones((*xyz.shape[:2], 1))], -1) @ P.T
        uv = np.stack([h[..., 0] / h[..., 2], 260 - h[..., 1] / h[..., 2]], -1)
        assert np.array_equal(np.isnan(labels.markers2d), np.isnan(uv))
        assert np.nanmax(np.abs(labels.markers2d - uv)) < 0.01
        assert np.nanmax(np.abs(labels.camera.project(labels.markers3d) - uv)) < 0.01
        back = labels.to_world(labels.markers3d)
        assert np.nanmax(np.abs(np.stack([back[..., 0], -back[..., 2], back[..., 1]], -1) * 1e3 - xyz)) < 0.01


def test_events_are_the_cameras_filtered_ones_from_the_start_on(prepared: Path, root: Path) -> None:
    (movement, _) = find_movements(root)
    with MovementFrames(movement, settings_of("modern")) as frames:
        assert frames.window.start_us == START_US
        blocks = [(b.t.copy(), b.x.copy(), b.y.copy(), b.camera.copy()) for b in frames.surviving()]
    t, x, y, camera = (np.concatenate(c) for c in zip(*blocks, strict=True))
    for number, channel in ((2, 3), (3, 2)):
        with open_recording(prepared / f"S1_1_1_cam{number}.h5") as recording:
            events = recording.read()
            assert recording.t_offset_us == START_US and recording.duration_us == 10_000 * (ROWS - 1) - 1
        of = camera == channel
        assert of.sum() > 3000 and np.array_equal(events.t, t[of] - START_US)
        assert np.array_equal(events.x, x[of]) and np.array_equal(events.y, y[of])
        assert 0 < events.t[0] and events.t[-1] < 10_000 * (ROWS - 1)


def test_bodies_fit_their_markers_and_joints(prepared: Path) -> None:
    poser = BodyPoser(open_body())
    fits = {}
    for path in find_bodies(prepared):
        labels, attachment = read_labels(path), read_body_attachment(path)
        assert labels.t_us.tolist() == list(range(0, 600_001, 50_000)) and labels.params.frame == "camera"
        p = labels.params
        joints = np.stack([poser.joints(p.betas[k], p.pose[k], p.transl[k]) for k in range(13)])
        assert np.abs(joints - labels.joints3d).max() < 1e-4
        assert labels.markers3d is not None and labels.valid is not None
        off = np.linalg.norm(body_markers(p, attachment) - labels.markers3d, axis=-1)[labels.valid] * 1e3
        known = BodiesName.parse(path.name)
        assert known is not None
        fit = read_movement_fit(fit_path(prepared, 1), f"S1_1_{known.movement}")
        np.testing.assert_allclose(off, fit.residual_mm[fit.valid], atol=0.05)
        assert np.nanmean(off) < 15
        fits[path.name] = (p.betas[0], attachment.offsets, attachment.shares)
    first, *others = fits.values()
    for other in others:  # shape and offsets belong to the subject
        assert all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_frames_without_hips_are_not_valid(prepared: Path) -> None:
    first, second = (read_labels(prepared / f"S1_1_{m}_cam2.h5").valid for m in (1, 2))
    assert first is not None and first.all()
    assert second is not None and second.tolist() == [not 20 <= 5 * k < 50 for k in range(13)]


def test_a_second_run_makes_nothing_and_other_settings_are_refused(prepared: Path, root: Path) -> None:
    times = {p: p.stat().st_mtime_ns for p in prepared.rglob("*.h5")}
    told: list = []
    outcomes = prepare_dhp19_bodies(root, prepared, QUICK, told=told.append)
    assert [o.status for o in told] == ["skipped"] * 3 and len(outcomes) == 2
    assert {p: p.stat().st_mtime_ns for p in prepared.rglob("*.h5")} == times
    # A camera more: its files are made, the others' are there.
    more = prepare_dhp19_bodies(root, prepared, QUICK, cameras=(1,), only=["S1_1_1"])
    assert [o.status for o in more] == ["done"] and (prepared / "S1_1_1_cam1.h5").is_file()
    (prepared / "S1_1_1_cam1.h5").unlink()


def test_other_bytes_need_overwrite(root: Path, prepared: Path, markers: dict, tmp_path: Path) -> None:
    other = tmp_path / "raw"
    for k, (which, xyz) in enumerate(markers.items()):
        write_movement(other, which, xyz, seed=k + 10)
    outcomes = prepare_dhp19_bodies(other, prepared, QUICK, only=["S1_1_1"])
    assert outcomes[0].status == "failed" and "say --overwrite" in outcomes[0].error
    fresh = prepare_dhp19_bodies(other, tmp_path / "out", QUICK, only=["S1_1_1"], drop=["S1_1_2"])
    assert [o.status for o in fresh] == ["done"], "dropped ones are not even fitted"
    assert read_movement_fit(fit_path(tmp_path / "out", 1), "S1_1_1").valid.all()
    with pytest.raises(MissingAssetError, match="S1_1_2 took no part"):
        read_movement_fit(fit_path(tmp_path / "out", 1), "S1_1_2")


def test_damage_is_told_for_the_movement_and_stops_no_other(markers: dict, tmp_path: Path) -> None:
    whole = markers[1, 1, 1]
    one_hip, no_hips = whole.copy(), whole.copy()
    one_hip[:, HIPS[1]], no_hips[:, HIPS] = np.nan, np.nan
    for k, xyz in enumerate((whole, one_hip, no_hips, np.full_like(whole, np.nan), whole), start=1):
        write_movement(tmp_path, (1, 1, k), xyz, seed=k)
    write_movement(tmp_path, (2, 1, 1), whole, seed=9)
    (tmp_path / "Vicon_data/S1_1_5.mat").write_bytes(b"damaged")
    (tmp_path / "Vicon_data/S2_1_1.mat").unlink()
    outcomes = {o.name: o for o in prepare_dhp19_bodies(tmp_path, tmp_path / "out", QUICK)}
    assert {n: o.status for n, o in outcomes.items()} == {
        "S1_1_1": "done", "S1_1_2": "left out", "S1_1_3": "left out", "S1_1_4": "left out",
        "S1_1_5": "failed", "S2_1_1": "failed",
    }  # fmt: skip
    assert "no frame passes the fit's gates" in outcomes["S1_1_2"].error
    assert all("no frame has three of hips and shoulders" in outcomes[f"S1_1_{m}"].error for m in (3, 4))
    assert "expected a MATLAB 5 or 7 file" in outcomes["S1_1_5"].error
    assert "no fit: MissingAssetError: S2: none of its 1 movements" in outcomes["S2_1_1"].error
    assert [p.name for p in find_bodies(tmp_path / "out")] == ["S1_1_1_cam2.h5", "S1_1_1_cam3.h5"]


def test_refusals(root: Path, tmp_path: Path) -> None:
    for step_us in (5_000, 20_000, 25_000, 100_000):
        with pytest.raises(UnitError, match="divides 50000"):
            FitPlan(step_us=step_us)
    with pytest.raises(FormatError, match="cameras 1 to 4"):
        prepare_dhp19_bodies(root, tmp_path, QUICK, cameras=(0, 2))
    with pytest.raises(FormatError, match="no recording S9_1_1"):
        prepare_dhp19_bodies(root, tmp_path, QUICK, only=["S9_1_1"])
    with pytest.raises(MissingAssetError, match=r"expected S1_1_1_cam2\.h5"):
        find_bodies(tmp_path / "nowhere")
    assert BodiesName.parse("S18_1_1_cam2.h5") is None and BodiesName.parse("S1_1_9_cam2.h5") is None
    assert replace(QUICK, step_us=10_000).step_us == 10_000


def test_a_chosen_subject_that_is_not_there_is_told(prepared: Path) -> None:
    with pytest.raises(MissingAssetError, match="no recording of S13, S14; there are those of S1"):
        find_bodies(prepared, (13, 14))
    with pytest.raises(FormatError, match="no fitted body"):
        read_body_attachment(prepared / "fits" / "S1.h5")
