from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from eventhpe.errors import FormatError, ShapeError
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.rotation import geodesic_angle
from eventhpe.shapenet.crop import crop_to_pixels, project_to_crop, ray_rotation
from eventhpe.shapenet.encoder import resnet18, resnet50
from eventhpe.shapenet.losses import BodyTargets, ShapeLossWeights, shape_losses
from eventhpe.shapenet.network import (
    START_VARIANCE,
    NoiseHead,
    ShapeNet,
    build_shapenet,
    from_place,
    from_ray,
    fuse_rotations,
    to_place,
    to_ray,
)
from eventhpe.shapenet.state import ShapeNetConfig, StartState
from eventhpe.shapenet.tracker import BodyTracker

SMALL = ShapeNetConfig(in_channels=4, size=32, width=4, hidden=24, crop_features=4)


def inputs(B: int = 2, T: int = 3, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    frames = (torch.rand(B, T, 4, 32, 32, generator=g) < 0.2).float()
    flow = 3 * torch.randn(B, T, 2, 32, 32, generator=g)
    crop = torch.tensor([0.1, -0.2, 0.3]) + 0.05 * torch.rand(B, T, 3, generator=g)
    return frames, flow, crop


@pytest.fixture
def net() -> ShapeNet:
    torch.manual_seed(0)
    network = ShapeNet(SMALL)
    network.set_body(torch.tensor([0.0, 0.2, 0.0]), 0.02 * torch.randn(3, 10))
    for head in (network.absolute.pose, network.delta.pose, network.absolute.betas):
        torch.nn.init.normal_(
            head.weight, std=0.1
        )  # away from the near-constant start, so that tests see something
    torch.nn.init.normal_(network.noise.log_variances.weight, std=0.1)
    return network


def test_resnets_have_torchvision_names_and_sizes() -> None:
    names = set(resnet50(in_channels=10).state_dict())
    assert {
        "conv1.weight",
        "bn1.running_mean",
        "layer1.0.downsample.0.weight",
        "layer4.2.conv3.weight",
    } <= names
    assert {"layer2.0.downsample.1.running_var", "layer3.5.bn3.bias"} <= names and len(names) == 318
    assert sum(p.numel() for p in resnet50(in_channels=3).parameters()) == 25_557_032 - 2_049_000
    assert sum(p.numel() for p in resnet18(in_channels=3).parameters()) == 11_689_512 - 513_000
    small = resnet18(in_channels=8, width=8)
    assert small(torch.zeros(2, 8, 32, 32)).shape == (2, 64) and small.out_features == 64


def test_default_size_fits_a_shipped_file() -> None:
    net = ShapeNet()
    assert sum(p.numel() for p in net.encoder.image.parameters()) == 2_809_856
    assert 2 * sum(v.numel() for v in net.state_dict().values()) < 16 * 1024 * 1024


def test_shapes_and_valid_rotations(net: ShapeNet) -> None:
    out = net(*inputs())
    assert out.rotmats.shape == out.rotmats_abs.shape == (2, 3, 24, 3, 3)
    assert out.betas.shape == (2, 3, 10) and out.transl.shape == out.transl_abs.shape == (2, 3, 3)
    assert out.log_var.shape == out.confidence.shape == (2, 3, 24) and out.hidden.shape == (2, 24)
    eye = torch.eye(3).expand_as(out.rotmats)
    torch.testing.assert_close(out.rotmats.transpose(-1, -2) @ out.rotmats, eye, atol=1e-5, rtol=0)
    assert torch.linalg.det(out.rotmats).min() > 0.99
    assert out.confidence.min() > 0 and out.confidence.max() <= 1
    rotmats, betas, transl = out.with_start()
    assert rotmats.shape[1] == betas.shape[1] == transl.shape[1] == 4


def test_untrained_network_starts_at_the_mean_pose_and_a_sensible_depth(rotations: Any) -> None:
    net = ShapeNet(SMALL)
    mean = rotations(24, seed=9)
    net.set_mean_pose(mean)
    frames, flow, crop = inputs()
    out = net(frames, flow, crop)
    turned = from_ray(mean.expand(2, 3, 24, 3, 3), ray_rotation(crop))
    assert geodesic_angle(out.rotmats, turned).max() < 0.6
    assert geodesic_angle(out.rotmats, turned).mean() < 0.2
    depth = 2.0 / (2 * crop[..., 2])
    assert ((out.transl[..., 2] / depth).log().abs() < 0.5).all()
    uv = project_to_crop(out.transl[..., None, :], crop)
    assert uv.abs().max() < 0.5


def test_known_shape_is_kept_and_unknown_shape_is_the_running_mean(net: ShapeNet, start: StartState) -> None:
    args = inputs()
    assert torch.equal(net(*args, start).betas, start.betas[:, None].expand(-1, 3, -1))
    net.eval()
    out = net(*args)
    single = [
        net(args[0][:, : t + 1], args[1][:, : t + 1], args[2][:, : t + 1]).betas[:, -1] for t in range(3)
    ]
    torch.testing.assert_close(out.betas, torch.stack(single, 1), atol=1e-5, rtol=0)
    assert not torch.allclose(out.betas[:, 0], out.betas[:, 2])


def reference_track(net: ShapeNet, args: tuple[Tensor, Tensor, Tensor], start: StartState) -> Tensor:
    """The recurrence of rotations, one joint and one window at a time, straight from its description."""
    frames, flow, crop = args
    B, T = frames.shape[:2]
    x = net.encode(frames, flow, crop).features
    given = net(*args, start)
    out = torch.zeros(B, T, 24, 3, 3)
    for b in range(B):
        hidden = torch.zeros(1, x.shape[-1])
        R, variance = start.rotmats[b], torch.full((25,), START_VARIANCE)
        transl, betas = start.transl[b], start.betas[b]
        for t in range(T):
            P, (x_c, y_c, half) = ray_rotation(crop[b, t]), crop[b, t]
            seen_from_ray = torch.cat([(P.T @ R[0])[None], R[1:]])
            pelvis = transl + net.pelvis_at_rest(betas)
            place = torch.stack(
                [
                    (pelvis[0] / pelvis[2] - x_c) / half,
                    (pelvis[1] / pelvis[2] - y_c) / half,
                    torch.log(pelvis[2] * half),  # log z - log(2 m / (2 half))
                ]
            )
            described = torch.cat([seen_from_ray[:, :, :2].transpose(1, 2).flatten(), place, variance.log()])
            hidden = net.memory.cell(x[b, t][None] + net.memory.body(described[None]), hidden)
            y = hidden + x[b, t]
            absolute, delta = net.absolute(y)[0][0], net.delta(y)[0][0]
            seen, step = (v[0] for v in net.noise(y))
            variance = variance + step
            weight = variance / (variance + seen)
            variance = (1 - weight) * variance
            for j in range(24):
                Pj = P if j == 0 else torch.eye(3)
                moved = delta[j] @ (Pj.T @ R[j])
                first, second = ((1 - weight[j]) * moved + weight[j] * absolute[j])[:, :2].T
                e1 = first / first.norm()
                e2 = second - (e1 @ second) * e1
                e2 = e2 / e2.norm()
                out[b, t, j] = Pj @ torch.stack([e1, e2, torch.linalg.cross(e1, e2)], 1)
            R, transl = out[b, t], given.transl[b, t]
    return out


def test_recurrence_equals_a_plain_loop(net: ShapeNet, start: StartState) -> None:
    net.eval()
    args = inputs()
    with torch.no_grad():
        torch.testing.assert_close(
            net(*args, start).rotmats, reference_track(net, args, start), atol=1e-5, rtol=0
        )


def set_noise(net: ShapeNet, log_absolute: float, log_step: float) -> None:
    net.noise.log_variances.weight.zero_()
    net.noise.log_variances.bias[:25] = log_absolute
    net.noise.log_variances.bias[25:] = log_step


def test_identity_deltas_keep_the_start_when_the_absolute_head_is_hopeless(
    net: ShapeNet, start: StartState
) -> None:
    with torch.no_grad():
        net.delta.pose.weight.zero_()
        net.delta.uvz.weight.zero_()
        set_noise(net, 8.0, -8.0)
    out = net(*inputs(), start)
    # The weight of the absolute head is (0.01 + 3 exp(-8)) / exp(8) at most: a few millionths per window.
    torch.testing.assert_close(
        out.rotmats, start.rotmats[:, None].expand(-1, 3, -1, -1, -1), atol=1e-4, rtol=0
    )
    torch.testing.assert_close(out.transl, start.transl[:, None].expand(-1, 3, -1), atol=1e-4, rtol=0)
    torch.testing.assert_close(out.transl_start, start.transl, atol=1e-6, rtol=0)


def test_hopeless_deltas_leave_the_absolute_head(net: ShapeNet, start: StartState) -> None:
    with torch.no_grad():
        set_noise(net, -8.0, 8.0)
    out = net(*inputs(), start)
    torch.testing.assert_close(out.rotmats, out.rotmats_abs, atol=1e-4, rtol=0)
    torch.testing.assert_close(out.transl, out.transl_abs, atol=1e-4, rtol=0)


def test_filter_settles_at_the_configured_weight_and_averages_before(net: ShapeNet) -> None:
    """Without a start the first weights are those of a running mean; with time they settle."""
    seen, step = (v.detach() for v in NoiseHead(features=8, steady_weight=0.3)(torch.zeros(8)))
    assert torch.allclose(seen, torch.ones(25))
    variance, weights = float(seen[0]), []
    for _ in range(50):
        variance += float(step[0])
        weights.append(variance / (variance + float(seen[0])))
        variance *= 1 - weights[-1]
    assert weights[0] > 0.5 and all(a > b for a, b in pairwise(weights[:10]))
    assert weights[-1] == pytest.approx(0.3, abs=1e-3)


def test_without_a_start_the_first_window_is_absolute(net: ShapeNet) -> None:
    out = net(*inputs())
    torch.testing.assert_close(out.rotmats[:, 0], out.rotmats_abs[:, 0])
    torch.testing.assert_close(out.transl[:, 0], out.transl_abs[:, 0])
    assert not torch.allclose(out.rotmats[:, 1], out.rotmats_abs[:, 1])


def test_pelvis_lands_where_the_head_says(net: ShapeNet) -> None:
    net.eval()
    with torch.no_grad():
        net.absolute.uvz.weight.zero_()
        net.absolute.uvz.bias.copy_(torch.tensor([0.5, -0.25, 0.2]))
    frames, flow, crop = inputs()
    out = net(frames, flow, crop)
    pelvis = out.transl_abs + net.pelvis_at_rest(out.betas)
    uv = project_to_crop(pelvis[..., None, :], crop)[..., 0, :]
    torch.testing.assert_close(uv, torch.tensor([0.5, -0.25]).expand_as(uv), atol=1e-5, rtol=0)
    torch.testing.assert_close(pelvis[..., 2], torch.exp(torch.tensor(0.2)) / crop[..., 2])


def test_fusion_is_the_way_point_to_first_order(rotations: Any) -> None:
    a = rotations(50, seed=1)
    small = rotations(50, angle=0.02, seed=2)
    b = small @ a
    whole = geodesic_angle(a, b)
    for weight in (0.0, 0.3, 1.0):
        mixed = fuse_rotations(a[:, None], b[:, None], torch.full((50, 1), weight))[:, 0]
        torch.testing.assert_close(geodesic_angle(a, mixed), weight * whole, atol=1e-3, rtol=0)


def test_ray_rotation_takes_the_axis_to_the_ray_by_the_smallest_turn() -> None:
    crop = torch.tensor([[0.0, 0.0, 0.2], [0.3, -0.5, 0.2], [-0.9, 0.1, 0.3]])
    R = ray_rotation(crop)
    ray = torch.nn.functional.normalize(torch.cat([crop[:, :2], torch.ones(3, 1)], 1), dim=-1)
    torch.testing.assert_close(R[..., 2], ray)
    torch.testing.assert_close(R @ R.transpose(-1, -2), torch.eye(3).expand(3, 3, 3), atol=1e-6, rtol=0)
    smallest = torch.arccos(ray[:, 2].clamp(max=1))
    torch.testing.assert_close(geodesic_angle(torch.eye(3).expand(3, 3, 3), R), smallest, atol=1e-5, rtol=0)


def test_frames_of_the_ray_and_place_are_inverse(rotations: Any) -> None:
    R, ray = rotations(4, 24), ray_rotation(torch.tensor([0.3, 0.2, 0.2])).expand(4, 3, 3)
    torch.testing.assert_close(from_ray(to_ray(R, ray), ray), R, atol=1e-6, rtol=0)
    xyz = torch.tensor([[0.4, -0.3, 2.5]])
    torch.testing.assert_close(from_place(to_place(xyz)), xyz)


def test_crop_pixels_agree_with_the_camera_class() -> None:
    camera = Camera.from_focal(300.0, (480, 640))
    left, top, side, S = 200.0, 90.0, 220.0, 128
    xyz = np.array([[0.1, -0.2, 2.5], [-0.3, 0.3, 3.0]])
    expected = camera.crop(left, top, side, S).project(xyz)
    # Pixel edges to integer pixel centres: half a pixel to the left.
    centre = (np.array([left, top]) + side / 2 - 0.5 - camera.K[:2, 2]) / 300.0
    crop = torch.tensor([*centre, side / 2 / 300.0], dtype=torch.float32)
    ours = crop_to_pixels(project_to_crop(torch.tensor(xyz, dtype=torch.float32), crop), S)
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-3)


