"""FlowNet's training module on one small batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eventhpe.data.sample import FlowPair, collate
from eventhpe.data.synthetic import FlowDataset
from eventhpe.flownet.network import FlowNetConfig
from eventhpe.training.flownet import FlowNetModule

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log")

CONFIG = FlowNetConfig(base_width=8)


def batch(folder: Path, *, count: int, kind: str = "counts") -> FlowPair:
    data = FlowDataset(folder, length=count, size_px=64, kind=kind, seed=2, augment=False)
    return collate([data[i] for i in range(count)])


def module(objective: str, config: FlowNetConfig = CONFIG, **changes: Any) -> FlowNetModule:
    torch.manual_seed(0)
    return FlowNetModule(config, objective=objective, **{"lr": 3e-3, "steps": 30} | changes)  # type: ignore[arg-type]


def logged(target: nn.Module, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    values: dict[str, float] = {}
    monkeypatch.setattr(target, "log", lambda name, value, **_: values.update({name: float(value.detach())}))
    monkeypatch.setattr(
        target, "log_dict", lambda terms, **_: values.update({k: float(v.detach()) for k, v in terms.items()})
    )
    return values


class Always(nn.Module):
    """A network that knows the answer."""

    def __init__(self, flow: Tensor) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, frames: Tensor) -> list[Tensor]:
        return [self.flow]


def test_objectives_add_up_and_say_what_they_are_made_of(
    recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = batch(recordings, count=2)
    seen = {}
    for objective in ("photometric", "contrast", "both"):
        m = module(objective)
        values = logged(m, monkeypatch)
        total = m.training_step(pair, 0)
        assert total.requires_grad and float(total) == values["train/total"]
        seen[objective] = values
    assert set(seen["photometric"]) == {"train/photometric", "train/smoothness", "train/total"}
    assert set(seen["contrast"]) == {"train/contrast", "train/smoothness", "train/total"}
    assert set(seen["both"]) == set(seen["photometric"]) | {"train/contrast"}
    expected = seen["photometric"]["train/total"] + 0.02 * seen["contrast"]["train/contrast"]
    assert seen["both"]["train/total"] == pytest.approx(expected, rel=1e-5)


def test_contrast_needs_events_only(recordings: Path) -> None:
    pair = batch(recordings, count=2)
    black = pair._replace(image0=torch.zeros_like(pair.image0), image1=torch.zeros_like(pair.image1))
    still = pair._replace(frames=torch.zeros_like(pair.frames))
    assert torch.equal(module("contrast").training_step(pair, 0), module("contrast").training_step(black, 0))
    for objective, changed in (("photometric", black), ("contrast", still)):
        a, b = (float(module(objective).training_step(p, 0)) for p in (pair, changed))
        assert abs(a - b) > 1e-4 * abs(a), objective


def test_the_parity_variant_has_the_published_loss_whatever_the_objective(recordings: Path) -> None:
    pair = batch(recordings, count=2, kind="binary")
    assert set(pair.frames.unique().tolist()) == {0.0, 1.0}
    config = FlowNetConfig(variant="parity", base_width=8)
    totals = [module(o, config).training_step(pair, 0) for o in ("photometric", "contrast")]
    assert torch.equal(totals[0], totals[1]) and torch.isfinite(totals[0])
    totals[0].backward()


def test_validation_measures_known_flow_where_events_fell(
    recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = batch(recordings, count=3)
    m = module("photometric")
    values = logged(m, monkeypatch)
    m.network = Always(pair.flow)  # type: ignore[assignment]
    m.validation_step(pair, 0)
    counted = (pair.valid > 0) & (pair.frames > 0).any(1)
    zero = pair.flow.norm(dim=1)[counted].mean()
    assert values["val/epe_px"] == 0.0 and values["val/epe_zero_px"] == pytest.approx(float(zero), rel=1e-5)
    assert 50 < int(counted.sum()) < counted.numel() / 2 and zero > 0.3
    m.network = Always(pair.flow + torch.tensor([3.0, 4.0]).view(1, 2, 1, 1))  # type: ignore[assignment]
    m.validation_step(pair, 0)
    assert values["val/epe_px"] == pytest.approx(5.0, rel=1e-5)


@pytest.mark.parametrize("objective", ["photometric", "contrast"])
def test_one_batch_is_learned(recordings: Path, objective: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = FlowDataset(recordings, length=200, size_px=64, seed=2, augment=False)
    # The fastest of some windows: in a slow one there is nothing to learn.
    pair = collate([max((data[i] for i in range(20)), key=lambda p: float(p.flow.norm(dim=0).mean()))])
    m = module(objective)
    values = logged(m, monkeypatch)
    optimizer = m.configure_optimizers()["optimizer"]
    first = {}
    for step in range(60):
        loss = m.training_step(pair, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        first = first or dict(values)
    key = f"train/{objective}"
    # The contrast loss is relative to no warping at all, and even the true flow does not make it 0.
    assert values[key] < {"photometric": 0.5, "contrast": 0.7}[objective] * first[key]


def test_card_names_the_training() -> None:
    assert module("both", lr=0.5, steps=7).card() == {"objective": "both", "lr": 0.5, "steps": 7}
