from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from eventhpe.errors import ShapeError
from eventhpe.flownet.losses import (
    EPSILON,
    contrast_loss,
    contrast_loss_frames,
    end_point_loss,
    event_weight,
    flow_losses,
    parity_flow_losses,
    splat,
)
from eventhpe.flownet.warp import backward_warp, parity_warp


def constant_flow(u: float, v: float, height: int, width: int) -> Tensor:
    return torch.tensor([u, v]).view(1, 2, 1, 1).expand(1, 2, height, width).clone()


@pytest.mark.parametrize("size", [(24, 40), (12, 20), (6, 10), (32, 32)])
def test_whole_pixel_shift_is_exact_inside(size: tuple[int, int]) -> None:
    H, W = size
    image = torch.rand(1, 3, H, W, generator=torch.Generator().manual_seed(0))
    warped, inside = backward_warp(image, constant_flow(2, -1, H, W))
    torch.testing.assert_close(warped[..., 1:, : W - 2], image[..., : H - 1, 2:], atol=2e-5, rtol=0)
    expected = torch.zeros(H, W, dtype=torch.bool)
    expected[1:, : W - 2] = True
    assert torch.equal(inside[0, 0], expected)


def reference_bilinear(image: np.ndarray, x: float, y: float) -> float:
    """Bilinear sample with zeros outside, pixel centres at integers."""
    total = 0.0
    for yy in (int(np.floor(y)), int(np.floor(y)) + 1):
        for xx in (int(np.floor(x)), int(np.floor(x)) + 1):
            if 0 <= yy < image.shape[0] and 0 <= xx < image.shape[1]:
                total += image[yy, xx] * (1 - abs(x - xx)) * (1 - abs(y - yy))
    return total


def test_parity_warp_is_half_a_pixel_off_with_black_outside() -> None:
    rng = np.random.default_rng(0)
    image, flow = rng.random((8, 8)), rng.uniform(-2, 2, (2, 8, 8))
    out = parity_warp(torch.tensor(image)[None, None], torch.tensor(flow)[None])[0, 0]
    expected = [
        [reference_bilinear(image, x + flow[0, y, x] - 0.5, y + flow[1, y, x] - 0.5) for x in range(8)]
        for y in range(8)
    ]
    np.testing.assert_allclose(out.numpy(), expected, atol=1e-5)
    with pytest.raises(ShapeError, match="square"):
        parity_warp(torch.rand(1, 1, 8, 9), torch.zeros(1, 2, 8, 9))


def test_warp_refuses_flow_of_another_size() -> None:
    with pytest.raises(ShapeError, match="flow must be"):
        backward_warp(torch.rand(1, 1, 8, 8), torch.zeros(1, 2, 4, 4))


def texture(height: int, width: int, shift: tuple[float, float]) -> Tensor:
    """Smooth texture moved by (u, v), sampled analytically."""
    y, x = torch.meshgrid(torch.arange(height).float(), torch.arange(width).float(), indexing="ij")
    x, y = x - shift[0], y - shift[1]
    waves = torch.sin(x / 5) + torch.cos(y / 6) + torch.sin((x + y) / 9)
    return (0.5 + waves / 8)[None, None]


TRUE = (4.0, -2.0)


def moving_pair(height: int = 64, width: int = 96) -> tuple[Tensor, Tensor]:
    return texture(height, width, (0, 0)), texture(height, width, TRUE)


