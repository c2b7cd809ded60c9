"""Soft-argmax: exactness and the head."""

from __future__ import annotations

import pytest
import torch

from eventhpe.errors import ShapeError
from eventhpe.shapenet.heads.base import JointLabels
from eventhpe.shapenet.heads.coordinates import cells_to_pixels, coordinate_loss, inside_crop
from eventhpe.shapenet.heads.integral import IntegralHead, IntegralOptions, soft_argmax
from tests.shapenet.heads import head_checks as checks


def _delta(row: int, column: int) -> torch.Tensor:
    logits = torch.full((1, 1, 16, 16), -1e4)
    logits[0, 0, row, column] = 0.0
    return logits


@pytest.mark.parametrize(("row", "column"), [(0, 0), (5, 11), (15, 15)])
def test_a_delta_is_read_exactly(row: int, column: int) -> None:
    cells, confidence = soft_argmax(_delta(row, column))
    assert cells.tolist() == [[[column, row]]]
    assert confidence.item() == 1.0


def test_one_cell_further_is_one_cell_further_and_a_flat_map_is_the_middle() -> None:
    logits = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0)) * 3
    logits[..., -1] = -1e4
    moved = logits.roll(1, dims=-1)
    torch.testing.assert_close(
        soft_argmax(moved)[0] - soft_argmax(logits)[0], torch.tensor([1.0, 0.0]).expand(2, 3, 2)
    )
    cells, confidence = soft_argmax(torch.full((1, 1, 16, 16), 7.0))
    assert cells.tolist() == [[[7.5, 7.5]]] and confidence.item() == pytest.approx(0, abs=1e-6)
    assert cells_to_pixels(cells, 4).tolist() == [[[31.5, 31.5]]], "the middle of 64 pixels"


def test_a_gaussian_that_the_border_does_not_cut_is_read_exactly() -> None:
    centre = torch.tensor([7.3, 8.9])
    index = torch.arange(16.0)
    logits = -((index[None, :] - centre[0]) ** 2 + (index[:, None] - centre[1]) ** 2) / 2
    cells, _ = soft_argmax(logits[None, None])
    torch.testing.assert_close(cells[0, 0], centre, atol=1e-5, rtol=0)


def _labels(uv: list[list[float]], known: list[bool]) -> JointLabels:
    labels = checks.random_labels(1)
    return labels._replace(uv=torch.tensor([uv]), known=torch.tensor([known]))


def test_loss_by_hand() -> None:
    """|du| + |dv| in sides of the crop, over the joints that are known and on it."""
    labels = _labels(
        [[10.0, 10.0], [20.0, 20.0], [-3.0, 5.0], [float("nan"), 1.0]], [True, True, True, False]
    )
    uv = torch.tensor([[[14.0, 8.0], [20.0, 30.0], [0.0, 0.0], [0.0, 0.0]]])
    assert inside_crop(labels.uv, labels.known, 64).tolist() == [[True, True, False, False]]
    assert float(coordinate_loss(uv, labels, 64)) == pytest.approx((6 + 10) / 2 / 64)


def test_a_loss_of_zero_where_the_prediction_is_right() -> None:
    labels = checks.random_labels()
    assert float(coordinate_loss(labels.uv, labels, 64)) == 0


def test_head_learns() -> None:
    net = checks.SmallNet(IntegralHead, IntegralOptions(channels=16))
    assert net(checks.frames())["logits"].shape == (4, checks.J, 16, 16)
    checks.check_training(net)
    checks.check_unknown(net)
    checks.check_single(net)
    checks.check_unknown_joint(net.head, net(checks.frames()))
    checks.check_low_precision(net.head, net(checks.frames()))


def test_head_decodes_and_flips() -> None:
    head = IntegralHead(checks.head_size(), IntegralOptions(channels=8))
    logits = _delta(3, 10).expand(1, checks.J, 16, 16)
    for decoded in (
        head.decode({"logits": logits}),
        head.flip({"logits": logits}, {"logits": logits.flip(-1)}),
    ):
        assert (decoded.uv == torch.tensor([41.5, 13.5])).all() and decoded.depth is None
        assert (decoded.confidence == 1).all()


def test_wrong_options() -> None:
    with pytest.raises(ShapeError, match="channels"):
        IntegralOptions(channels=0)
