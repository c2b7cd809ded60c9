"""Heatmaps and masks of several people."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from eventhpe.errors import ShapeError
from eventhpe.shapenet.heads.peaks import quarter_shift, top_peaks
from eventhpe.shapenet.heads.swahr_targets import (
    PeopleLabels,
    cell_mask,
    check_people,
    joint_cells,
    labelled_pixels,
    people_heatmaps,
)


def test_the_published_generator_gives_the_same_numbers() -> None:
    """SWAHR-HumanPose's HeatmapGenerator, 64 cells, sigma 2, joints (20.7, 31.2) and (63, 0) from corners."""
    uv = torch.tensor([[[[20.7, 31.2], [63.0, 0.0]]]]) - 0.5
    heat = people_heatmaps(uv, torch.ones(1, 1, 2, dtype=torch.bool), stride=1, size=(64, 64))[0].double()
    assert heat.shape == (2, 64, 64)
    assert heat.sum((1, 2)).tolist() == pytest.approx([25.1251312, 9.03753152], rel=1e-6)
    assert float(heat.norm()) == pytest.approx(4.21074997, rel=1e-6)
    assert float(heat[0, 31, 22]) == pytest.approx(0.606530666, rel=1e-6)
    assert float(heat[0, 34, 25]) == pytest.approx(0.0142642343, rel=1e-6)
    assert heat.amax((1, 2)).tolist() == [1.0, 1.0] and heat.min() == 0
    assert heat[0, 31, 20] == 1 and heat[1, 0, 63] == 1
    flat = heat.flatten()
    assert not flat[[7919, 7646, 7373, 7100, 6827, 6554, 6281, 6008, 5735, 5462, 5189, 4916]].any()


def test_the_support_is_a_square_of_fifteen_cells() -> None:
    heat = people_heatmaps(torch.full((1, 1, 1, 2), 30.0), known(1, 1, 1), stride=1, size=(64, 64))[0, 0]
    rows, columns = (heat > 0).nonzero().unbind(1)
    assert int((heat > 0).sum()) == 15 * 15
    assert [int(a) for a in (rows.min(), rows.max(), columns.min(), columns.max())] == [23, 37, 23, 37]


def test_the_larger_person_wins_where_two_meet() -> None:
    uv = torch.tensor([[[[20.0, 20.0]], [[23.0, 20.0]]]])
    both = people_heatmaps(uv, known(1, 2, 1), stride=1, size=(40, 40))
    alone = [people_heatmaps(uv[:, i : i + 1], known(1, 1, 1), stride=1, size=(40, 40)) for i in (0, 1)]
    assert torch.equal(both, torch.maximum(*alone))
    assert both[0, 0, 20, 20] == 1 and both[0, 0, 20, 23] == 1


def test_unknown_joints_and_joints_outside_leave_nothing() -> None:
    uv = torch.tensor([[[[float("nan"), 3.0], [-0.6, 5.0], [32.0, 5.0], [5.0, 31.5], [-0.5, 31.4]]]])
    mask = torch.tensor([[[False, True, True, True, True]]])
    heat = people_heatmaps(uv, mask, stride=2, size=(16, 16))
    assert torch.isfinite(heat).all()
    assert heat.flatten(2).amax(2).tolist() == [[0, 0, 0, 0, 1]]
    cells, inside = joint_cells(uv, mask, stride=2, size=(16, 16))
    assert inside.tolist() == [[[False, False, False, False, True]]]
    assert cells[0, 0, 4].tolist() == [0, 15] and not cells[0, 0, :4].any()


def test_no_people_give_empty_maps() -> None:
    heat = people_heatmaps(torch.zeros(2, 0, 3, 2), known(2, 0, 3), stride=4, size=(8, 8))
    assert heat.shape == (2, 3, 8, 8) and not heat.any()


@pytest.mark.parametrize("stride", [2, 4])
@pytest.mark.parametrize(("subcell", "share"), [(False, 0.5), (True, 0.25)])
def test_joints_come_back(stride: int, subcell: bool, share: float) -> None:
    """Within half a cell if targets are centred on cells, else within a quarter, by the quarter shift."""
    torch.manual_seed(stride)
    uv = torch.rand(4, 1, 50, 2) * 127 - 0.49
    cells = (128 // stride, 128 // stride)
    heat = people_heatmaps(uv, known(4, 1, 50), stride=stride, size=cells, subcell=subcell)
    _, at = top_peaks(heat, count=1)
    got = (quarter_shift(heat, at)[:, :, 0] + 0.5) * stride - 0.5
    inner = ((uv > 2 * stride) & (uv < 127 - 2 * stride)).all(-1)[:, 0]
    error = (got - uv[:, 0]).abs().amax(-1)[inner]
    assert len(error) > 100
    assert float(error.max()) <= share * stride + 1e-4
    assert float(error.max()) > 0.8 * share * stride, "the bound is sharp"


def test_boxes_are_left_out_of_the_loss() -> None:
    nan = float("nan")
    boxes = torch.tensor([[[2.0, 1.0, 5.0, 2.0], [nan] * 4], [[3.0, 3.0, 1.0, 1.0], [7.5, 0.0, 99.0, 99.0]]])
    mask = labelled_pixels(boxes, (6, 8))
    assert mask.shape == (2, 6, 8) and mask.dtype == torch.bool
    expected = torch.ones(6, 8, dtype=torch.bool)
    expected[1:3, 2:6] = False
    assert torch.equal(mask[0], expected)
    assert mask[1].all()


def test_a_cell_counts_if_most_of_it_is_labelled() -> None:
    pixels = torch.zeros(1, 4, 8, dtype=torch.bool)
    pixels[0, :4, :4] = True
    pixels[0, 0, :2] = False
    pixels[0, :2, 4:] = True
    assert cell_mask(pixels, 4).tolist() == [[[1.0, 0.0]]]
    assert cell_mask(pixels, 2).tolist() == [[[0.0, 1.0, 1.0, 1.0], [1.0, 1.0, 0.0, 0.0]]]


def test_labels_that_do_not_fit_are_refused() -> None:
    good = PeopleLabels(torch.zeros(2, 3, 5, 2), known(2, 3, 5), torch.ones(2, 32, 64, dtype=torch.bool))
    check_people(good, joints=5, size=(32, 64))
    with pytest.raises(ShapeError, match=r"\(B, M, 6, 2\)"):
        check_people(good, joints=6, size=(32, 64))
    with pytest.raises(ShapeError, match="labelled must be"):
        check_people(good, joints=5, size=(64, 64))
    holes = good.uv.clone()
    holes[0, 1, 2, 0] = float("nan")
    with pytest.raises(ShapeError, match="NaN"):
        check_people(good._replace(uv=holes), joints=5, size=(32, 64))
    unknown = good.known.clone()
    unknown[0, 1, 2] = False
    check_people(good._replace(uv=holes, known=unknown), joints=5, size=(32, 64))


def known(*shape: int) -> Tensor:
    return torch.ones(*shape, dtype=torch.bool)