@pytest.mark.parametrize("cuts", [(1, 1, 1, 1, 1, 1), (2, 4), (5, 1)])
@pytest.mark.parametrize("known", [False, True])
def test_streaming_in_chunks_equals_one_pass(
    net: ShapeNet, body: Any, cuts: tuple[int, ...], known: bool
) -> None:
    frames, flow, crop = inputs(B=1, T=6)
    begin = None
    if known:
        begin = StartState(
            torch.eye(3).expand(1, 24, 3, 3), torch.ones(1, 10), torch.tensor([[0.0, 0.1, 3.0]])
        )
    tracker = BodyTracker(net, body)
    for _ in range(2):  # the second round shows that reset forgets everything
        tracker.reset(begin)
        tracked, i = [], 0
        for n in cuts:
            tracked += tracker.step(frames[0, i : i + n], flow[0, i : i + n].numpy(), crop[0, i : i + n])
            i += n
    with torch.no_grad():
        whole = net(frames, flow, crop, begin)
    for t, one in enumerate(tracked):
        np.testing.assert_allclose(one.rotmats, whole.rotmats[0, t], atol=1e-5)
        np.testing.assert_allclose(one.betas, whole.betas[0, t], atol=1e-5)
        np.testing.assert_allclose(one.transl, whole.transl[0, t], atol=1e-5)
        np.testing.assert_allclose(one.confidence, whole.confidence[0, t], atol=1e-5)
        assert one.joints is not None and one.joints.shape == (24, 3)
    assert tracker.step(frames[0, :0], flow[0, :0], crop[0, :0]) == []


