"""Fits of a body to keypoints."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from eventhpe.body.choreography import perform
from eventhpe.body.default import open_body
from eventhpe.body.dhp19_markers import open_body_markers
from eventhpe.body.fit import FitResult, fit_body, fit_subject
from eventhpe.body.fit_chain import chain
from eventhpe.body.fit_markers import OffsetVariables, usual_attachment
from eventhpe.body.fit_quality import bone_drift_mm, trunk_seen, unsure_twists
from eventhpe.body.fit_settings import FitSettings
from eventhpe.body.fit_stages import Subject, place_roots
from eventhpe.body.fit_terms import Observed, data_energy, floor_energy, smooth_energy
from eventhpe.body.fk import forward_kinematics, sole_points
from eventhpe.body.model import pose_rotmats
from eventhpe.body.params import BodyParams
from eventhpe.errors import ShapeError, UnitError
from eventhpe.geometry.skeleton import DHP19_SKELETON, SMPL_SKELETON, Keypoints, Skeleton

F64 = NDArray[np.float64]

QUICK = FitSettings(shape_frames=20, shape_iterations=80, coarse_iterations=40, pose_iterations=15)
ROUGH = replace(QUICK, shape_iterations=30, coarse_iterations=20, pose_iterations=5)
FPS = 100


@dataclass(frozen=True)
class Act:
    """A person who moves, and DHP19's markers on the skin without noise."""

    params: BodyParams
    rest: F64
    markers: F64
    t_us: NDArray[np.int64]


