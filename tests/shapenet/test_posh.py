from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from eventhpe.errors import ShapeError
from eventhpe.geometry.rotation import geodesic_angle
from eventhpe.geometry.skeleton import SMPL_SKELETON
from eventhpe.shapenet.crop import crop_to_pixels, project_to_crop, ray_rotation
from eventhpe.shapenet.heads.base import Decoded, JointLabels
from eventhpe.shapenet.heads.parts import body_parts
from eventhpe.shapenet.heads.pose_net import PoseNet, PoseNetConfig
from eventhpe.shapenet.heads.triplets import depth_order
from eventhpe.shapenet.network import from_place, to_place
from eventhpe.shapenet.posh import STAGES, PoShConfig, PoShNet, PoShOutput
from eventhpe.shapenet.posh_layers import camera_to_place, joint_places
from eventhpe.shapenet.posh_losses import PoShLabels, PoShLossWeights, posh_losses
from eventhpe.shapenet.state import StartState

SIZE = 64
HEMLETS = PoseNetConfig(
    head="hemlets", skeleton="smpl24", size=SIZE, in_channels=2, width=8,
    options={"width": 1 / 32, "depth_bins": 4},
)  # fmt: skip
SMALL = PoShConfig(hemlets=HEMLETS, hidden=16, part_features=4, pooled_features=8)
CROP = torch.tensor([[0.1, -0.2, 0.35], [-0.05, 0.1, 0.3]])
BODY_TERMS = {"rotation", "betas", "joints3d", "joints2d", "place", "consistency"}
HEM_TERMS = {f"hemlets_{t}" for t in ("joints_image", "joints_depth", "joints2d", "triplets")}
INPUTS = ["full", "joints", "pooled"]


def network(body: Any, inputs: str = "full", stage: str = "C") -> PoShNet:
    torch.manual_seed(0)
    net = PoShNet(replace(SMALL, inputs=inputs))
    net.set_body(body.rest[0], body.dirs[0])
    net.set_stage(stage)
    return net


def frames(B: int = 2) -> Tensor:
    return torch.rand(B, 2, SIZE, SIZE, generator=torch.Generator().manual_seed(4))


def truth(body: Any, rotations: Any, B: int = 2) -> PoShLabels:
    rotmats = rotations(B, 24, seed=1)
    rotmats[:, 0] = torch.diag(torch.tensor([1.0, -1.0, -1.0])) @ rotmats[:, 0]
    betas = 0.5 * torch.randn(B, 10, generator=torch.Generator().manual_seed(2))
    transl = torch.tensor([[0.3, -0.6, 3.0], [-0.1, 0.3, 3.4]])[:B]
    joints = body.joints(rotmats, betas, transl)
    relative = joints - joints[:, :1]
    yes = torch.ones(B, 24, dtype=torch.bool)
    uv = crop_to_pixels(project_to_crop(joints, CROP[:B]), SIZE)
    order = depth_order(relative, body_parts(SMPL_SKELETON))
    known = JointLabels(uv, yes, relative, yes.clone(), *order)
    return PoShLabels(known, rotmats, betas, transl, torch.ones(B, dtype=torch.bool))


def perfect(labels: PoShLabels) -> PoShOutput:
    known = labels.joints
    joints = Decoded(known.uv, torch.ones(known.uv.shape[:2]), known.xyz[..., 2])
    return PoShOutput(labels.rotmats, labels.betas, labels.transl, joints, None)


def test_config_goes_through_json() -> None:
    again = PoShConfig.from_json(json.loads(json.dumps(SMALL.to_json())))
    assert again == SMALL and PoShConfig().hemlets.skeleton == "smpl24"


def test_wrong_configs_are_refused() -> None:
    with pytest.raises(ShapeError, match='must be "hemlets"'):
        PoShConfig(hemlets=PoseNetConfig(head="volumetric"))
    with pytest.raises(ShapeError, match="full, joints, pooled"):
        PoShConfig(inputs="image")
    with pytest.raises(ShapeError, match="dropout"):
        PoShConfig(dropout=1.0)
    with pytest.raises(ShapeError, match="colour"):
        PoShConfig.from_json({**SMALL.to_json(), "colour": 1})


