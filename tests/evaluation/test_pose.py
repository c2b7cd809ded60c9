"""Scores of keypoints that can be told in advance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eventhpe.data.pose_sample import PoseSample
from eventhpe.errors import ShapeError
from eventhpe.evaluation.pose import (
    RecordingPoses,
    constant_answers,
    orders_right,
    scores_2d,
    scores_3d,
)
from eventhpe.shapenet.heads.parts import NUM_PARTS

N, J = 3, 15


def truth() -> PoseSample:
    draws = torch.Generator().manual_seed(3)
    uv = 20 + 60 * torch.rand(N, J, 2, generator=draws)
    uv[:, 0], uv[:, 1] = torch.tensor([10.0, 10.0]), torch.tensor([50.0, 110.0])  # the longer side is 100 px
    xyz = torch.randn(N, J, 3, generator=draws) * 0.3
    support = torch.zeros(N, J, dtype=torch.int64)
    support[:, :5] = 50
    yes = torch.ones(N, J, dtype=torch.bool)
    return PoseSample(
        frames=torch.zeros(N, 0, 128, 128), uv=uv, known=yes, xyz=xyz, known3d=yes,
        order=torch.ones(N, NUM_PARTS, dtype=torch.int64), order_known=torch.ones(N, NUM_PARTS) > 0,
        root=torch.zeros(N, 3), crop=torch.zeros(N, 3), rotmats=torch.eye(3).expand(N, 24, 3, 3),
        betas=torch.zeros(N, 10), transl=torch.zeros(N, 3), body_known=yes[:, 0], visible=yes,
        support=support, num_events=torch.zeros(N, dtype=torch.int64),
    )  # fmt: skip


def poses(uv_off: np.ndarray, xyz_off: np.ndarray, sample: PoseSample | None = None) -> RecordingPoses:
    t = sample or truth()
    return RecordingPoses(
        "r", {"net": t.uv.double().numpy() + uv_off}, {"net": t.xyz.double().numpy() + xyz_off}, t
    )


def test_pixels_and_shares_of_the_persons_size() -> None:
    off = np.zeros((N, J, 2))
    off[:, :5, 0] = 3.0  # 3 % of 100 px: within 5 %, not within 2 %
    scores = scores_2d(poses(off, np.zeros(3)))["net"]
    assert scores["px"] == pytest.approx(1.0) and scores["share_pct"] == pytest.approx(1.0)
    assert scores["pck05"] == 1.0 and scores["pck02"] == pytest.approx(10 / 15)
    assert scores["px_moving"] == pytest.approx(3.0) and scores["px_still"] == pytest.approx(0.0)


def test_unknown_joints_do_not_count() -> None:
    t = truth()
    known = t.known.clone()
    known[:, 7] = False
    off = np.zeros((N, J, 2))
    off[:, 7] = 1000.0
    assert scores_2d(poses(off, np.zeros(3), t._replace(known=known)))["net"]["px"] == 0.0


def test_depth_alone_and_everything() -> None:
    scores = scores_3d(poses(np.zeros(2), np.array([0.0, 0.0, 0.1])))["net"]
    assert scores["depth_mm"] == pytest.approx(100, abs=1e-3)
    assert scores["root_aligned_mm"] == pytest.approx(100, abs=1e-3)
    assert scores["pa_mpjpe_mm"] == pytest.approx(0, abs=1e-3)


def test_poses_without_all_joints_are_left_out_of_space() -> None:
    t = truth()
    known = t.known3d.clone()
    known[0, 3] = False
    off = np.zeros((N, J, 3))
    off[0] = 9.0
    assert scores_3d(poses(np.zeros(2), off, t._replace(known3d=known)))["net"]["root_aligned_mm"] == 0.0
    nothing = scores_3d(poses(np.zeros(2), off, t._replace(known3d=torch.zeros_like(known))))["net"]
    assert np.isnan(nothing["root_aligned_mm"])


def test_the_constant_answer_is_the_mean() -> None:
    one = poses(np.zeros(2), np.zeros(3))
    uv, xyz = constant_answers([one])
    np.testing.assert_allclose(uv, one.truth.uv.double().mean(0), rtol=1e-6)
    np.testing.assert_allclose(xyz, one.truth.xyz.double().mean(0), atol=1e-6)
    assert scores_2d(one, uv)["constant"]["px"] > 0 and scores_2d(one, uv)["net"]["px"] == 0


def test_orders() -> None:
    one = poses(np.zeros(2), np.zeros(3))
    read = one.truth.order.clone()
    read[:, 0] = -1
    assert orders_right([RecordingPoses("r", one.uv, one.xyz, one.truth, read)]) == {
        "order": pytest.approx(13 / 14),
        "order_constant": 1.0,
    }
    with pytest.raises(ShapeError, match="only HEMlets"):
        orders_right([one])
    with pytest.raises(ShapeError, match="gives depth"):
        scores_3d(RecordingPoses("r", one.uv, {}, one.truth))