def pyramid(u: float, v: float, height: int = 64, width: int = 96) -> list[Tensor]:
    return [constant_flow(u / s, v / s, height // s, width // s) for s in (8, 4, 2, 1)]


def test_photometric_loss_is_lowest_at_the_true_flow() -> None:
    first, second = moving_pair()
    at_truth = flow_losses(pyramid(*TRUE), first, second)[1]
    floor = EPSILON**0.9
    finest = flow_losses([constant_flow(*TRUE, 64, 96)], first, second)[1]
    assert float(finest["photometric"]) < 1.05 * floor
    assert abs(float(at_truth["smoothness"])) < 1e-7
    for wrong in [(0.0, 0.0), (-4.0, 2.0), (6.0, -2.0), (4.0, 1.0)]:
        assert float(flow_losses(pyramid(*wrong), first, second)[0]) > 2 * float(at_truth["photometric"])


def test_photometric_gradient_vanishes_at_truth_and_points_home_elsewhere() -> None:
    first, second = moving_pair()
    gradients = {}
    for name, uv in {"true": TRUE, "right": (5.0, -2.0), "left": (3.0, -2.0)}.items():
        shift = torch.tensor(uv, requires_grad=True)
        flow = shift.view(1, 2, 1, 1).expand(1, 2, 64, 96)
        flow_losses([flow], first, second)[0].backward()
        assert shift.grad is not None
        gradients[name] = shift.grad
    assert gradients["right"][0] > 0 > gradients["left"][0]
    assert gradients["true"].abs().max() < 0.05 * gradients["right"][0]


def test_events_weigh_the_photometric_error() -> None:
    first, second = moving_pair()
    second = second.clone()
    second[..., :, 60:] = 0.0  # a change of brightness that no event reported
    frames = torch.zeros(1, 4, 64, 96)
    frames[:, 2, :, :40] = 1
    masked = flow_losses([constant_flow(*TRUE, 64, 96)], first, second, frames=frames)[1]["photometric"]
    plain = flow_losses([constant_flow(*TRUE, 64, 96)], first, second)[1]["photometric"]
    assert masked < 0.2 * plain
    weight = event_weight(frames, (16, 24), floor=0.05, dilation=1)
    assert weight.shape == (1, 1, 16, 24)
    assert torch.all(weight[..., :11] == 1) and torch.allclose(weight[..., 12:], torch.tensor(0.05))


def test_smoothness_spares_image_edges() -> None:
    step_flow = torch.zeros(1, 2, 16, 16)
    step_flow[..., 8:] = 3.0
    flat, edge = torch.full((1, 1, 16, 16), 0.5), torch.zeros(1, 1, 16, 16)
    edge[..., 8:] = 1.0
    at_edge = flow_losses([step_flow], edge, edge)[1]["smoothness"]
    assert at_edge < 0.01 * flow_losses([step_flow], flat, flat)[1]["smoothness"]


def test_parity_losses_follow_the_formula() -> None:
    rng = torch.Generator().manual_seed(1)
    first, second = 255 * torch.rand(2, 1, 1, 16, 16, generator=rng)
    flows = [torch.randn(1, 2, s, s, generator=rng) for s in (2, 4, 8, 16)]
    total, terms = parity_flow_losses(flows, first, second)

    def rho(d: Tensor) -> float:
        return float(((d.double() ** 2 + 1e-6) ** 0.45).mean())

    photo, smooth = 0.0, 0.0
    for f in flows:
        s = f.shape[-1]
        a, b = (interpolate(i, size=(s, s), mode="bilinear", align_corners=False) for i in (first, second))
        photo += rho(a - parity_warp(b, f)) / 4
        parts = [
            f[..., 1:] - f[..., :-1],
            f[..., 1:, :] - f[..., :-1, :],
            f[..., 1:, 1:] - f[..., :-1, :-1],
            f[..., 1:, :-1] - f[..., :-1, 1:],
        ]
        smooth += sum(rho(d) for d in parts) / 16
    assert float(terms["photometric"]) == pytest.approx(photo, rel=1e-5)
    assert float(terms["smoothness"]) == pytest.approx(smooth, rel=1e-5)
    assert float(total) == pytest.approx(photo + 0.5 * smooth, rel=1e-5)


def test_fixed_loss_refuses_images_0_to_255() -> None:
    with pytest.raises(ShapeError, match="Divide by 255"):
        flow_losses(
            [constant_flow(0, 0, 16, 16)], torch.full((1, 1, 16, 16), 200.0), torch.zeros(1, 1, 16, 16)
        )


def test_end_point_loss_by_hand() -> None:
    target = constant_flow(8, 4, 16, 32)
    valid = torch.ones(1, 16, 32, dtype=torch.bool)
    valid[..., 16:] = False
    exact = [constant_flow(8 / s, 4 / s, 16 // s, 32 // s) for s in (4, 2, 1)]
    assert float(end_point_loss(exact, target, valid)) == pytest.approx(0.01, abs=1e-5)
    off = [constant_flow(8 + 3, 4 + 4, 16, 32)]
    assert float(end_point_loss(off, target, valid)) == pytest.approx(5.0, abs=1e-3)
    off[0][..., 16:] = 100.0
    assert float(end_point_loss(off, target, valid)) == pytest.approx(5.0, abs=1e-3)


def moving_events(u: float, v: float, n: int = 400) -> tuple[Tensor, Tensor, Tensor]:
    """Events of a few points that cross the image with constant speed."""
    rng = np.random.default_rng(3)
    points = rng.uniform(14, 50, (25, 2))
    which, t = rng.integers(0, 25, n), rng.random(n)
    x, y = points[which, 0] + u * t, points[which, 1] + v * t
    return (torch.tensor(a, dtype=torch.float32) for a in (x, y, t))  # type: ignore[return-value]


def test_contrast_is_highest_at_the_true_flow() -> None:
    x, y, t = moving_events(7.0, -4.0)
    values = {
        (u, v): float(contrast_loss(constant_flow(u, v, 64, 64)[0], x, y, t))
        for u in np.arange(-1.0, 15.0, 2.0)
        for v in np.arange(-10.0, 3.0, 2.0)
    }
    assert min(values, key=values.get) == (7.0, -4.0)  # type: ignore[arg-type]
    assert float(contrast_loss(constant_flow(0, 0, 64, 64)[0], x, y, t)) == pytest.approx(1.0, abs=1e-5)
    assert values[7.0, -4.0] < 0.5


def test_contrast_gradient_leads_to_the_true_flow() -> None:
    x, y, t = moving_events(3.0, -2.0)
    uv = torch.tensor([2.0, -1.0], requires_grad=True)
    optimizer = torch.optim.Adam([uv], lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        contrast_loss(uv.view(2, 1, 1).expand(2, 64, 64), x, y, t).backward()
        optimizer.step()
    assert (uv.detach() - torch.tensor([3.0, -2.0])).norm() < 0.2


def test_contrast_ignores_padding_and_takes_batches() -> None:
    x, y, t = moving_events(5.0, 0.0)
    flow = constant_flow(5, 0, 64, 64)
    alone = contrast_loss(flow[0], x, y, t)
    pad = torch.full((10,), 20.0)
    valid = torch.cat([torch.ones(400, dtype=torch.bool), torch.zeros(10, dtype=torch.bool)])
    padded = [torch.cat([v, w]) for v, w in ((x, pad), (y, pad), (t, pad / 40))]
    assert torch.allclose(contrast_loss(flow[0], *padded, valid), alone, atol=1e-6)
    doubled = [torch.stack([v, v]) for v in (x, y, t)]
    assert torch.allclose(contrast_loss(flow.expand(2, -1, -1, -1), *doubled), alone, atol=1e-6)
    nothing = contrast_loss(flow[0], x, y, t, torch.zeros(400, dtype=torch.bool))
    assert float(nothing) == 0.0


def test_contrast_from_frames_prefers_the_true_motion() -> None:
    frames = torch.zeros(1, 8, 32, 48)
    for b in range(8):
        frames[0, b, 5:25, 10 + b] = 1  # an upright edge, one pixel per bin to the right
    losses = {
        u: float(contrast_loss_frames(constant_flow(u, 0, 32, 48), frames))
        for u in (-8.0, 0.0, 4.0, 8.0, 12.0)
    }
    assert min(losses, key=losses.get) == 8.0  # type: ignore[arg-type]


def test_splat_keeps_mass_inside_and_drops_it_outside() -> None:
    x, y, mass = torch.tensor([[1.25, -5.0]]), torch.tensor([[2.5, 1.0]]), torch.tensor([[2.0, 3.0]])
    image = splat(x, y, mass, (4, 4))[0]
    assert float(image.sum()) == pytest.approx(2.0)
    assert float(image[2, 1]) == pytest.approx(0.75) and float(image[3, 2]) == pytest.approx(0.25)
