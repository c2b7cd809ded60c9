from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from eventhpe.errors import ShapeError
from eventhpe.geometry.skeleton import DHP19_15_SKELETON, DHP19_SKELETON, SMPL_SKELETON, Skeleton
from eventhpe.shapenet.encoder import resnet18, resnet50
from eventhpe.shapenet.heads.base import HeadSize, JointLabels
from eventhpe.shapenet.heads.coordinates import pixels_to_cells
from eventhpe.shapenet.heads.hemlets import HEMletsHead, HEMletsOptions
from eventhpe.shapenet.heads.parts import body_parts
from eventhpe.shapenet.heads.triplets import depth_order, triplet_targets
from eventhpe.shapenet.heads.volumetric import VolumetricHead, VolumetricOptions

SIZE = 64
SMALL = HEMletsOptions(width=1 / 32, depth_bins=6)
TERMS = {"joints_image", "joints_depth", "joints2d", "triplets"}

H36M_18 = Skeleton(
    name="h36m18",
    joints=(
        "pelvis", "hip_right", "knee_right", "ankle_right", "hip_left", "knee_left", "ankle_left", "spine",
        "thorax", "neck", "head", "shoulder_left", "elbow_left", "wrist_left", "shoulder_right",
        "elbow_right", "wrist_right", "between",
    ),
    parents=(-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15, 8),
)  # fmt: skip


def labels(skeleton: Skeleton = DHP19_15_SKELETON, B: int = 2, seed: int = 0) -> JointLabels:
    g = torch.Generator().manual_seed(seed)
    J = len(skeleton.joints)
    yes = torch.ones(B, J, dtype=torch.bool)
    xyz = torch.randn(B, J, 3, generator=g) * 0.3
    order = depth_order(xyz, body_parts(skeleton))
    return JointLabels(60 * torch.rand(B, J, 2, generator=g), yes, xyz, yes.clone(), *order)


def head(options: HEMletsOptions = SMALL, skeleton: Skeleton = DHP19_15_SKELETON) -> HEMletsHead:
    torch.manual_seed(0)
    return HEMletsHead(HeadSize(skeleton, 8, SIZE), options)


def maps_of(net: HEMletsHead, B: int = 2) -> dict[str, Tensor]:
    maps: dict[str, Tensor] = net(torch.randn(B, 8, 2, 2, generator=torch.Generator().manual_seed(5)))
    return maps


def test_parameters_of_the_published_network() -> None:
    """49.6 M with 18 joints and ResNet-50: 23.51 encoder, 12.85 and 10.63 decoders, 0.14, 2.50."""
    with torch.device("meta"):
        encoder = resnet50(in_channels=3)
        net = HEMletsHead(HeadSize(H36M_18, encoder.out_channels, 256), HEMletsOptions()).net
    count = {name: sum(p.numel() for p in m.parameters()) / 1e6 for name, m in net.named_children()}
    assert count["image_decoder"] == pytest.approx(12.85, abs=0.01)
    assert count["map_decoder"] == pytest.approx(10.63, abs=0.01)
    assert count["map_encoder"] == pytest.approx(0.14, abs=0.01)
    assert count["fuse"] + count["volume"] == pytest.approx(2.50, abs=0.01)
    whole = sum(count.values()) + sum(p.numel() for p in encoder.parameters()) / 1e6
    assert whole == pytest.approx(49.6, abs=0.1)


@pytest.mark.parametrize(
    ("skeleton", "states", "channels"),
    [(DHP19_15_SKELETON, 3, 57), (SMPL_SKELETON, 3, 66), (SMPL_SKELETON, 2, 66), (SMPL_SKELETON, 5, 94)],
)
def test_intermediate_maps(skeleton: Skeleton, states: int, channels: int) -> None:
    net = head(replace(SMALL, states=states), skeleton)
    assert net.net.map_decoder[1].out_channels == channels
    assert maps_of(net)["triplets"].shape == (2, 14, max(states, 3), 16, 16)


def test_a_skeleton_without_the_parts_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"dhp19 has no .*pelvis.*thorax"):
        head(skeleton=DHP19_SKELETON)


def test_the_baseline_is_the_same_network() -> None:
    net = head()
    torch.manual_seed(0)
    options = VolumetricOptions(width=1 / 32, depth_bins=6)
    plain = VolumetricHead(HeadSize(DHP19_15_SKELETON, 8, SIZE), options)
    ours, theirs = net.state_dict(), plain.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)
    mine = net.losses(maps_of(net), labels())
    base = plain.losses(maps_of(net), labels())
    assert mine.keys() == TERMS and base.keys() == {"joints_image", "joints_depth"}
    assert all(torch.equal(base[k], mine[k]) for k in base)


@pytest.mark.parametrize("term", sorted(TERMS))
def test_every_term_alone_reaches_the_map_decoder(term: str) -> None:
    net = head()
    net.losses(maps_of(net), labels())[term].backward()
    first = net.net.get_parameter("map_decoder.0.0.weight").grad
    assert first is not None and first.abs().max() > 0
    image = net.net.get_parameter("image_decoder.0.0.weight").grad
    assert (image is not None and bool(image.any())) is term.startswith("joints_")


def test_unknown_order_gives_that_triplet_no_gradient() -> None:
    known = labels()
    known.order_known[0, 4] = False
    known.known[1, DHP19_15_SKELETON.index("head")] = False  # ends part 13
    net = head()
    maps = {k: v.detach().requires_grad_() for k, v in maps_of(net).items()}
    net.losses(maps, known)["triplets"].backward()
    gradient = maps["triplets"].grad
    assert gradient is not None
    silent = ~gradient.flatten(2).any(-1)
    assert silent.nonzero().tolist() == [[0, 4], [1, 13]]


