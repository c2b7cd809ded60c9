"""The learning-rate schedule and which parameters are decayed."""

from __future__ import annotations

from itertools import pairwise

import pytest
from torch import nn

from eventhpe.training.schedule import adamw_with_cosine


def rates(*, lr: float, steps: int, taken: int) -> list[float]:
    """Learning rate of each of the first `taken` steps."""
    setup = adamw_with_cosine(nn.Linear(2, 2), lr=lr, steps=steps)
    optimizer, scheduler = setup["optimizer"], setup["lr_scheduler"]["scheduler"]
    found = []
    for _ in range(taken):
        found.append(optimizer.param_groups[0]["lr"])
        assert optimizer.param_groups[1]["lr"] == found[-1]
        optimizer.step()
        scheduler.step()
    return found


def test_warm_up_then_cosine_to_one_percent() -> None:
    got = rates(lr=0.2, steps=100, taken=130)
    assert got[:5] == pytest.approx([0.04, 0.08, 0.12, 0.16, 0.2])  # 5 % of the steps
    assert got[5] == pytest.approx(0.2)
    assert all(a > b for a, b in pairwise(got[5:100]))
    half_way = 5 + 95 / 2
    assert got[int(half_way)] > 0.2 * 0.505 > got[int(half_way) + 1]
    assert got[100:] == pytest.approx([0.002] * 30)


def test_short_schedules_start_at_the_peak() -> None:
    assert rates(lr=1.0, steps=1, taken=1) == [1.0]
    assert rates(lr=1.0, steps=2, taken=2)[0] == 1.0


def test_only_matrices_and_filters_decay_and_frozen_parameters_stay_out() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))
    network[2].weight.requires_grad_(False)
    setup = adamw_with_cosine(network, lr=1.0, steps=10, weight_decay=0.5)
    decayed, plain = setup["optimizer"].param_groups
    assert [id(p) for p in decayed["params"]] == [id(network[0].weight)] and decayed["weight_decay"] == 0.5
    wanted = [network[0].bias, network[1].weight, network[1].bias, network[2].bias]
    assert [id(p) for p in plain["params"]] == [id(p) for p in wanted] and plain["weight_decay"] == 0.0
    assert setup["lr_scheduler"]["interval"] == "step"