@pytest.mark.parametrize("inputs", INPUTS)
def test_shapes_and_a_fresh_network_stands_upright_in_the_crops_middle(body: Any, inputs: str) -> None:
    net = network(body, inputs).eval()
    for layer in (net.regressor.pose, net.regressor.camera):
        torch.nn.init.zeros_(layer.weight)
    out = net(frames(), CROP)
    assert out.rotmats.shape == (2, 24, 3, 3) and out.betas.shape == (2, 10) and out.transl.shape == (2, 3)
    torch.testing.assert_close(out.rotmats @ out.rotmats.transpose(-1, -2), torch.eye(3).expand(2, 24, 3, 3))
    pelvis = body.joints(out.rotmats, out.betas, out.transl)[:, 0]
    torch.testing.assert_close(
        project_to_crop(pelvis[:, None], CROP)[:, 0], torch.zeros(2, 2), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(pelvis[:, 2], 1 / CROP[:, 2])  # the crop shows 2 m there
    upright = ray_rotation(CROP) @ torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    torch.testing.assert_close(out.rotmats[:, 0], upright)
    assert (out.joints is None) is (out.maps is None) is (inputs == "pooled")


def test_the_camera_is_weak_perspective_at_the_pelvis() -> None:
    camera = torch.tensor([[0.4, 0.2, -0.1], [-0.3, 0.0, 0.5]])
    pelvis = from_place(camera_to_place(camera, CROP))
    beside = pelvis + torch.tensor([0.1, 0.0, 0.0])
    at, next_to = (project_to_crop(p[:, None], CROP)[:, 0] for p in (pelvis, beside))
    torch.testing.assert_close(at, camera[:, 1:])
    torch.testing.assert_close((next_to - at)[:, 0], 0.1 * torch.exp(camera[:, 0]))


def test_crop_coordinates_undo_pixels() -> None:
    uv = torch.tensor([[-0.5, 31.5], [63.5, 10.0]])
    assert joint_places(uv, SIZE)[0].tolist() == [-1.0, 0.0]
    torch.testing.assert_close(crop_to_pixels(joint_places(uv, SIZE), SIZE), uv)


def test_a_true_body_has_no_error(body: Any, rotations: Any) -> None:
    labels = truth(body, rotations)
    net = network(body, stage="B")
    terms = posh_losses(net, perfect(labels), labels, crop=CROP, joints_of=body.joints)
    assert terms.keys() == BODY_TERMS
    assert max(t.item() for t in terms.values()) < 1e-5


def test_errors_by_hand(body: Any, rotations: Any) -> None:
    labels = truth(body, rotations)
    net = network(body, stage="B")
    exact = perfect(labels)
    moved = replace(exact, betas=labels.betas + 1.0)
    terms = posh_losses(net, moved, labels, crop=CROP, joints_of=body.joints)
    assert terms["betas"].item() == pytest.approx(0.001 * 10, rel=1e-4) and terms["rotation"].item() < 1e-6
    farther = replace(exact, transl=labels.transl + torch.tensor([0.0, 0.0, 0.5]))
    terms = posh_losses(net, farther, labels, crop=CROP, joints_of=body.joints)
    assert terms["joints3d"].item() < 1e-5 and terms["betas"].item() < 1e-9
    pelvis = body.joints(labels.rotmats, labels.betas, labels.transl)[:, 0]
    places = [to_place(p) for p in (pelvis, pelvis + torch.tensor([0.0, 0.0, 0.5]))]
    difference = (places[1] - places[0]).abs() / torch.cat([CROP[:, 2:].repeat(1, 2), torch.ones(2, 1)], 1)
    assert terms["place"].item() == pytest.approx(difference.mean().item(), rel=1e-4)
    flat = [
        project_to_crop(body.joints(labels.rotmats, labels.betas, t), CROP)
        for t in (labels.transl, farther.transl)
    ]
    assert terms["joints2d"].item() == pytest.approx(5 * (flat[1] - flat[0]).abs().mean().item(), rel=1e-3)
    turned = labels.rotmats.clone()
    turned[:, 5] = turned[:, 5] @ torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    terms = posh_losses(net, replace(exact, rotmats=turned), labels, crop=CROP, joints_of=body.joints)
    assert terms["rotation"].item() == pytest.approx(8 / 24, rel=1e-4)  # |R - R'|^2 = 8 sin^2(angle / 2)


def test_consistency_needs_no_labels_and_bends_only_the_body(body: Any, rotations: Any) -> None:
    labels = _nothing_known(truth(body, rotations))
    net = network(body, stage="B")
    joints = perfect(truth(body, rotations)).joints
    assert joints is not None and joints.depth is not None
    uv, depth = joints.uv.clone().requires_grad_(), (joints.depth + 0.1).requires_grad_()
    rotmats = truth(body, rotations).rotmats.requires_grad_()
    full = truth(body, rotations)
    output = PoShOutput(rotmats, full.betas, full.transl, Decoded(uv, joints.confidence, depth), None)
    terms = posh_losses(net, output, labels, crop=CROP, joints_of=body.joints)
    assert {k for k, v in terms.items() if v.item()} == {"consistency"}
    terms["consistency"].backward()
    assert rotmats.grad is not None and rotmats.grad.any()
    assert uv.grad is None and depth.grad is None


def _nothing_known(labels: PoShLabels) -> PoShLabels:
    joints = labels.joints
    no = torch.zeros_like(joints.known)
    joints = joints._replace(
        uv=joints.uv * torch.nan, known=no, xyz=joints.xyz * torch.nan, known3d=no,
        order_known=torch.zeros_like(joints.order_known),
    )  # fmt: skip
    return PoShLabels(
        joints, labels.rotmats * torch.nan, labels.betas * torch.nan, labels.transl * torch.nan,
        torch.zeros_like(labels.body_known),
    )  # fmt: skip


@pytest.mark.parametrize("inputs", INPUTS)
def test_nothing_known_is_zero_with_a_gradient_for_a_batch_of_one(
    body: Any, rotations: Any, inputs: str
) -> None:
    net = network(body, inputs)
    labels = _nothing_known(truth(body, rotations, 1))
    weights = PoShLossWeights(consistency=0.0)
    output = net(frames(1), CROP[:1])
    terms = posh_losses(net, output, labels, crop=CROP[:1], joints_of=body.joints, weights=weights)
    total = torch.stack(list(terms.values())).sum()
    total.backward()
    assert total.item() == 0
    grad = net.regressor.pose.weight.grad
    assert grad is not None and torch.isfinite(grad).all()


def test_unknown_bodies_do_not_change_the_means(body: Any, rotations: Any) -> None:
    labels = truth(body, rotations)
    unknown = _nothing_known(labels)
    pairs = [
        zip(a, b, strict=True) for a, b in ((labels.joints, unknown.joints), (labels[1:5], unknown[1:5]))
    ]
    joints, rest = ([torch.cat([v[:1], w[1:]]) for v, w in pair] for pair in pairs)
    mixed = PoShLabels(JointLabels(*joints), *rest)
    net = network(body, stage="B").eval()
    output = net(frames(), CROP)
    one = PoShOutput(output.rotmats[:1], output.betas[:1], output.transl[:1], None, None)
    first = PoShLabels(JointLabels(*(v[:1] for v in labels.joints)), *(v[:1] for v in labels[1:5]))
    both = posh_losses(net, output, mixed, crop=CROP, joints_of=body.joints)
    alone = posh_losses(net, one, first, crop=CROP[:1], joints_of=body.joints)
    assert alone.keys() == BODY_TERMS - {"consistency"}
    for name, term in alone.items():
        torch.testing.assert_close(both[name], term, atol=1e-5, rtol=1e-5)


def test_confidence_weighs_joints_in_the_image(body: Any, rotations: Any) -> None:
    labels = truth(body, rotations)
    net = network(body, stage="B").eval()
    output = net(frames(), CROP)
    half = torch.zeros(2, 24)
    half[:, :12] = 0.5
    known = labels.joints._replace(known=labels.joints.known & (torch.arange(24) < 12))
    weighed = posh_losses(net, output, labels._replace(confidence=half), crop=CROP, joints_of=body.joints)
    masked = posh_losses(net, output, labels._replace(joints=known), crop=CROP, joints_of=body.joints)
    torch.testing.assert_close(weighed["joints2d"], masked["joints2d"])


@pytest.mark.parametrize("term", sorted(BODY_TERMS | HEM_TERMS))
def test_every_term_alone_gives_a_gradient(body: Any, rotations: Any, term: str) -> None:
    net = network(body)
    labels = truth(body, rotations)
    output = net(frames(), CROP)
    posh_losses(net, output, labels, crop=CROP, joints_of=body.joints)[term].backward()
    hit = {name for name, p in net.named_parameters() if p.grad is not None and p.grad.any()}
    assert any(n.startswith("encoder.layer1") for n in hit)
    assert any(n.startswith("regressor.") for n in hit) is (term in BODY_TERMS)
    # the body's error reaches HEMlets through its joints and features too
    assert any(n.startswith("head.net.image_decoder") for n in hit) is (
        term not in {"hemlets_joints2d", "hemlets_triplets"}
    )


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_a_stage_moves_its_own_layers_only(body: Any, rotations: Any, stage: str) -> None:
    net = network(body, stage=stage)
    net.train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    optimiser = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], STAGES[stage])
    labels = truth(body, rotations)
    terms = posh_losses(net, net(frames(), CROP), labels, crop=CROP, joints_of=body.joints)
    assert terms.keys() == {"A": HEM_TERMS, "B": BODY_TERMS, "C": BODY_TERMS | HEM_TERMS}[stage]
    torch.stack(list(terms.values())).sum().backward()
    optimiser.step()
    moved = {k.split(".")[0] for k, v in net.state_dict().items() if not torch.equal(v, before[k])}
    assert (
        moved
        == {
            "A": {"encoder", "head"},
            "B": {"parts", "pooled", "regressor"},
            "C": {"encoder", "head", "parts", "pooled", "regressor"},
        }[stage]
    )