def test_terms_by_hand_and_weak_labels_in_one_batch() -> None:
    """Sample 1 is weakly labelled: it adds to all terms but the depth's."""
    known = labels()
    known.known3d[1], known.xyz[1] = False, torch.nan
    net = head()
    maps = maps_of(net)
    terms = net.losses(maps, known)
    g = net.joint_gaussians(known)
    targets = triplet_targets(g, known.order, net.parts)
    by_hand = 0.05 * (maps["triplets"] - targets).square().sum() / 2
    assert terms["triplets"].item() == pytest.approx(by_hand.item(), rel=1e-5)
    one = [net.losses({k: v[i : i + 1] for k, v in maps.items()}, _pick(known, i)) for i in (0, 1)]
    for name in TERMS:
        assert terms[name].item() == pytest.approx((one[0][name] + one[1][name]).item() / 2, rel=1e-4)
    assert one[1]["joints_depth"].item() == 0
    assert min(one[1][k].item() for k in TERMS - {"joints_depth"}) > 0


def _pick(known: JointLabels, i: int) -> JointLabels:
    return JointLabels(*(v[i : i + 1] for v in known))


@pytest.mark.parametrize("options", [SMALL, replace(SMALL, states=5), replace(SMALL, overlap="sum")])
def test_all_unknown_is_zero_with_a_gradient_for_a_batch_of_one(options: HEMletsOptions) -> None:
    net = head(options)
    known = labels(B=1)
    no = torch.zeros_like(known.known)
    known = known._replace(
        known=no, known3d=no, order_known=torch.zeros_like(known.order_known), uv=known.uv * torch.nan
    )
    total = torch.stack(list(net.losses(maps_of(net, 1), known).values())).sum()
    total.backward()
    assert total.item() == 0
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


def exact_maps(net: HEMletsHead, known: JointLabels, states: int = 3) -> dict[str, Tensor]:
    """What a perfect network gives, joints at the nearest bins."""
    cells = pixels_to_cells(known.uv, 4.0).round().long().clamp(0, 15)
    depth = ((known.xyz[..., 2] / 2 + 0.5) * 6 - 0.5).round().long().clamp(0, 5)
    B, J = known.known.shape
    volume = torch.full((B, J, 6, 16, 16), -1e4)
    b, j = torch.meshgrid(torch.arange(B), torch.arange(J), indexing="ij")
    volume[b, j, depth, cells[..., 1], cells[..., 0]] = 1e4
    g = net.gaussians_at(cells.float())
    order = depth_order(known.xyz, net.parts, states=states).order
    return {"volume": volume, "joints2d": g, "triplets": triplet_targets(g, order, net.parts, states=states)}


@pytest.mark.parametrize("states", [2, 3, 5])
def test_perfect_maps_are_read_perfectly(states: int) -> None:
    net = head(replace(SMALL, states=states, sigma=1.0))
    known = labels(B=4)
    maps = exact_maps(net, known, states)
    expected = depth_order(known.xyz, net.parts, states=states).order
    assert torch.equal(net.predicted_order(maps), expected)
    found = net.decode(maps)
    assert (found.uv - known.uv).abs().max() <= 2 + 1e-4  # half a cell
    assert found.depth is not None
    assert (found.depth - known.xyz[..., 2].clamp(-5 / 6, 5 / 6)).abs().max() <= 1 / 6 + 1e-4


def test_the_mirror_image_agrees() -> None:
    net, known = head(), labels()
    flip = torch.from_numpy(DHP19_15_SKELETON.flip)
    uv = known.uv[:, flip].clone()
    uv[..., 0] = SIZE - 1 - uv[..., 0]
    mirrored = known._replace(uv=uv, xyz=known.xyz[:, flip] * torch.tensor([-1.0, 1.0, 1.0]))
    straight = exact_maps(net, known)
    both = net.flip(straight, exact_maps(net, mirrored))
    once = net.decode(straight)
    assert once.depth is not None and both.depth is not None
    torch.testing.assert_close(both.uv, once.uv, atol=1e-3, rtol=0)
    torch.testing.assert_close(both.depth, once.depth, atol=1e-5, rtol=0)


def test_half_precision_gives_finite_float_losses() -> None:
    net = head()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = net.losses(maps_of(net), labels())
    assert all(t.dtype == torch.float32 and torch.isfinite(t) for t in terms.values())


@pytest.mark.parametrize("options", [SMALL, replace(HEMletsOptions.faithful(), width=1 / 32, depth_bins=6)])
def test_two_steps_with_the_encoder_lower_the_loss(options: HEMletsOptions) -> None:
    torch.manual_seed(0)
    encoder = resnet18(in_channels=2, width=8)
    net = HEMletsHead(HeadSize(DHP19_15_SKELETON, encoder.out_channels, SIZE), options)
    frames, known = torch.rand(2, 2, SIZE, SIZE), labels()
    optimiser = torch.optim.Adam([*encoder.parameters(), *net.parameters()], 1e-3)
    totals = []
    for _ in range(3):
        total = torch.stack(list(net.losses(net(encoder.maps(frames)), known).values())).sum()
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        totals.append(total.item())
    assert totals[2] < totals[0]


def test_wrong_options_are_refused() -> None:
    for wrong in ({"states": 4}, {"overlap": "mean"}, {"grid": "x"}, {"sigma": 0.0}):
        with pytest.raises(ShapeError):
            HEMletsOptions(**wrong)  # type: ignore[arg-type]
