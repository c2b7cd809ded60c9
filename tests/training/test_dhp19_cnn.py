"""Training of DHP19's CNN, on crops of a few frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from eventhpe.data.dhp19_dataset import HeatmapSample
from eventhpe.errors import MissingAssetError, ShapeError
from eventhpe.training.dhp19_cnn import CNNTrainConfig, DHP19CNNModule, train_dhp19_cnn
from eventhpe.weights.dhp19_cnn import load_dhp19_cnn
from eventhpe.weights.files import load_tensors, read_card
from tests.data.prepared_files import walk, write_prepared

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice on workers and logging intervals


@pytest.fixture(scope="module")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two frames of S1, one of S2, S10 (validation) and S13 (test)."""
    root = tmp_path_factory.mktemp("prepared")
    for subject, frames in ((1, 2), (2, 1), (10, 1), (13, 1)):
        write_prepared(root, subject, 1, 1, walk(frames, subject), official=False)
    return root


def config(root: Path, output: Path, **changes: Any) -> CNNTrainConfig:
    base = CNNTrainConfig(data=root, output=output, epochs=2, batch_size=3, size=(64, 208), workers=0)
    return replace(base, **changes)


def test_the_recipe() -> None:
    module = DHP19CNNModule(lr=1e-3, steps=400, sigma=2.0)
    settings = module.configure_optimizers()
    optimizer, schedule = settings["optimizer"], settings["lr_scheduler"]["scheduler"]
    assert isinstance(optimizer, torch.optim.RMSprop)
    group = optimizer.param_groups[0]
    assert (group["alpha"], group["eps"], group["momentum"], group["weight_decay"]) == (0.9, 1e-7, 0, 0)
    rates = []
    for _ in range(400):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[:200] == [1e-3] * 200
    assert rates[200:300] == pytest.approx([1e-4] * 100) and rates[300:] == pytest.approx([1e-5] * 100)
    # 20 epochs of 1000 frames in batches of 32; the rate falls after epochs 10 and 15.
    assert CNNTrainConfig(data=Path(), output=Path()).steps(1000) == 625


def test_the_loss_is_the_mean_over_pixels_and_joints(monkeypatch: pytest.MonkeyPatch) -> None:
    module = DHP19CNNModule(lr=1e-3, steps=10, sigma=2.0)
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    with torch.no_grad():
        for weight in module.network.weights:
            weight.zero_()
    pixels = torch.tensor([[[30, 20]] * 13])
    valid = torch.arange(13)[None] < 4
    sample = HeatmapSample(torch.full((1, 1, 48, 64), 9, dtype=torch.uint8), pixels, valid)
    # Empty maps: the squared mass of a Gaussian of 2 px, pi sigma^2, of four joints.
    assert module.training_step(sample, 0).item() == pytest.approx(4 * 12.566 / (13 * 48 * 64), rel=1e-3)


def test_it_learns_where_a_joint_is(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(2)
    module = DHP19CNNModule(lr=1e-4, steps=100_000, sigma=2.0)
    logged: dict[str, float] = {}
    monkeypatch.setattr(module, "log", lambda name, value, **_: logged.update({name: float(value.detach())}))
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randint(6, 26, (4, 1, 2), generator=rng).expand(-1, 13, -1)
    frames = torch.zeros(4, 1, 32, 32, dtype=torch.uint8)
    for k in range(4):
        u, v = pixels[k, 0].tolist()
        frames[k, 0, v - 1 : v + 2, u - 1 : u + 2] = 200
    sample = HeatmapSample(frames, pixels, torch.ones(4, 13, dtype=torch.bool))
    optimizer = module.configure_optimizers()["optimizer"]
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = module.training_step(sample, 0)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    module.validation_step(sample, 0)
    assert losses[-1] < 0.5 * losses[0] and logged["val/mse"] < 0.5 * losses[0]
    assert logged["val/mpjpe_px"] < 2


def test_train_and_save(small_set: Path, tmp_path: Path) -> None:
    result = train_dhp19_cnn(config(small_set, tmp_path, command="eventhpe train cnn"))
    assert result.finished and result.weights == tmp_path / "dhp19_cnn.safetensors"
    assert result.metrics["val/mpjpe_px"] > 0 and result.metrics["val/mse"] > 0
    network, card = load_dhp19_cnn(result.weights)
    assert sum(p.numel() for p in network.parameters()) == 218_592
    assert card.command == "eventhpe train cnn" and card.metrics == result.metrics
    assert card.data["subjects"] == [1, 2] and card.data["frames"] == 6 and card.data["recordings"] == 2
    assert card.data["validation"] == {"subjects": [10], "frames": 2}
    training = card.data["training"]
    assert (training["sigma_px"], training["steps"], training["steps_done"]) == (2.0, 4, 4)
    assert str(tmp_path) not in (tmp_path / "dhp19_cnn.json").read_text()
    # Finished: the same command trains no more.
    again = train_dhp19_cnn(config(small_set, tmp_path, command="eventhpe train cnn"))
    assert again == result and read_card(result.weights) == card


def test_a_stopped_training_goes_on_as_if_it_had_not(small_set: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train_dhp19_cnn(config(small_set, whole))
    stopped = train_dhp19_cnn(config(small_set, parts, max_minutes=1e-9))
    assert not stopped.finished
    assert read_card(stopped.weights).data["training"]["steps_done"] == 1
    assert train_dhp19_cnn(config(small_set, parts)).finished
    expected, got = (load_tensors(folder / "dhp19_cnn")[0] for folder in (whole, parts))
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value)


def test_all_training_subjects_and_given_weights(small_set: Path, tmp_path: Path) -> None:
    first = train_dhp19_cnn(config(small_set, tmp_path / "a", epochs=0.5))
    more = config(small_set, tmp_path / "b", epochs=0.5, lr=1e-12, hold_out=False, init=first.weights)
    result = train_dhp19_cnn(more)
    card = read_card(result.weights)
    assert card.data["subjects"] == [1, 2, 10] and "validation" not in card.data
    assert not any(name.startswith("val/") for name in result.metrics)
    for name, value in load_tensors(first.weights)[0].items():
        torch.testing.assert_close(load_tensors(result.weights)[0][name], value)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    write_prepared(tmp_path, 1, 1, 1, walk(1, 1))
    with pytest.raises(
        MissingAssetError, match="nothing to validate on: expected recordings of S10, S11, S12"
    ):
        train_dhp19_cnn(config(tmp_path, tmp_path / "out"))
    other = tmp_path / "other"
    write_prepared(other, 13, 1, 1, walk(1, 1))
    with pytest.raises(MissingAssetError, match="nothing to train on"):
        train_dhp19_cnn(config(other, tmp_path / "out", hold_out=False))


@pytest.mark.parametrize(
    ("change", "named"), [({"epochs": 0}, "epochs"), ({"sigma": -1.0}, "sigma"), ({"size": (62, 64)}, "size")]
)
def test_settings_are_validated(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ShapeError, match=f"CNNTrainConfig.{named}"):
        CNNTrainConfig(data=Path(), output=Path(), **change)
