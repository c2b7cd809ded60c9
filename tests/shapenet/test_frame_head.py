"""Labels of the frame head, and that its loss reaches ShapeNet's encoder."""

from __future__ import annotations

import pytest
import torch

from eventhpe.body.default import open_body
from eventhpe.errors import ShapeError
from eventhpe.geometry.skeleton import DHP19_SKELETON, SMPL_SKELETON
from eventhpe.shapenet.body_joints import body_joints
from eventhpe.shapenet.crop import crop_to_intrinsics
from eventhpe.shapenet.frame_head import FrameHeadConfig, build_frame_head, frame_losses, labels_of_joints
from eventhpe.shapenet.network import ShapeNet
from tests.small_world import SHAPE

CROP = torch.tensor([[0.1, -0.05, 0.4], [0.0, 0.0, 0.5]])


def joints() -> torch.Tensor:
    """(2, 24, 3) of a body with its arms turned forwards and backwards, 3 m away."""
    rotmats = torch.eye(3).repeat(2, 24, 1, 1)
    rotmats[:, 0] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    forwards = torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    rotmats[:, 16], rotmats[:, 17] = forwards.T, forwards.T  # one arm to the camera, one away
    return open_body().joints(rotmats, torch.zeros(2, 10), torch.tensor([0.2, 0.1, 3.0]).repeat(2, 1))


def test_labels_lie_where_the_crops_camera_sees_the_joints() -> None:
    xyz = joints()
    labels = labels_of_joints(xyz, CROP, SMPL_SKELETON, 64)
    K = crop_to_intrinsics(CROP, 64)
    seen = torch.einsum("nij,nkj->nki", K, xyz)
    torch.testing.assert_close(labels.uv, seen[..., :2] / seen[..., 2:], rtol=1e-4, atol=1e-3)
    assert labels.known.all() and labels.known3d.all()
    torch.testing.assert_close(labels.xyz[:, 0], torch.zeros(2, 3))
    torch.testing.assert_close(labels.xyz, xyz - xyz[:, :1])


def test_depth_orders_follow_the_arms() -> None:
    labels = labels_of_joints(joints(), CROP, SMPL_SKELETON, 64)
    right, left = 8, 11  # shoulder to elbow (heads/parts.py)
    assert labels.order_known.all()
    assert (labels.order[:, right] == -labels.order[:, left]).all() and (labels.order[:, right] != 0).all()
    nearer = joints()[:, 17, 2] > joints()[:, 19, 2]  # right shoulder behind its elbow
    assert ((labels.order[:, right] == 1) == nearer).all()


def test_what_is_behind_the_camera_is_not_known() -> None:
    xyz = joints()
    xyz[1, 5, 2] = -1.0
    labels = labels_of_joints(xyz, CROP, SMPL_SKELETON, 64)
    assert not labels.known[1, 5] and labels.known.sum() == 2 * 24 - 1
    # The knee's two parts lose their order with it.
    assert (~labels.order_known[1]).nonzero().flatten().tolist() == [1, 2]
    assert labels.order_known[0].all()


def test_markers_have_no_parts_but_places() -> None:
    found = body_joints(open_body(), DHP19_SKELETON)(
        torch.eye(3).repeat(2, 24, 1, 1), torch.zeros(2, 10), torch.tensor([0.0, 0.0, 3.0]).repeat(2, 1)
    )
    labels = labels_of_joints(found, CROP, DHP19_SKELETON, 64)
    assert labels.uv.shape == (2, 13, 2) and not labels.order_known.any()
    torch.testing.assert_close(labels.xyz[:, 5:7].mean(1), torch.zeros(2, 3), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("head", "options"),
    [("hemlets", {"width": 0.05, "depth_bins": 8}), ("simdr", {"channels": 8}), ("heatmap", {"channels": 8})],
)
def test_every_head_teaches_the_encoder(head: str, options: dict[str, float]) -> None:
    torch.manual_seed(0)
    network = ShapeNet(SHAPE)
    top = build_frame_head(FrameHeadConfig(head, "smpl24", options=options), network)
    frames, flow = torch.rand(2, 8, 64, 64), torch.randn(2, 2, 64, 64)
    terms = frame_losses(
        top, network.encoder.maps(frames, flow), labels_of_joints(joints(), CROP, SMPL_SKELETON, 64)
    )
    parts = [value for name, value in terms.items() if name != "frame"]
    assert parts and all(name.startswith("frame") for name in terms)
    torch.testing.assert_close(terms["frame"], torch.stack(parts).sum())
    terms["frame"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.encoder.image.parameters())
    assert network.memory.cell.weight_ih.grad is None


def test_the_maps_of_a_track_are_the_encoders() -> None:
    torch.manual_seed(0)
    network = ShapeNet(SHAPE).eval()
    frames, flow = torch.rand(1, 3, 8, 64, 64), torch.randn(1, 3, 2, 64, 64)
    with torch.no_grad():
        maps = network(frames, flow, CROP[:1].repeat(3, 1)[None]).maps
        alone = network.encoder.maps(frames[0, 1:2], flow[0, 1:2])
    assert maps is not None and maps.shape == (1, 3, network.encoder.image.out_channels, 2, 2)
    torch.testing.assert_close(maps[0, 1:2], alone, rtol=1e-4, atol=1e-5)


def test_wrong_settings() -> None:
    with pytest.raises(ShapeError, match="no head 'mesh'"):
        FrameHeadConfig("mesh")
    with pytest.raises(ShapeError, match="no option bins"):
        FrameHeadConfig("simdr", options={"bins": 3})
    with pytest.raises(ShapeError, match="weight must be positive"):
        FrameHeadConfig(weight=0.0)
    odd = ShapeNet(type(SHAPE)(**{**SHAPE.to_json(), "size": 60}))
    with pytest.raises(ShapeError, match="multiple of 32"):
        build_frame_head(FrameHeadConfig(), odd)