def test_stages_that_make_no_sense_are_refused(body: Any) -> None:
    with pytest.raises(ShapeError, match="A, B, C"):
        network(body).set_stage("D")
    with pytest.raises(ShapeError, match="stage A trains HEMlets"):
        network(body, "pooled").set_stage("A")


@pytest.mark.parametrize("inputs", INPUTS)
def test_two_steps_lower_the_loss(body: Any, rotations: Any, inputs: str) -> None:
    net = network(body, inputs)
    for module in net.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # the same loss is to be compared
    labels = truth(body, rotations)
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    totals = []
    for _ in range(3):
        terms = posh_losses(net, net(frames(), CROP), labels, crop=CROP, joints_of=body.joints)
        total = torch.stack(list(terms.values())).sum()
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        totals.append(total.item())
    assert totals[2] < totals[0]


def test_weights_of_hemlets_enter(body: Any) -> None:
    torch.manual_seed(1)
    pose = PoseNet(HEMLETS).eval()
    net = network(body).eval()
    net.start_from(pose)
    out = net(frames(), CROP)
    assert out.joints is not None and out.joints.depth is not None
    expected = pose.joints(frames())
    assert expected.depth is not None
    torch.testing.assert_close(out.joints.uv, expected.uv)
    torch.testing.assert_close(out.joints.depth, expected.depth)
    with pytest.raises(ShapeError, match="stands on HEMlets"):
        net.start_from(PoseNet(replace(HEMLETS, in_channels=3)))


