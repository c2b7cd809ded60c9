"""Motion clips and files: interpolation, frames, round trips, refusal of foreign and damaged files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from eventhpe.body.fk import forward_kinematics, sole_points
from eventhpe.body.motion import MotionClip, move_params
from eventhpe.body.motion_file import Y_UP_TO_Z_UP, load_amass, load_motion, save_motion
from eventhpe.body.params import BodyParams
from eventhpe.errors import FormatError, ShapeError
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.skeleton import SMPL_SKELETON

T = 7


def rest_body() -> np.ndarray:
    rng = np.random.default_rng(3)
    rest = rng.normal(0, 0.3, (24, 3))
    rest[0] = [0.01, 0.2, -0.4]  # far from the origin, so that a forgotten pelvis shows
    return rest


REST = rest_body()


def level_camera() -> Camera:
    """A camera 1.2 m above the floor, 4 m in front of the origin, pitched a little down."""
    R = Rotation.from_euler("x", 10, degrees=True).as_matrix() @ np.diag([1.0, -1, -1])
    return replace(Camera.from_focal(300, (260, 346)), R_world_to_cam=R, t_world_to_cam=-R @ [0.2, 1.2, 4.0])


def make_clip(frame: str = "camera", camera: Camera | None = None, model: str = "open") -> MotionClip:
    rng = np.random.default_rng(1)
    params = BodyParams(
        betas=np.broadcast_to(rng.normal(size=10), (T, 10)),
        global_orient=rng.normal(0, 0.8, (T, 3)),
        body_pose=rng.normal(0, 0.4, (T, 23, 3)),
        transl=rng.normal(0, 0.3, (T, 3)) + np.array([0, 0, 3]),
        model=model,
        gender="female",
        frame=frame,
    )
    return MotionClip(
        params=params,
        t_us=np.arange(T, dtype=np.int64) * 33_333 + 5_000,
        rest_joints=REST,
        camera=camera,
        confidence=rng.uniform(size=(T, 24)),
        provenance={"recording": "a.h5", "weights": ["base"], "window_us": 33_333},
    )


def test_moving_a_body_moves_every_joint_rigidly() -> None:
    clip = make_clip()
    R = Rotation.from_rotvec([0.4, -1.0, 2.0]).as_matrix()
    t = np.array([1.0, 2, 3])
    moved = move_params(clip.params, R, t, REST[0], frame="world")
    found, _ = forward_kinematics(REST, moved.pose, moved.transl)
    np.testing.assert_allclose(found, clip.joints() @ R.T + t, atol=1e-9)


def test_world_joints_are_the_camera_joints_moved_by_the_extrinsics() -> None:
    camera = level_camera()
    clip = make_clip(camera=camera)
    world = clip.to_world()
    assert world.params.frame == "world"
    np.testing.assert_allclose(camera.to_camera_frame(world.joints()), clip.joints(), atol=1e-9)
    back = world.to_camera()
    np.testing.assert_allclose(back.joints(), clip.joints(), atol=1e-9)
    assert world.to_world() is world and clip.to_camera() is clip


def test_unknown_extrinsics_mean_a_level_camera_and_feet_on_the_floor() -> None:
    clip = make_clip(camera=Camera.from_focal(300, (260, 346)))
    world = clip.to_world()
    np.testing.assert_allclose(
        np.diff(world.joints(), axis=1), np.diff(clip.joints(), axis=1) * [1, -1, -1], atol=1e-9
    )
    positions, rotations = forward_kinematics(REST, world.params.pose, world.params.transl)
    assert np.percentile(sole_points(REST, positions, rotations)[..., 1].min(1), 5) == pytest.approx(
        0, abs=1e-9
    )
    with pytest.raises(ShapeError, match="extrinsics"):
        world.to_camera()


def test_interpolation_and_framerate() -> None:
    clip = make_clip()
    assert clip.framerate == pytest.approx(30, abs=1e-3)
    np.testing.assert_allclose(clip.at(clip.t_us).pose, clip.params.pose, atol=1e-9)
    one = clip.at(int(clip.t_us[2]))
    assert one.transl.shape == (3,) and one.pose.shape == (24, 3)
    np.testing.assert_allclose(one.transl, clip.params.transl[2], atol=1e-12)
    middle = clip.at((int(clip.t_us[0]) + int(clip.t_us[1])) / 2)
    np.testing.assert_allclose(middle.transl, clip.params.transl[:2].mean(0), atol=1e-12)
    np.testing.assert_allclose(clip.at(10**12).transl, clip.params.transl[-1])


def test_bad_clips_are_refused() -> None:
    clip = make_clip()
    with pytest.raises(ShapeError, match="increase"):
        replace(clip, t_us=np.zeros(T, np.int64))
    with pytest.raises(ShapeError, match="integer"):
        replace(clip, t_us=np.arange(T) / 30)
    with pytest.raises(ShapeError, match="rest_joints"):
        replace(clip, rest_joints=np.zeros((3, 24, 3)))
    with pytest.raises(ShapeError, match="JSON"):
        replace(clip, provenance={"array": np.zeros(2)})
    with pytest.raises(ValueError, match="read-only"):
        clip.confidence[0] = 0


@pytest.mark.parametrize("frame", ["camera", "world"])
@pytest.mark.parametrize("with_camera", [False, True])
@pytest.mark.parametrize("model", ["open", "smpl"])
def test_round_trip(tmp_path: Path, frame: str, with_camera: bool, model: str) -> None:
    clip = make_clip(frame, level_camera() if with_camera else None, model)
    loaded = load_motion(save_motion(tmp_path / "motion.npz", clip))
    for name in ("betas", "global_orient", "body_pose", "transl"):
        np.testing.assert_allclose(
            getattr(loaded.params, name), getattr(clip.params, name), atol=1e-6, err_msg=name
        )
    assert (loaded.params.model, loaded.params.gender, loaded.params.frame) == (model, "female", frame)
    np.testing.assert_array_equal(loaded.t_us, clip.t_us)
    np.testing.assert_array_equal(loaded.confidence, clip.confidence)
    np.testing.assert_allclose(loaded.joints(), clip.joints(), atol=1e-6)
    assert loaded.provenance == clip.provenance
    assert (loaded.camera is None) == (not with_camera)
    if loaded.camera is not None and clip.camera is not None:
        assert loaded.camera.size == (260, 346)
        for name in ("K", "dist", "R_world_to_cam", "t_world_to_cam"):
            np.testing.assert_array_equal(getattr(loaded.camera, name), getattr(clip.camera, name))
    assert [p.name for p in tmp_path.iterdir()] == ["motion.npz"]  # nothing temporary stays


def test_the_file_is_an_upright_amass_file(tmp_path: Path) -> None:
    camera = level_camera()
    clip = make_clip(camera=camera)
    with np.load(save_motion(tmp_path / "motion.npz", clip), allow_pickle=False) as d:
        assert d["poses"].shape == (T, 156) and not d["poses"][:, 66:].any()
        assert not d["betas"].any() and str(d["body_model"]) == "open" and str(d["gender"]) == "female"
        np.testing.assert_array_equal(d["body_betas"], clip.params.betas)
        assert float(d["mocap_framerate"]) == pytest.approx(30, abs=1e-3)
        assert "SMPL viewers" in str(d["note"]) and int(d["schema_version"]) == 1
        assert json.loads(str(d["provenance"]))["recording"] == "a.h5"
        np.testing.assert_array_equal(d["cam_transl"], clip.params.transl)
        np.testing.assert_array_equal(d["rest_pelvis"], REST[0])
        assert tuple(d["joint_names"]) == SMPL_SKELETON.joints

        # the AMASS keys alone, posed about the pelvis, give the camera-frame joints moved rigidly into Z up
        pose = np.concatenate([d["poses"][:, :66].reshape(T, 22, 3), d["hand_pose"]], axis=1)
        found, _ = forward_kinematics(REST, pose, d["trans"])
        R, t = camera.R_world_to_cam, camera.t_world_to_cam
        world = (clip.joints() - t) @ R  # the inverse of R x + t
        np.testing.assert_allclose(
            found, np.stack([world[..., 0], -world[..., 2], world[..., 1]], -1), atol=1e-9
        )


def test_smpl_betas_are_written_for_smpl_only(tmp_path: Path) -> None:
    clip = make_clip(model="smpl")
    with np.load(save_motion(tmp_path / "motion.npz", clip)) as d:
        np.testing.assert_allclose(d["betas"], clip.params.betas[0])


def test_level_camera_is_said_in_the_note(tmp_path: Path) -> None:
    with np.load(save_motion(tmp_path / "motion.npz", make_clip())) as d:
        assert "taken as level" in str(d["note"])


def _amass(path: Path, **changes: object) -> Path:
    poses = np.zeros((4, 156))
    poses[:, :3] = Rotation.from_matrix(Y_UP_TO_Z_UP).as_rotvec()  # upright in Z up
    poses[:, 66:] = 0.3
    arrays = {
        "poses": poses,
        "trans": np.array([[0.0, -k, 0.9] for k in range(4)]),
        "betas": np.arange(16.0),
        "mocap_framerate": np.array(120.0),
        "gender": np.array("male"),
    }
    arrays.update(changes)  # type: ignore[arg-type]
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})  # type: ignore[arg-type]
    return path


def test_plain_amass(tmp_path: Path) -> None:
    clip = load_amass(_amass(tmp_path / "amass.npz"), REST)
    assert clip.params.model == "smpl" and clip.params.gender == "male" and clip.params.frame == "world"
    np.testing.assert_array_equal(clip.t_us, [0, 8333, 16667, 25000])
    np.testing.assert_allclose(clip.params.global_orient, 0, atol=1e-9)
    np.testing.assert_array_equal(clip.params.betas[0], np.arange(10))
    pelvis = clip.joints()[:, 0]
    np.testing.assert_allclose(
        np.diff(pelvis, axis=0), [[0, 0, 1]] * 3, atol=1e-9
    )  # walking to the front, +z
    np.testing.assert_allclose(pelvis[0], [REST[0, 0], 0.9 + REST[0, 2], -REST[0, 1]], atol=1e-9)
    body = _amass(tmp_path / "smpl.npz", poses=np.full((4, 72), 0.1), betas=None, gender=None)
    assert load_amass(body, REST).params.body_pose[0, 22, 0] == 0.1
    newer = _amass(
        tmp_path / "x.npz", mocap_framerate=None, mocap_frame_rate=np.array(60.0), poses=np.zeros((4, 165))
    )
    assert load_amass(newer, REST).framerate == pytest.approx(60, abs=1e-2)


def test_foreign_and_damaged_files_are_refused(tmp_path: Path) -> None:
    good = save_motion(tmp_path / "motion.npz", make_clip())
    with pytest.raises(FormatError, match="load_amass"):
        load_motion(_amass(tmp_path / "amass.npz"))
    with pytest.raises(FormatError, match="'poses'"):
        load_amass(_amass(tmp_path / "p.npz", poses=np.zeros((4, 7))), REST)
    with pytest.raises(FormatError, match="mocap_frame_rate"):
        load_amass(_amass(tmp_path / "r.npz", mocap_framerate=None), REST)

    for cut in (10, 200, good.stat().st_size // 2):
        bad = tmp_path / "cut.npz"
        bad.write_bytes(good.read_bytes()[:cut])
        with pytest.raises(FormatError, match=r"cut\.npz"):
            load_motion(bad)
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(FormatError, match="not an npz"):
        load_motion(tmp_path / "text.npz")

    with np.load(good) as d:
        arrays = dict(d)

    def changed(**values: object) -> Path:
        path = tmp_path / "changed.npz"
        np.savez(path, **{k: v for k, v in {**arrays, **values}.items() if v is not None})  # type: ignore[arg-type]
        return path

    assert len(load_motion(changed())) == T
    for values, message in (
        ({"schema_version": 99}, "99"),
        ({"trans": None}, "'trans' is missing"),
        ({"trans": arrays["trans"][:3]}, "'trans'"),
        ({"trans": arrays["trans"] * np.nan}, "not finite"),
        ({"poses": np.array([{}], dtype=object)}, "pickled"),
        ({"t_us": arrays["t_us"][::-1]}, "increase"),
        ({"provenance": "{"}, "JSON"),
        ({"joint_names": arrays["joint_names"][::-1]}, "joint_names"),
    ):
        with pytest.raises(FormatError, match=message):
            load_motion(changed(**values))
    with pytest.raises(FormatError, match="npz"):
        save_motion(tmp_path / "motion.bvh", make_clip())


def test_a_header_that_claims_too_much_is_refused_before_allocating(tmp_path: Path) -> None:
    import zipfile

    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w") as archive:
        header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 156), }"
        header += b" " * (118 - len(header) - 1) + b"\n"
        archive.writestr(
            "poses.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\0" * 64
        )
    with pytest.raises(FormatError, match="does not fit its bytes"):
        load_motion(path)
