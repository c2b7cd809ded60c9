from __future__ import annotations

import pytest
import torch
from torch import Tensor

from eventhpe.errors import ShapeError
from eventhpe.geometry.skeleton import DHP19_15_SKELETON, DHP19_SKELETON
from eventhpe.shapenet.encoder import resnet18
from eventhpe.shapenet.heads.base import HeadSize, JointLabels
from eventhpe.shapenet.heads.volume import volume_to_pixels
from eventhpe.shapenet.heads.volumetric import VolumeOptions, VolumetricHead, VolumetricOptions

SIZE = 64
SMALL = VolumetricOptions(width=1 / 32, depth_bins=6)
SMALL_MAPS = VolumetricOptions(width=1 / 32, depth_bins=6, maps2d=True)


def labels(B: int = 2, J: int = 13, seed: int = 0) -> JointLabels:
    g = torch.Generator().manual_seed(seed)
    yes = torch.ones(B, J, dtype=torch.bool)
    return JointLabels(
        uv=60 * torch.rand(B, J, 2, generator=g), known=yes, xyz=torch.randn(B, J, 3, generator=g) * 0.3,
        known3d=yes.clone(), order=torch.zeros(B, 14).long(), order_known=torch.ones(B, 14, dtype=torch.bool),
    )  # fmt: skip


def head(options: VolumetricOptions = SMALL) -> VolumetricHead:
    torch.manual_seed(0)
    return VolumetricHead(HeadSize(DHP19_SKELETON, 8, SIZE), options)


def maps_of(net: VolumetricHead, B: int = 2) -> dict[str, Tensor]:
    features = torch.randn(B, 8, 2, 2, generator=torch.Generator().manual_seed(5))
    maps: dict[str, Tensor] = net(features)
    return maps


def flat_maps(B: int = 2, J: int = 13) -> dict[str, Tensor]:
    return {
        "volume": torch.zeros(B, J, 6, 16, 16, requires_grad=True),
        "joints2d": torch.zeros(B, J, 16, 16, requires_grad=True),
    }


def test_shapes_and_default_bins() -> None:
    maps = maps_of(head())
    assert {k: tuple(v.shape) for k, v in maps.items()} == {
        "volume": (2, 13, 6, 16, 16), "joints2d": (2, 13, 16, 16), "triplets": (2, 14, 3, 16, 16),
        "features": (2, 32 + 8, 16, 16),
    }  # fmt: skip
    assert [VolumeOptions().bins(s) for s in (64, 128, 160, 256)] == [32, 32, 64, 64]


def test_the_loss_of_a_flat_volume_by_hand() -> None:
    """A flat volume says the middle of the crop, at the root's depth."""
    known = labels()
    terms = head().losses(flat_maps(), known)
    assert terms.keys() == {"joints_image", "joints_depth"}
    image = ((known.uv + 0.5) / SIZE - 0.5).abs().sum() / 2
    assert terms["joints_image"].item() == pytest.approx(image.item(), rel=1e-5)
    assert terms["joints_depth"].item() == pytest.approx(
        (known.xyz[..., 2] / 2).abs().sum().item() / 2, rel=1e-5
    )


def test_the_maps_arm_adds_alpha_times_the_sum_of_squares() -> None:
    net = head(SMALL_MAPS)
    known = labels()
    term = net.losses(flat_maps(), known)["joints2d"]
    assert term.item() == pytest.approx(0.05 * net.joint_gaussians(known).square().sum().item() / 2, rel=1e-5)


@pytest.mark.parametrize("with_depth", [True, False])
def test_without_labels_in_space_only_depth_is_free(with_depth: bool) -> None:
    maps, known = flat_maps(), labels()
    known = known._replace(known3d=known.known3d & with_depth)
    sum(head().losses(maps, known).values()).backward()  # type: ignore[union-attr]
    gradient = maps["volume"].grad
    assert gradient is not None
    along_depth = gradient - gradient.mean(2, keepdim=True)
    assert bool(along_depth.abs().max() > 1e-7) is with_depth
    assert (gradient - gradient.mean((-2, -1), keepdim=True)).abs().max() > 1e-6


def test_nan_where_unknown_and_joints_off_the_crop_do_not_count() -> None:
    known = labels()
    known.uv[0, 0], known.known[0, 0] = torch.nan, False
    known.xyz[0, 1], known.known3d[0, 1] = torch.nan, False
    net, maps = head(SMALL_MAPS), flat_maps()
    terms = net.losses(maps, known)
    assert all(torch.isfinite(t) for t in terms.values())
    known.uv[1, 3] = torch.tensor([-20.0, 5.0])
    off = net.losses(maps, known)
    known.uv[1, 3] = torch.tensor([-900.0, 5.0])
    assert off["joints_image"] == net.losses(maps, known)["joints_image"] < terms["joints_image"]


@pytest.mark.parametrize("options", [SMALL, SMALL_MAPS])
def test_all_unknown_is_zero_with_a_gradient_for_a_batch_of_one(options: VolumetricOptions) -> None:
    net = head(options)
    nothing = torch.zeros(1, 13, dtype=torch.bool)
    known = labels(1)._replace(known=nothing, known3d=nothing)
    total = torch.stack(list(net.losses(maps_of(net, 1), known).values())).sum()
    total.backward()
    assert total.item() == 0
    grads = [p.grad for p in net.net.volume.parameters()]
    assert all(g is not None and not g.any() for g in grads)


@pytest.mark.parametrize("grid", ["centres", "ends", "published"])
def test_a_peaked_volume_is_decoded_to_its_place(grid: str) -> None:
    net = head(VolumetricOptions(width=1 / 32, depth_bins=6, grid=grid, half_depth=1.5))
    maps = {"volume": torch.full((1, 13, 6, 16, 16), -1e4)}
    maps["volume"][0, :, 4, 3, 9] = 1e4
    found = net.decode(maps)
    place = (9.5 / 16 - 0.5, 3.5 / 16 - 0.5) if grid == "centres" else (9 / 15 - 0.5, 3 / 15 - 0.5)
    expected = volume_to_pixels(torch.tensor(place), SIZE, grid)
    torch.testing.assert_close(found.uv[0, 5], expected, atol=1e-4, rtol=0)
    assert found.depth is not None
    z = 4.5 / 6 - 0.5 if grid == "centres" else 4 / 5 - 0.5
    assert found.depth[0, 0].item() == pytest.approx(3 * z, abs=1e-5)
    assert found.confidence.min() == 1


def test_half_precision_gives_finite_float_losses() -> None:
    net = head(SMALL_MAPS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        maps = maps_of(net)
        terms = net.losses(maps, labels())
    assert maps["volume"].dtype == torch.bfloat16
    assert all(t.dtype == torch.float32 and torch.isfinite(t) for t in terms.values())


def test_two_steps_with_the_encoder_lower_the_loss() -> None:
    torch.manual_seed(0)
    encoder = resnet18(in_channels=2, width=8)
    net = VolumetricHead(HeadSize(DHP19_15_SKELETON, encoder.out_channels, SIZE), SMALL_MAPS)
    frames, known = torch.rand(2, 2, SIZE, SIZE), labels(2, 15)
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
    for wrong in ({"grid": "x"}, {"depth_bins": 1}, {"width": 0.0}, {"alpha": -1.0}, {"half_depth": 0.0}):
        with pytest.raises(ShapeError):
            VolumetricOptions(**wrong)  # type: ignore[arg-type]