def test_its_hemlets_can_stand_alone(body: Any) -> None:
    net = network(body).eval()
    alone = net.hemlets()
    assert not alone.training and alone.config == HEMLETS
    with torch.no_grad():
        ours, theirs = net(frames(), CROP), alone(frames())
        assert ours.maps is not None
        torch.testing.assert_close(ours.maps["volume"], theirs["volume"])
        next(alone.parameters()).add_(1.0)  # a copy: the original stays
        again = net(frames(), CROP)
    assert again.maps is not None
    torch.testing.assert_close(again.maps["volume"], ours.maps["volume"])
    with pytest.raises(ShapeError, match="no HEMlets"):
        network(body, "pooled").hemlets()


def test_a_mean_pose_is_where_a_fresh_network_starts(body: Any, rotations: Any) -> None:
    net = network(body).eval()
    mean = rotations(24, seed=9)
    net.set_mean_pose(mean)
    torch.nn.init.zeros_(net.regressor.pose.weight)
    out = net(frames(), CROP)
    assert geodesic_angle(out.rotmats[0, 1:], mean[1:]).max() < 1e-3
    with pytest.raises(ShapeError, match="24, 3, 3"):
        net.set_mean_pose(mean[:3])


def test_the_bodies_can_start_a_track(body: Any) -> None:
    with torch.no_grad():
        start = network(body).eval()(frames(), CROP).start_state(variance=0.5)
    assert isinstance(start, StartState) and start.betas_count == 1
    assert start.variance is not None and start.variance.shape == (2, 25) and start.variance.unique() == 0.5


def test_wrong_inputs_are_refused(body: Any, rotations: Any) -> None:
    net = network(body)
    with pytest.raises(ShapeError, match=r"frames must be \(B, 2, 64, 64\)"):
        net(frames()[:, :1], CROP)
    with pytest.raises(ShapeError, match=r"crop must be \(2, 3\)"):
        net(frames(), CROP[:1])
    with pytest.raises(ShapeError, match="pelvis"):
        net.set_body(torch.zeros(2), torch.zeros(3, 10))
    labels = truth(body, rotations)
    labels.joints.uv[0, 0] = torch.nan
    with pytest.raises(ShapeError, match="NaN"):
        posh_losses(net, net(frames(), CROP), labels, crop=CROP, joints_of=body.joints)
