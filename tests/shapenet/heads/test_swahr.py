"""The bottom-up network: shapes, arms, training, and from maps to people."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor

from eventhpe.errors import FormatError, ShapeError
from eventhpe.geometry.skeleton import DHP19_SKELETON, SMPL_SKELETON
from eventhpe.shapenet.encoder import resnet18
from eventhpe.shapenet.heads.associative import GroupingOptions
from eventhpe.shapenet.heads.swahr import ScaleHead, SWAHRConfig, SWAHRNet
from eventhpe.shapenet.heads.swahr_losses import AdaptiveOptions
from eventhpe.shapenet.heads.swahr_targets import PeopleLabels, people_heatmaps

J = 13
SMALL = {"skeleton": "dhp19", "in_channels": 3, "width": 4, "lateral_channels": 8, "channels": 8, "blocks": 1}
ARMS = {
    "mse": AdaptiveOptions(sahr=False, wahr=False),
    "sahr": AdaptiveOptions(wahr=False),
    "wahr": AdaptiveOptions(sahr=False),
    "swahr": AdaptiveOptions(),
}


def make(**options: object) -> SWAHRNet:
    torch.manual_seed(0)
    return SWAHRNet(SWAHRConfig(**{**SMALL, **options}))  # type: ignore[arg-type]


def labels(B: int = 2, M: int = 2, size: tuple[int, int] = (32, 64)) -> PeopleLabels:
    torch.manual_seed(1)
    uv = torch.rand(B, M, J, 2) * torch.tensor([size[1] - 1.0, size[0] - 1.0])
    known = torch.rand(B, M, J) > 0.1
    return PeopleLabels(uv, known, torch.ones(B, *size, dtype=torch.bool))


def test_maps_have_a_quarter_and_half_of_the_size() -> None:
    net = make()
    maps = net(torch.randn(1, 3, 64, 96))
    assert {k: tuple(v.shape) for k, v in maps.items()} == {
        "heat4": (1, J, 16, 24),
        "tags4": (1, J, 16, 24),
        "heat2": (1, J, 32, 48),
        "scale4": (1, J, 16, 24),
        "scale2": (1, J, 32, 48),
    }
    assert make(skeleton="smpl24", in_channels=8)(torch.randn(2, 8, 32, 32))["heat2"].shape == (2, 24, 16, 16)
    assert net(torch.randn(2, 3, 32, 32), scales=False).keys() == {"heat4", "tags4", "heat2"}
    for shape in ((1, 3, 60, 96), (1, 4, 64, 96), (3, 64, 96)):
        with pytest.raises(ShapeError, match="multiples of 32"):
            net(torch.zeros(shape))


def test_stages_of_the_encoder_are_what_its_maps_come_from() -> None:
    encoder = resnet18(in_channels=2, width=4).eval()
    x = torch.randn(1, 2, 64, 64)
    stages = encoder.stages(x)
    assert [tuple(s.shape) for s in stages] == [(1, 4, 16, 16), (1, 8, 8, 8), (1, 16, 4, 4), (1, 32, 2, 2)]
    assert tuple(s.shape[1] for s in stages) == encoder.stage_channels
    assert torch.equal(stages[-1], encoder.maps(x))


def test_a_fresh_scale_head_gives_exactly_zero_and_learns() -> None:
    torch.manual_seed(0)
    head = ScaleHead(in_channels=8, joints=J)
    x = torch.randn(2, 8, 12, 12)
    assert not head(x).any()
    assert tuple(head[3].weight.shape) == (J, 1, 9, 9)
    head(x).sum().backward()
    assert head[3].weight.grad is not None and head[3].weight.grad.any()


def test_every_arm_starts_from_the_same_weights_and_the_same_loss() -> None:
    nets = {name: make(loss=loss) for name, loss in ARMS.items()}
    plain = nets["mse"].state_dict()
    for name, net in nets.items():
        state = net.state_dict()
        assert all(torch.equal(state[k], v) for k, v in plain.items())
        extra = state.keys() - plain.keys()
        assert bool(extra) == ("sahr" in name or name == "swahr")
        assert all(k.startswith("scales.") for k in extra)
    x = torch.randn(2, 3, 32, 64)
    first = {name: net.losses(net(x), labels()) for name, net in nets.items()}
    for plain_arm, scaled_arm in (("mse", "sahr"), ("wahr", "swahr")):
        for term, value in first[plain_arm].items():
            assert torch.equal(value, first[scaled_arm][term]), "alpha is 0, so nothing changes"
        assert not first[scaled_arm]["scale4"].any() and not first[scaled_arm]["scale2"].any()
    assert first["mse"]["heat4"] != first["wahr"]["heat4"]


@pytest.mark.parametrize("arm", ARMS)
def test_two_steps_reach_everything_and_lower_the_loss(arm: str) -> None:
    net, x, truth = make(loss=ARMS[arm]), torch.randn(2, 3, 32, 64), labels()
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    seen: set[str] = set()
    totals = []
    for _ in range(3):
        terms = net.losses(net(x), truth)
        assert all(t.dtype == torch.float32 and t.ndim == 0 and torch.isfinite(t) for t in terms.values())
        total = sum(terms.values(), torch.zeros(()))
        totals.append(total.item())
        optimizer.zero_grad()
        total.backward()
        for name, p in net.named_parameters():
            assert p.grad is not None and torch.isfinite(p.grad).all(), name
            if p.grad.any():
                seen.add(name)
        optimizer.step()
    assert seen == {name for name, _ in net.named_parameters()}
    assert totals[2] < totals[0]


def test_alpha_moves_away_from_zero() -> None:
    net, x, truth = make(), torch.randn(2, 3, 32, 64), labels()
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        sum(net.losses(net(x), truth).values(), torch.zeros(())).backward()
        optimizer.step()
    assert net(x)["scale2"].any()


def test_a_batch_of_one_and_bfloat16() -> None:
    net = make()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        maps = net(torch.randn(1, 3, 64, 64))
        # From the maps on: bfloat16 gradients of strided 1x1 convolutions crash the CPU build of torch 2.13.
        maps = {k: v.detach().requires_grad_() for k, v in maps.items()}
        terms = net.losses(maps, labels(B=1, size=(64, 64)))
    assert maps["heat2"].dtype == torch.bfloat16
    assert all(t.dtype == torch.float32 and torch.isfinite(t) for t in terms.values())
    sum(terms.values(), torch.zeros(())).backward()
    for m in maps.values():
        assert m.grad is not None and torch.isfinite(m.grad).all() and m.grad.any()


@pytest.mark.parametrize("people", [0, 2])
def test_nobody_teaches_the_background_and_nothing_else(people: int) -> None:
    net, truth = make(), labels(M=people)
    truth = truth._replace(known=truth.known & False, uv=truth.uv * float("nan"))
    maps = net(torch.randn(2, 3, 32, 64))
    terms = net.losses(maps, truth)
    assert not any(terms[name].any() for name in ("pull", "push", "scale4", "scale2"))
    assert (terms["heat4"] > 0).all() and (terms["heat2"] > 0).all()
    blind = net.losses(maps, truth._replace(labelled=truth.labelled & False))
    total = sum(blind.values(), torch.zeros(()))
    assert not total.any()
    total.backward()
    assert all(p.grad is None or not p.grad.any() for p in net.parameters())


def test_masked_pixels_teach_nothing() -> None:
    net, truth = make(loss=AdaptiveOptions()), labels(B=1, size=(64, 64))
    truth.labelled[:, :, 32:] = False
    maps = {k: v.detach().requires_grad_() for k, v in net(torch.randn(1, 3, 64, 64)).items()}
    terms = net.losses(maps, truth)
    sum((v for k, v in terms.items() if k not in ("pull", "push")), torch.zeros(())).backward()
    for name in ("heat4", "heat2", "scale4", "scale2"):
        gradient = maps[name].grad
        assert gradient is not None
        half = gradient.shape[-1] // 2
        assert not gradient[..., half:].any() and gradient[..., :half].any(), name


def exact_maps(uv: Tensor, size: tuple[int, int], *, subcell: bool) -> dict[str, Tensor]:
    """(1, M, J, 2) people, one in each 96 columns, to the maps of a perfect network."""
    known = torch.ones(uv.shape[:3], dtype=torch.bool)
    maps = {
        f"heat{s}": people_heatmaps(uv, known, stride=s, size=(size[0] // s, size[1] // s), subcell=subcell)
        for s in (4, 2)
    }
    columns = torch.arange(size[1] // 4) // 24 * 3.0
    return {**maps, "tags4": columns.expand(1, J, size[0] // 4, size[1] // 4)}


def people_uv(M: int = 2) -> Tensor:
    torch.manual_seed(3)
    uv = 12 + torch.rand(1, M, J, 2) * 72
    uv[..., 0] += torch.arange(M)[None, :, None] * 96
    return uv


@pytest.mark.parametrize(("subcell", "bound"), [(False, 2.0), (True, 1.0)])
def test_exact_maps_give_the_people_back(subcell: bool, bound: float) -> None:
    net, uv, size = make(), people_uv(), (96, 192)
    maps = exact_maps(uv, size, subcell=subcell)
    (people,) = net.decode(maps)
    assert people.uv.shape == (2, J, 2)
    order = np.argsort(people.uv[:, 0, 0])
    error = np.abs(people.uv[order] - uv[0].numpy())
    assert error.max() <= bound
    assert error.mean() < bound / 2.5
    assert (people.confidence > 0.7).all()

    mirrored = {k: v.flip(-1)[:, torch.from_numpy(DHP19_SKELETON.flip)] for k, v in maps.items()}
    (same,) = net.decode(maps, mirrored)
    assert same.uv.shape == people.uv.shape
    for a, b in zip(people, same, strict=True):
        assert np.abs(a[order] - b[np.argsort(same.uv[:, 0, 0])]).max() < 0.51


def test_the_mirrored_maps_exchange_left_and_right() -> None:
    """Only the mirror image shows something: it must come out at the mirrored place, under the other name."""
    net, size = make(grouping=GroupingOptions(min_joints=1, refine=False)), (64, 64)
    uv = torch.full((1, 1, J, 2), 19.5)
    known = torch.zeros(1, 1, J, dtype=torch.bool)
    known[..., DHP19_SKELETON.index("hand_left")] = True
    mirrored = {
        f"heat{s}": people_heatmaps(uv, known, stride=s, size=(size[0] // s, size[1] // s)) for s in (4, 2)
    }
    mirrored["tags4"] = torch.zeros(1, J, 16, 16)
    nothing = {k: torch.zeros_like(v) for k, v in mirrored.items()}
    (people,) = net.decode(nothing, mirrored)
    found = people.confidence[0] > 0
    assert np.flatnonzero(found).tolist() == [DHP19_SKELETON.index("hand_right")]
    assert np.abs(people.uv[0][found] - [63 - 19.5, 19.5]).max() <= 2


def test_people_of_frames_of_any_size() -> None:
    net = make(grouping=GroupingOptions(detection=0.0, min_joints=1, max_people=4)).eval()
    frames = torch.randn(2, 3, 70, 90)
    for flip in (False, True):
        found = net.people(frames, flip=flip)
        assert len(found) == 2
        for people in found:
            assert people.uv.shape[1:] == (J, 2) and people.box.shape == (len(people.uv), 4)
            ok = np.isfinite(people.uv)
            assert (people.uv[ok] >= -0.25).all()
            assert np.nanmax(people.uv[..., 0], initial=0) <= 89.25
            assert np.nanmax(people.uv[..., 1], initial=0) <= 69.25
            assert (people.confidence >= 0).all() and (people.confidence <= 1).all()
    quiet = make().eval()
    assert all(len(p.uv) == 0 for p in quiet.people(torch.zeros(2, 3, 32, 32)))
    with pytest.raises(ShapeError, match="frames must be"):
        net.people(frames[0])


def test_the_mirrored_frame_gives_the_mirrored_joints() -> None:
    """All peaks, whoever they go to: right joints join people before left ones, so groups may differ."""
    net = make(grouping=GroupingOptions(detection=0.0, min_joints=1, refine=False, max_people=400)).eval()
    frames = torch.randn(1, 3, 64, 96)
    (plain,), (mirrored,) = net.people(frames), net.people(frames.flip(-1))
    count = 0
    for j, partner in enumerate(DHP19_SKELETON.flip):
        a, b = (p.uv[p.confidence[:, k] > 0, k] for p, k in ((plain, j), (mirrored, partner)))
        b = np.stack([95 - b[:, 0], b[:, 1]], -1)
        assert a.shape == b.shape
        assert np.allclose(a[np.lexsort(a.T)], b[np.lexsort(b.T)], atol=0.51), DHP19_SKELETON.joints[j]
        count += len(a)
    assert count > J


def test_the_config_survives_json() -> None:
    config = SWAHRConfig(
        skeleton="smpl24",
        joint_order=tuple(reversed(SMPL_SKELETON.joints)),
        loss=AdaptiveOptions(expansion="exact", weighting="target"),
        grouping=GroupingOptions(detection=0.2),
    )
    assert SWAHRConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    assert SWAHRConfig.from_json({}) == SWAHRConfig()
    for wrong in ({"stages": 3}, {"loss": {"focal": 2}}):
        with pytest.raises(FormatError, match="does not know"):
            SWAHRConfig.from_json(wrong)


def test_wrong_sizes_are_refused() -> None:
    for wrong, said in (
        ({"skeleton": "coco17"}, "no skeleton"),
        ({"encoder": "hrnet"}, "resnet18 or resnet50"),
        ({"channels": 0}, "channels"),
        ({"sigma": 0.0}, "sigma"),
        ({"joint_order": ("head",)}, "each joint"),
    ):
        with pytest.raises(ShapeError, match=said):
            SWAHRConfig(**wrong)  # type: ignore[arg-type]
    net, truth = make(), labels()
    maps = net(torch.randn(2, 3, 32, 64))
    with pytest.raises(ShapeError, match="labelled must be"):
        net.losses(maps, truth._replace(labelled=truth.labelled[:, :16]))
    with pytest.raises(ShapeError, match="NaN"):
        net.losses(maps, truth._replace(uv=truth.uv * float("nan")))
    with pytest.raises(ShapeError, match="scale heads"):
        net.losses(net(torch.randn(2, 3, 32, 64), scales=False), truth)


def test_fresh_tags_have_the_spread_asked_for() -> None:
    plain, wide = make(tag_std=0.001, channels=64), make(tag_std=0.1, channels=64)
    for net, std in ((plain, 0.001), (wide, 0.1)):
        weight = net.head4.weight.detach()
        assert float(weight[J:].std()) == pytest.approx(std, rel=0.15)
        assert float(weight[:J].std()) == pytest.approx(0.001, rel=0.15)
