"""Training data from recordings: shapes, draws by index alone, and when a pose stands."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from eventhpe.body.default import open_body
from eventhpe.data import synthetic
from eventhpe.data.crops import SquareCrop
from eventhpe.data.labels import Labels, read_flow_labels, read_labels
from eventhpe.data.plan import Job, make_recording
from eventhpe.data.sample import Clip, FlowPair, collate
from eventhpe.data.synthetic import ClipDataset, FlowDataset, list_recordings
from eventhpe.data.windows import WINDOW_US, window_frames
from eventhpe.errors import FormatError, MissingAssetError
from eventhpe.events.open import open_recording
from eventhpe.geometry.rotation import rotvec_to_rotmat


def clips(folder: Path, **changes) -> ClipDataset:
    return ClipDataset(folder, **({"length": 8, "num_windows": 3, "size_px": 32, "seed": 1} | changes))


def pairs(folder: Path, **changes) -> FlowDataset:
    return FlowDataset(folder, **({"length": 8, "size_px": 32, "seed": 1} | changes))


def same(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.fixture(scope="module")
def no_flow(tmp_path_factory, tiny_config) -> Path:
    folder = tmp_path_factory.mktemp("no_flow")
    config = replace(tiny_config, flow_labels=False, duration_s=0.2)
    make_recording(Job(folder / "a.h5", config, 5, 0))
    return folder


def find_start(labels: Labels, clip: Clip) -> tuple[int, float]:
    """The label at which the clip starts, and how far off it is."""
    off = np.abs(labels.params.transl - clip.transl[0].numpy()).max(axis=1) + np.abs(
        labels.joints3d - clip.joints3d[0].numpy()
    ).max(axis=(1, 2))
    return int(off.argmin()), float(off.min())


def locate(folder: Path, clip: Clip) -> tuple[Path, Labels, int]:
    found = [(p, labels := read_labels(p), *find_start(labels, clip)) for p in sorted(folder.glob("*.h5"))]
    path, labels, k, off = min(found, key=lambda f: f[3])
    assert off < 1e-5
    return path, labels, k


def crop_of_ray(ray: torch.Tensor, labels: Labels) -> SquareCrop:
    x, y, half = ray.double().tolist()
    fx, fy, cx, cy = labels.camera.K[[0, 1, 0, 1], [0, 1, 2, 2]]
    side = half * (fx + fy)
    return SquareCrop(x * fx + cx + 0.5 - side / 2, y * fy + cy + 0.5 - side / 2, side)


# ---------------------------------------------------------------- clips


def test_shapes_of_a_clip(recordings):
    data = clips(recordings)
    assert len(data) == 8
    for kind in ("counts", "binary"):
        clip = clips(recordings, kind=kind)[0]
        shapes = {name: tuple(getattr(clip, name).shape) for name in Clip._fields}
        assert shapes == {
            "frames": (3, 8, 32, 32), "crop": (3, 3), "rotmats": (4, 24, 3, 3), "transl": (4, 3),
            "joints3d": (4, 24, 3), "betas": (10,),
        }  # fmt: skip
        assert {v.dtype for v in clip} == {torch.float32}
        assert 0 <= clip.frames.min() and clip.frames.max() <= 1
    assert any(bool(data[k].frames.any()) for k in range(8))


def test_equal_index_equal_sample_in_any_order_and_process(recordings):
    data = clips(recordings)
    first = [data[k] for k in range(4)]
    other = clips(recordings)
    for k in (3, 1, 0, 2, 1):
        assert same(other[k], first[k])
    copy = pickle.loads(pickle.dumps(data))  # what a worker process gets, after files were opened
    assert same(copy[2], first[2])
    assert not same(first[0], first[1])
    assert not same(clips(recordings, seed=2)[0], first[0])
    assert sum(1 for _ in data) == 8, "one pass ends"


def test_only_so_many_recordings_stay_open_and_samples_do_not_care(recordings, monkeypatch):
    usual = clips(recordings)
    first = [usual[k] for k in range(8)]
    assert len(usual._recordings._open) > 1
    monkeypatch.setattr("eventhpe.data.synthetic.MAX_OPEN", 1)
    frugal = clips(recordings)
    for k in (*range(8), 0):
        assert same(frugal[k], first[k])
        assert len(frugal._recordings._open) == 1


def test_the_offset_goes_on_where_an_earlier_run_stopped(recordings):
    data, fresh = clips(recordings), clips(recordings)
    data.offset = 3
    assert same(data[0], fresh[3]) and same(data[2], fresh[5])
    with pytest.raises(IndexError):
        data[8]


def test_pose_k_stands_at_the_end_of_window_k_minus_1(recordings):
    """The start pose stands at t0 of window 0; window k holds the events between poses k and k + 1."""
    data = clips(recordings, augment=False, length=6)
    compared = 0
    for index in range(6):
        clip = data[index]
        path, labels, k0 = locate(recordings, clip)
        ks = k0 + 5 * np.arange(4)  # labels every 10 ms, windows of 50 ms
        np.testing.assert_allclose(clip.rotmats, rotvec_to_rotmat(labels.params.pose[ks]), atol=1e-6)
        np.testing.assert_allclose(clip.transl, labels.params.transl[ks], atol=1e-6)
        np.testing.assert_allclose(clip.joints3d, labels.joints3d[ks], atol=1e-6)
        np.testing.assert_allclose(clip.betas, labels.params.betas[0], atol=1e-6)
        with open_recording(path) as recording:
            events = recording.read()
        for w in range(3):
            crop, t = crop_of_ray(clip.crop[w], labels), labels.t_us[ks]
            if len(events.between(t[w], t[w + 1])) < 100:
                continue

            def make(t0, crop=crop, events=events):
                return window_frames(events, crop, t0_us=int(t0), t1_us=int(t0) + WINDOW_US, out_px=32)

            frames = clip.frames[w].numpy()
            # The ray is float32, so a pixel on the crop's border may fall to the other side.
            assert (np.abs(make(t[w]) - frames) < 0.1).mean() > 0.995
            wrong = np.abs(make(t[w] + 20_000) - frames)
            assert (wrong < 0.1).mean() < 0.995
            compared += 1
    assert compared >= 6


def test_augmented_bodies_fit_their_joints(recordings):
    body = open_body()
    pelvis_x = float(body.rest_joints(torch.zeros(10))[0, 0])
    batch = collate([clips(recordings, rest_pelvis_x=pelvis_x, length=12)[k] for k in range(12)])
    with torch.no_grad():
        joints = body.joints(batch.rotmats, batch.betas[:, None].expand(-1, 4, -1), batch.transl)
    error = (joints - batch.joints3d).norm(dim=-1).amax(dim=(1, 2))
    assert error.max() < 0.015
    assert (error < 1e-4).any() and (error > 1e-4).any(), "some are mirrored, some are not"


def test_joints_project_into_the_crop(recordings):
    """The ray, the crop and the 3D joints of a sample describe one picture, mirrored or not."""
    data = clips(recordings, length=16)
    inside = []
    for index in range(16):
        clip = data[index]
        for w in range(3):
            xc, yc, half = clip.crop[w]
            at = clip.joints3d[w + 1]
            uv = torch.stack([(at[:, 0] / at[:, 2] - xc) / half, (at[:, 1] / at[:, 2] - yc) / half], -1)
            inside.append(float((uv.abs() < 1).all(-1).float().mean()))
    assert np.mean(inside) > 0.9


def test_collate_stacks(recordings):
    data = clips(recordings)
    batch = collate([data[0], data[1]])
    assert (
        isinstance(batch, Clip) and batch.frames.shape == (2, 3, 8, 32, 32) and batch.betas.shape == (2, 10)
    )
    assert torch.equal(batch.transl[1], data[1].transl)


def mark_valid(source: Path, target: Path, valid: np.ndarray) -> None:
    """A copy of a recording in which only some labels may be trained on."""
    shutil.copy(source, target)
    with h5py.File(target, "r+") as file:
        for person in file["labels/people"].values():
            person["valid"] = valid


def test_clips_lie_within_runs_of_valid_labels(recordings, tmp_path):
    """Recordings without a run that is long enough give no clip; the others get their turn."""
    first, second, _ = list_recordings(recordings)
    K = len(read_labels(first).t_us)
    valid = np.zeros(K, bool)
    valid[7:25] = True  # three windows of 50 ms are 15 labels
    mark_valid(first, tmp_path / "a.h5", valid)
    mark_valid(second, tmp_path / "b.h5", np.arange(K) % 10 > 0)
    data = clips(tmp_path, augment=False, length=30)
    starts = set()
    for index in range(30):
        path, _, k = locate(tmp_path, data[index])
        assert path.name == "a.h5"
        starts.add(k)
    assert starts <= {7, 8, 9} and len(starts) > 1
    with pytest.raises(FormatError, match="no recording has 3 windows of 50 ms in a row with valid bodies"):
        clips([tmp_path / "b.h5"])[0]


def test_recordings_may_be_chosen(recordings):
    chosen = list_recordings(recordings)[1:2]
    data = clips(chosen, augment=False)
    assert data.paths == chosen and locate(recordings, data[0])[0] == chosen[0]


# ---------------------------------------------------------------- flow pairs


def test_shapes_of_a_flow_pair(recordings):
    data = pairs(recordings)
    pair = data[0]
    shapes = {name: tuple(getattr(pair, name).shape) for name in FlowPair._fields}
    assert shapes == {
        "frames": (8, 32, 32), "image0": (32, 32), "image1": (32, 32), "flow": (2, 32, 32), "valid": (32, 32),
    }  # fmt: skip
    assert {v.dtype for v in pair} == {torch.float32}
    assert 0 <= pair.image0.min() and 5 < pair.image0.max() <= 255
    batch = collate([data[0], data[1]])
    assert isinstance(batch, FlowPair) and batch.flow.shape == (2, 2, 32, 32)
    assert same(pairs(recordings)[0], pair) and not same(data[1], pair)
    data.offset = 2
    assert same(data[0], pairs(recordings)[2])
    with pytest.raises(IndexError):
        data[8]


@pytest.mark.parametrize("zoom", [1, 2])
def test_images_and_true_flow_are_cut_alike_and_flow_is_in_crop_pixels(recordings, monkeypatch, zoom):
    monkeypatch.setattr(synthetic, "random_crop", lambda joints2d, rng: SquareCrop(8, 4, 48))
    data = pairs(recordings, size_px=48 * zoom, length=6)

    def cut(image: np.ndarray) -> np.ndarray:
        return image[..., 4:52, 8:56]

    windows = []
    for path in sorted(recordings.glob("*.h5")):
        with open_recording(path) as recording:
            gray = recording.frames
            assert gray is not None
            images = [cut(gray[k]).astype(np.float32) for k in range(len(gray))]
        windows += zip(read_flow_labels(path), images[:-1], images[1:], strict=True)
    for k in range(6):
        pair = data[k]
        flow, valid, image0 = (
            getattr(pair, n).numpy()[..., ::zoom, ::zoom] for n in ("flow", "valid", "image0")
        )
        field, before, after = min(windows, key=lambda w: float(np.abs(cut(w[0].uv) * zoom - flow).sum()))
        assert valid.any() and np.abs(flow).max() > 0.1
        assert np.array_equal(flow, cut(field.uv) * zoom) and np.array_equal(valid, cut(field.valid))
        if zoom == 1:
            assert np.array_equal(image0, before) and np.array_equal(pair.image1.numpy(), after)


def test_true_flow_is_known_on_the_person_only(recordings):
    data = pairs(recordings, length=12)
    for k in range(12):
        pair = data[k]
        assert 0.02 < pair.valid.mean() < 0.9
        assert not pair.flow[:, pair.valid == 0].any()


def test_without_flow_labels_flow_is_unknown(no_flow):
    pair = pairs(no_flow)[0]
    assert not pair.flow.any() and not pair.valid.any()
    assert pair.image0.max() > 5


# ---------------------------------------------------------------- errors


def test_recordings_of_a_folder_are_sorted(recordings):
    assert [p.name for p in list_recordings(recordings)] == ["00000.h5", "00001.h5", "00002.h5"]
    assert list_recordings(recordings / "00001.h5") == [recordings / "00001.h5"]


@pytest.mark.parametrize("make", [clips, pairs])
def test_an_empty_or_missing_folder_is_refused(tmp_path, make):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(MissingAssetError, match=r"no \.h5 recordings.*eventhpe simulate"):
        make(tmp_path)
    with pytest.raises(MissingAssetError, match="nowhere"):
        make(tmp_path / "nowhere")


def test_recordings_shorter_than_a_clip_are_refused(no_flow):
    assert clips(no_flow, num_windows=4)[0].frames.shape[0] == 4, "0.2 s hold four windows"
    with pytest.raises(FormatError, match=r"a\.h5: shorter than 5 windows"):
        clips(no_flow, num_windows=5)[0]


def test_recordings_without_two_gray_images_are_refused(tmp_path, tiny_config):
    make_recording(Job(tmp_path / "a.h5", replace(tiny_config, duration_s=0.04), 5, 0))
    with pytest.raises(FormatError, match=r"a\.h5: FlowNet learns from gray images"):
        pairs(tmp_path)[0]


def test_labels_that_do_not_meet_the_windows_are_refused(tmp_path, tiny_config):
    """Labels every 20 ms cannot stand at the ends of windows of 50 ms."""
    config = replace(tiny_config, label_step_us=20_000, frame_step_us=100_000, flow_labels=False)
    make_recording(Job(tmp_path / "a.h5", config, 5, 0))
    with pytest.raises(FormatError, match=r"a\.h5"):
        clips(tmp_path, num_windows=2)[0]