def act(movement: str, seconds: float, *, seed: int = 0) -> Act:
    rng = np.random.default_rng([seed, 9])
    betas = np.clip(rng.normal(size=10), -1.5, 1.5)
    rest = open_body().rest_joints(torch.tensor(betas).float()).numpy().astype(np.float64)
    params = perform(movement, duration_s=seconds, fps=FPS, rng=rng, rest_joints=rest)
    T = len(params.transl)
    params = replace(params, betas=np.broadcast_to(betas, (T, 10)))
    made = open_body_markers()
    with torch.no_grad():
        v = open_body().vertices(
            pose_rotmats(params),
            torch.tensor(params.betas).float(),
            torch.tensor(params.transl).float(),
            subset=torch.tensor(made.vertex_ids.ravel()),
        )
    corners = v.numpy().astype(np.float64).reshape(T, 13, 3, 3)
    markers = np.einsum("tmkc,mk->tmc", corners, made.weights)
    return Act(params, rest, markers, np.arange(T) * (1_000_000 // FPS))


def noisy(xyz: F64, *, sigma: float = 0.01, missing: float = 0.05, seed: int = 1) -> F64:
    rng = np.random.default_rng(seed)
    out = xyz + rng.normal(scale=sigma, size=xyz.shape)
    out[rng.random(out.shape[:2]) < missing] = np.nan
    return out


def dhp19(xyz: F64) -> Keypoints:
    return Keypoints(DHP19_SKELETON, np.ones(xyz.shape[:-1]), xyz=xyz, frame="world")


def mean_mm(a: F64, b: F64) -> float:
    return float(np.linalg.norm(a - b, axis=-1).mean() * 1e3)


@pytest.fixture(scope="module")
def punch() -> Act:
    return act("punch_forward", 1.2)


@pytest.fixture(scope="module")
def fitted(punch: Act) -> FitResult:
    return fit_body(dhp19(noisy(punch.markers)), punch.t_us, settings=QUICK)


def test_chain_is_the_body_models_with_exact_gradients() -> None:
    torch.manual_seed(0)
    pose = torch.randn(2, 24, 3, dtype=torch.float64)
    pose[0, 4] *= 1e-6
    transl = torch.randn(2, 3, dtype=torch.float64)
    rest = open_body().J_template.double()
    base = torch.tensor(Rotation.random(2, random_state=1).as_matrix())
    rotmats = torch.tensor(Rotation.from_rotvec(pose.reshape(-1, 3).numpy()).as_matrix()).reshape(2, 24, 3, 3)
    rotmats[:, 0] = base @ rotmats[:, 0]
    joints, world = chain(pose, transl, rest, base)
    wanted = open_body().joints(rotmats.float(), torch.zeros(10), transl.float())
    torch.testing.assert_close(joints.float(), wanted, atol=2e-6, rtol=0)
    _, rotations = forward_kinematics(
        rest.numpy(), Rotation.from_matrix(rotmats.reshape(-1, 3, 3)).as_rotvec().reshape(2, 24, 3), transl
    )
    np.testing.assert_allclose(world.numpy(), rotations, atol=1e-12)
    inputs = tuple(v.clone().requires_grad_() for v in (pose, transl, rest))
    assert torch.autograd.gradcheck(lambda *v: chain(*v, base), inputs)


def test_usual_places_lie_between_joint_and_skin() -> None:
    body, skin = open_body(), open_body_markers().positions(open_body().v_template.numpy())
    rest = torch.tensor(body.J_template.numpy()).double()
    still = chain(
        torch.zeros(1, 24, 3, dtype=torch.float64),
        torch.zeros(1, 3).double(),
        rest,
        torch.eye(3)[None].double(),
    )
    for depth, near in ((1.0, skin), (0.0, None)):
        placed = usual_attachment(DHP19_SKELETON, body, depth=depth).positions(*still)[0].numpy()
        if near is not None:
            np.testing.assert_allclose(placed, near, atol=1e-6)
        else:
            knee = placed[DHP19_SKELETON.index("knee_left")]
            np.testing.assert_allclose(knee, rest[SMPL_SKELETON.index("knee_left")], atol=1e-9)
    with pytest.raises(ShapeError, match="nose"):
        usual_attachment(Skeleton("mine", ("nose",), (-1,)), body)


def test_a_share_of_one_is_a_point_in_the_joints_own_frame(punch: Act) -> None:
    usual = usual_attachment(DHP19_SKELETON, open_body())
    offsets = np.random.default_rng(0).normal(scale=0.05, size=(13, 3))
    own = replace(usual, offsets=offsets, shares=np.ones(13))
    joints, world = forward_kinematics(punch.rest, punch.params.pose[:5], punch.params.transl[:5])
    got = own.positions(torch.tensor(joints), torch.tensor(world)).numpy()
    wanted = joints[:, usual.joints] + np.einsum("tjab,jb->tja", world[:, usual.joints], offsets)
    np.testing.assert_allclose(got, wanted, atol=1e-12)


def test_offsets_are_mirrored_and_bounded() -> None:
    usual = usual_attachment(DHP19_SKELETON, open_body())
    unknowns = OffsetVariables(
        usual, max_offset_m=0.1, offset_sigma_m=0.04, asymmetry_sigma_m=0, share_sigma=0.2
    )
    with torch.no_grad():
        unknowns.common.copy_(torch.randn(13, 3) * 5)
    deviation = unknowns.attachment().offsets - usual.offsets
    size = np.linalg.norm(deviation, axis=1)
    assert 0.09 < size.max() <= 0.1
    flip = DHP19_SKELETON.flip
    np.testing.assert_allclose(deviation[flip[1:]], deviation[1:] * (-1, 1, 1), atol=1e-12)
    assert (unknowns.attachment().shares == unknowns.attachment().shares[flip]).all()
    with torch.no_grad():
        unknowns.common.zero_()
    assert float(unknowns.energy().detach()) == pytest.approx(0, abs=1e-12)


def test_far_keypoints_hardly_pull() -> None:
    seen = Observed.of(np.zeros((1, 1, 3)), np.ones((1, 1)), np.zeros(1, np.int64))
    pulls = []
    for distance in (0.01, 0.1, 5.0):
        x = torch.tensor([[[distance, 0.0, 0.0]]], dtype=torch.float64, requires_grad=True)
        energy = data_energy(x, seen, sigma_m=0.01, robust_m=0.1)
        (pull,) = torch.autograd.grad(energy, x)
        pulls.append(float(pull[0, 0, 0]))
        assert energy.item() == pytest.approx(distance**2 * 0.1**2 / (0.1**2 + distance**2) / (2 * 0.01**2))
    assert pulls[0] == pytest.approx(0.01 / 0.01**2, rel=0.03) and pulls[2] < 0.01 * pulls[1]


@pytest.mark.parametrize("rate", [50, 200])
def test_smoothness_is_the_same_at_any_rate(rate: int) -> None:
    """A constant acceleration a costs a^2 / sigma^2 / 2 per joint and hundredth of a second."""
    t = torch.arange(2 * rate + 1, dtype=torch.float64) / rate
    joints = torch.zeros(len(t), 24, 3, dtype=torch.float64)
    joints[:, 0, 1] = -0.5 * 1.2 * t**2
    pose = torch.zeros(len(t), 24, 3, dtype=torch.float64)
    pose[:, 0, 0] = 7 * t**2  # the root's turn is free
    got = float(smooth_energy(joints, pose, t, FitSettings(acceleration_sigma=12.0)))
    assert got == pytest.approx(0.5 * (1.2 / 12.0) ** 2 * 200, rel=0.02)


def test_soles_below_the_floor_are_pushed_up() -> None:
    """The points are those of the NumPy function that stands bodies on the floor."""
    rng = np.random.default_rng(5)
    rest = open_body().J_template.numpy().astype(float)
    pose, transl = rng.normal(scale=0.3, size=(4, 24, 3)), np.array([[0, y, 0] for y in (0.9, 1.1, 0.8, 3.0)])
    joints, world = forward_kinematics(rest, pose, transl)
    heights = sole_points(rest, joints, world)[..., 1]
    depth2 = np.minimum(heights, 0) ** 2
    assert (depth2[:3] > 0).any() and not depth2[3].any()
    got = floor_energy(torch.tensor(joints), torch.tensor(world), torch.tensor(rest), FitSettings())
    assert got.item() == pytest.approx((depth2 / (1 + depth2 / 0.1**2)).sum() / (2 * 0.02**2), rel=1e-9)


def test_roots_are_exact_for_a_rigid_trunk() -> None:
    subject = Subject(np.zeros(10), open_body().J_template.numpy().astype(float), _joints_attachment())
    rng = np.random.default_rng(2)
    turns = Rotation.random(6, random_state=3)
    shift = rng.normal(size=(6, 3))
    pose = np.zeros((6, 24, 3))
    pose[:, 0] = turns.as_rotvec()
    xyz, _ = forward_kinematics(subject.rest, pose, shift)
    xyz[2, 16] = np.nan  # one shoulder: the others do
    xyz[4] = np.nan  # nothing: between its neighbours
    seen = Observed.of(xyz, np.ones((6, 24)), np.arange(6) * 10_000)
    R, transl, whole = place_roots(seen, subject)
    kept = [0, 1, 2, 3, 5]
    np.testing.assert_allclose(R[kept], turns.as_matrix()[kept], atol=1e-6)
    np.testing.assert_allclose(transl[kept], shift[kept], atol=1e-6)
    np.testing.assert_allclose(transl[4], (shift[3] + shift[5]) / 2, atol=1e-6)
    assert whole.tolist() == [True, True, False, True, False, True]


def _joints_attachment():  # type: ignore[no-untyped-def]
    return usual_attachment(SMPL_SKELETON, open_body())


def test_noisy_markers_come_out_nearer_to_the_truth(punch: Act, fitted: FitResult) -> None:
    seen = noisy(punch.markers)
    there = np.isfinite(seen).all(-1)
    before = mean_mm(seen[there], punch.markers[there])
    after = mean_mm(fitted.keypoints, punch.markers)
    assert before > 15 and after <= 14 and after < 0.75 * before, (before, after)
    assert fitted.valid.all() and fitted.motion.params.frame == "world"
    np.testing.assert_array_equal(np.isfinite(fitted.residual_mm), there)
    assert 12 < fitted.report["mean_residual_mm"] < 20  # the noise stays outside
    usual = usual_attachment(DHP19_SKELETON, open_body())
    assert np.linalg.norm(fitted.offsets - usual.offsets, axis=1).max() < 0.1 + 1e-9


def test_the_body_itself_is_near_the_truth(punch: Act, fitted: FitResult) -> None:
    joints, _ = forward_kinematics(punch.rest, punch.params.pose, punch.params.transl)
    got = fitted.motion.joints()
    assert mean_mm(got, joints) < 60
    bones = np.array([np.linalg.norm(got[:, c] - got[:, p], axis=-1) for p, c in SMPL_SKELETON.bones])
    assert np.ptp(bones, axis=1).max() < 1e-9  # bones keep their length
    true = np.array([np.linalg.norm(punch.rest[c] - punch.rest[p]) for p, c in SMPL_SKELETON.bones])
    assert np.abs(bones.mean(1) - true).mean() < 0.02


def test_joints_of_the_body_give_the_pose_back() -> None:
    walk = act("treadmill_walk", 1.0, seed=3)
    xyz, _ = forward_kinematics(walk.rest, walk.params.pose, walk.params.transl)
    keypoints = Keypoints(SMPL_SKELETON, np.ones(xyz.shape[:-1]), xyz=xyz, frame="world")
    exact = replace(QUICK, noise_sigma_m=0.003, offset_sigma_m=0.002, shape_iterations=600)
    fit = fit_body(keypoints, walk.t_us, settings=exact)
    assert mean_mm(fit.motion.joints(), xyz) < 5
    assert np.abs(fit.motion.params.betas[0] - walk.params.betas[0])[:2].max() < 0.3
    assert fit.motion.confidence[:, SMPL_SKELETON.index("wrist_left")].min() == 1


def test_upper_body_alone(punch: Act) -> None:
    names = ("shoulder_right", "shoulder_left", "elbow_right", "elbow_left", "hip_right", "hip_left",
             "hand_right", "hand_left")  # fmt: skip
    ids = [DHP19_SKELETON.index(n) for n in names]
    xyz = noisy(punch.markers)[:60, ids]
    keypoints = Keypoints(
        Skeleton("dhp19", names, (-1,) * 8), np.ones(xyz.shape[:-1]), xyz=xyz, frame="world"
    )
    fit = fit_body(keypoints, punch.t_us[:60], settings=replace(QUICK, floor=False))
    assert mean_mm(fit.keypoints, punch.markers[:60, ids]) <= 14
    knee = SMPL_SKELETON.index("knee_left")
    assert (fit.motion.confidence[:, knee] == 0.5).all()


def test_the_heading_of_the_world_does_not_matter(punch: Act) -> None:
    few = punch.markers[:40]
    turn = Rotation.from_rotvec([0, 2.5, 0]).as_matrix()
    fits = []
    for R, t in ((np.eye(3), np.zeros(3)), (turn, np.array([3.0, 0.0, -1.0]))):
        fits.append(fit_body(dhp19(few @ R.T + t), punch.t_us[:40], settings=QUICK))
    moved = fits[0].keypoints @ turn.T + [3.0, 0.0, -1.0]
    assert mean_mm(fits[1].keypoints, moved) < 1.0


def test_windows_join(punch: Act) -> None:
    seen, t_us = dhp19(noisy(punch.markers)[:80]), punch.t_us[:80]
    one, many = (
        fit_body(seen, t_us, settings=replace(QUICK, window_s=w, overlap_s=0.1)) for w in (10.0, 0.4)
    )
    assert mean_mm(one.motion.joints(), many.motion.joints()) < 6
    speed = np.linalg.norm(np.diff(many.keypoints, axis=0), axis=-1).max(1) * FPS
    true = np.linalg.norm(np.diff(punch.markers, axis=0), axis=-1).max(1) * FPS
    assert speed.max() < 1.5 * true.max() + 0.3  # no step where windows meet


def test_two_recordings_of_a_person_share_the_body(punch: Act) -> None:
    a, b = (slice(0, 50), slice(50, 110))
    parts = [(dhp19(noisy(punch.markers[s])), punch.t_us[s]) for s in (a, b)]
    first, second = fit_subject(parts, settings=ROUGH)
    np.testing.assert_array_equal(first.motion.params.betas[0], second.motion.params.betas[0])
    np.testing.assert_array_equal(first.offsets, second.offsets)
    assert len(first.motion) == 50 and len(second.motion) == 60
    assert second.motion.t_us[0] == punch.t_us[50]
    other = Keypoints(SMPL_SKELETON, np.ones((3, 24)), xyz=np.zeros((3, 24, 3)), frame="world")
    with pytest.raises(ShapeError, match="sequence 1"):
        fit_subject([parts[0], (other, np.arange(3))], settings=QUICK)


def test_long_gaps_and_wrong_frames_are_invalid(punch: Act) -> None:
    xyz = noisy(punch.markers, missing=0.0)[:100]
    hip = DHP19_SKELETON.index("hip_left")
    xyz[10:25, hip] = np.nan  # 0.16 s from seen to seen: bridged
    xyz[40:80, hip] = np.nan
    xyz[90:93] += np.random.default_rng(0).normal(scale=0.2, size=(3, 13, 3))  # nobody stands like this
    fit = fit_body(dhp19(xyz), punch.t_us[:100], settings=QUICK)
    wanted = np.ones(100, bool)
    wanted[40:80] = wanted[90:93] = False
    beside = np.r_[84:90, 93:99]  # smoothness draws them along
    np.testing.assert_array_equal(np.delete(fit.valid, beside), np.delete(wanted, beside))
    assert fit.report["valid_frames"] == fit.valid.sum()
    assert (fit.motion.confidence[~fit.valid] == 0).all() and (fit.motion.confidence[fit.valid] > 0).all()


def test_below_the_floor_is_invalid_unless_there_is_none(punch: Act) -> None:
    low = punch.markers[:30] - [0.0, 0.3, 0.0]
    fit = fit_body(dhp19(low), punch.t_us[:30], settings=ROUGH)
    assert not fit.valid.any()
    assert fit_body(dhp19(low), punch.t_us[:30], settings=replace(ROUGH, floor=False)).valid.all()


def test_gaps_are_measured_from_seen_to_seen() -> None:
    there = np.ones((10, 2), bool)
    there[2:4, 0] = False
    there[8:, 1] = False  # nothing follows
    t_us = np.arange(10) * 10_000
    names = ("hip_left", "shoulder_left")
    assert trunk_seen(names, there, t_us, 0.03)[:8].all()
    assert trunk_seen(names, there, t_us, 0.029).tolist() == [i not in (2, 3, 8, 9) for i in range(10)]
    assert trunk_seen(("head", "knee_left"), there, t_us, 0.0).all()


def test_a_slipping_marker_shows_as_drift() -> None:
    fixed = np.zeros((90, 2, 3))
    fixed[:, 1, 1] = 0.4
    slips = fixed.copy()
    slips[:, 1, 1] += np.linspace(0, 0.03, 90)
    assert bone_drift_mm(("hip_left", "knee_left"), slips, fixed) == {
        "hip_left-knee_left": pytest.approx(20.2, abs=0.2)
    }
    assert bone_drift_mm(("head", "knee_left"), slips, fixed) == {}


def test_twist_of_a_straight_limb_is_unsure() -> None:
    pose = np.zeros((3, 24, 3))
    elbow, shoulder = SMPL_SKELETON.index("elbow_left"), SMPL_SKELETON.index("shoulder_left")
    pose[1, elbow, 1] = -np.radians(60)
    pose[2, elbow, 0] = np.radians(60)  # the forearm's own twist does not bend the arm
    assert unsure_twists(pose)[:, shoulder].tolist() == [True, False, True]
    pose[:, SMPL_SKELETON.index("knee_right"), 0] = np.radians(45)
    assert not unsure_twists(pose)[:, SMPL_SKELETON.index("hip_right")].any()


def test_what_cannot_be_fitted_is_refused(punch: Act) -> None:
    few, t_us = punch.markers[:5], punch.t_us[:5]
    with pytest.raises(ShapeError, match="world"):
        fit_body(Keypoints(DHP19_SKELETON, np.ones((5, 13)), xyz=few), t_us)
    for wrong in (few * 1000, few / 1000):
        with pytest.raises(UnitError, match="metres"):
            fit_body(dhp19(wrong), t_us)
    with pytest.raises(ShapeError, match="no keypoint"):
        fit_body(dhp19(np.full_like(few, np.nan)), t_us)
    with pytest.raises(ShapeError, match="t_us"):
        fit_body(dhp19(few), t_us[::-1])
    legs = Skeleton("dhp19", ("knee_left", "foot_left", "hip_left"), (-1, -1, -1))
    with pytest.raises(ShapeError, match="three keypoints of the trunk"):
        fit_body(Keypoints(legs, np.ones((5, 3)), xyz=few[:, [10, 12, 6]], frame="world"), t_us)
    with pytest.raises(ShapeError, match="at least one sequence"):
        fit_subject([])


@pytest.mark.parametrize(
    ("field", "value"),
    [("noise_sigma_m", 0.0), ("shape_frames", 0), ("window_s", -1.0), ("overlap_s", 6.0),
     ("marker_depth", 1.5), ("pose_iterations", 1.5), ("robust_m", float("nan"))],
)  # fmt: skip
def test_settings_name_the_field(field: str, value: float) -> None:
    with pytest.raises(ShapeError, match=f"FitSettings.{field}"):
        replace(FitSettings(), **{field: value})  # type: ignore[arg-type]