def test_input_errors(net: ShapeNet) -> None:
    frames, flow, crop = inputs()
    with pytest.raises(ShapeError, match="needs flow"):
        net(frames, None, crop)
    with pytest.raises(ShapeError, match="crop must be"):
        net(frames, flow, crop[:, :1])
    with pytest.raises(ShapeError, match="frames must be"):
        net(frames[:, :, :3], flow, crop)
    with pytest.raises(ShapeError, match="rotmats"):
        StartState(torch.eye(3).expand(1, 23, 3, 3), torch.zeros(1, 10), torch.zeros(1, 3))
    with pytest.raises(FormatError, match="does not know"):
        ShapeNetConfig.from_json({"depth": 3})
    assert ShapeNetConfig.from_json(SMALL.to_json()) == SMALL


def test_without_flow(targets: BodyTargets) -> None:
    net = build_shapenet(ShapeNetConfig(in_channels=4, width=4, hidden=16, use_flow=False))
    frames, _, crop = inputs()
    assert net(frames, None, crop).rotmats.shape == (2, 3, 24, 3, 3)


@pytest.mark.parametrize("free", [True, False])
@pytest.mark.parametrize("autocast", [True, False])
def test_two_training_steps(
    net: ShapeNet, body: Any, targets: BodyTargets, start: StartState, free: bool, autocast: bool
) -> None:
    frames, flow, crop = inputs()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(2):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            out = net(frames, flow, crop, None if free else start)
            loss, terms = shape_losses(
                out, targets, body=body, crop=crop, flow=flow, weights=ShapeLossWeights()
            )
        assert out.rotmats.dtype == torch.float32 and loss.dtype == torch.float32
        assert set(terms) == set(ShapeLossWeights().to_json()) - {"joint_maps"}  # this network has none
        optimizer.zero_grad()
        loss.backward()
        assert torch.isfinite(loss)
        for name, p in net.named_parameters():
            if not free and name.startswith("absolute.betas"):
                continue  # the shape is known, nothing to learn
            assert p.grad is not None and torch.isfinite(p.grad).all() and p.grad.abs().sum() > 0, name
        optimizer.step()
