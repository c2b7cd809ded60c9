"""Whole trainings of a few steps: weights, card, checkpoints, going on, validation, bad settings."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eventhpe.data.synthetic import ClipDataset, FlowDataset
from eventhpe.errors import EventHPEError, FormatError, MissingAssetError, ShapeError
from eventhpe.flownet.network import FlowNet
from eventhpe.shapenet.losses import ShapeLossWeights
from eventhpe.shapenet.network import ShapeNet
from eventhpe.shapenet.parity import EventTrackNet
from eventhpe.shapenet.state import ShapeNetConfig
from eventhpe.training.loop import TrainConfig, TrainResult
from eventhpe.training.run import MAY_LACK, train_flownet, train_shapenet
from eventhpe.weights.files import load_network, load_tensors, read_card, save_network
from tests.small_world import FLOW, SHAPE, copy_without, random_flownet, random_shapenet

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # Lightning's advice on workers and logging intervals
]


def config(data: Path, output: Path, **changes: Any) -> TrainConfig:
    options = {"steps": 2, "batch_size": 2, "size_px": 64, "workers": 0, "precision": "32-true"}
    return TrainConfig(data=data, output=output, **options | changes)


def unchanged(result: TrainResult, init: Path) -> list[str]:
    """Names of the parameters that a training left as they were."""
    before, after = load_tensors(init)[0], load_tensors(result.weights)[0]
    names = dict(load_network(result.weights)[0].named_parameters())
    assert set(names) <= set(before) == set(after)
    assert all(torch.isfinite(value).all() for value in after.values())
    return [name for name in names if torch.equal(before[name], after[name])]


@pytest.mark.parametrize(
    ("variant", "objective"),
    [("fixed", "photometric"), ("fixed", "contrast"), ("fixed", "both"), ("parity", "photometric")],
)
def test_two_steps_of_flownet(recordings: Path, tmp_path: Path, variant: str, objective: str) -> None:
    network = replace(FLOW, variant=variant)
    init = tmp_path / "init"
    save_network(init, random_flownet(network), half=True)
    settings = config(recordings, tmp_path / "run", precision="bf16-mixed", seed=4, command="the command")
    result = train_flownet(settings, network, objective=objective, init=init)  # type: ignore[arg-type]
    assert result.finished and result.weights == tmp_path / "run" / "flownet.safetensors"
    assert unchanged(result, init) == []
    loaded, card = load_network(result.weights)
    assert isinstance(loaded, FlowNet) and loaded.config == network
    assert card.system == "flownet" and card.command == "the command" and card.data["recordings"] == 2
    training = card.data["training"]
    wanted = {"objective": objective, "lr": 1e-3, "steps": 2, "steps_done": 2, "batch_size": 2, "seed": 4}
    wanted |= {"precision": "bf16-mixed", "input_kind": "binary" if variant == "parity" else "counts"}
    assert {name: training[name] for name in wanted} == wanted
    assert card.metrics == result.metrics and np.isfinite(card.metrics["train/total"])
    assert ("train/contrast" in card.metrics) is (objective != "photometric")
    assert str(recordings.parent) not in json.dumps(card.data)


@pytest.mark.parametrize("with_flow", [True, False])
def test_some_steps_of_shapenet(recordings: Path, networks: Path, tmp_path: Path, with_flow: bool) -> None:
    network = replace(SHAPE, use_flow=with_flow)
    init = tmp_path / "init"
    save_network(init, random_shapenet(network), half=True)
    # Some steps begin from the true start, whose shape is kept: they teach nothing about betas.
    settings = config(recordings, tmp_path / "run", steps=6)
    loss = ShapeLossWeights(coherence=0.1 if with_flow else 0.0)
    flow = networks / "flownet" if with_flow else None
    result = train_shapenet(settings, network, loss=loss, num_windows=3, flow_weights=flow, init=init)
    assert result.finished and unchanged(result, init) == []
    loaded, card = load_network(result.weights)
    assert isinstance(loaded, ShapeNet) and loaded.config == network and card.system == "shapenet"
    training = card.data["training"]
    assert (training["steps_done"], training["num_windows"]) == (6, 3) and 0 < training["start_share"] < 1
    assert training["loss"]["coherence"] == loss.coherence
    assert ("train/coherence" in result.metrics) is with_flow
    assert all(np.isfinite(list(result.metrics.values())))


def test_joint_maps_and_traces_go_on_from_weights_without_them(
    recordings: Path, networks: Path, tmp_path: Path
) -> None:
    plain, init = SHAPE, tmp_path / "init"
    save_network(init, random_shapenet(plain), half=True)
    network = replace(plain, joint_maps=8, look_back=True)
    loss, flow = ShapeLossWeights(), networks / "flownet"
    settings = config(recordings, tmp_path / "run", steps=6)
    result = train_shapenet(settings, network, loss=loss, num_windows=3, flow_weights=flow, init=init)
    loaded, _ = load_network(result.weights)
    assert isinstance(loaded, ShapeNet) and loaded.config == network and "train/joint_maps" in result.metrics
    after = load_tensors(result.weights)[0]
    added = set(after) - set(load_tensors(init)[0])
    assert added and all(name.startswith(MAY_LACK) for name in added)
    # What began at zero has been learned.
    assert after["encoder.trace.weight"].any() and after["encoder.joint_features.out.weight"].any()
    # The other way round something would be lost.
    back = config(recordings, tmp_path / "back")
    with pytest.raises(FormatError, match="unknown"):
        train_shapenet(back, plain, loss=loss, num_windows=3, flow_weights=flow, init=result.weights)
    narrow = replace(network, hidden=16)
    with pytest.raises(ShapeError, match="must be"):
        train_shapenet(back, narrow, loss=loss, num_windows=3, flow_weights=flow, init=init)


def test_two_steps_of_the_published_shapenet(recordings: Path, networks: Path, tmp_path: Path) -> None:
    network = ShapeNetConfig(variant="parity", encoder="resnet18", width=4, grid=1, hidden=32, size=64)
    settings, loss = config(recordings, tmp_path / "run"), ShapeLossWeights()
    with pytest.raises(ShapeError, match="trained on counts frames"):
        train_shapenet(settings, network, loss=loss, num_windows=2, flow_weights=networks / "flownet")
    flow = networks / "flownet-parity"
    result = train_shapenet(settings, network, loss=loss, num_windows=2, flow_weights=flow)
    assert result.finished and np.isfinite(list(result.metrics.values())).all()
    loaded, card = load_network(result.weights)
    assert isinstance(loaded, EventTrackNet) and loaded.config == network
    assert card.data["training"]["input_kind"] == "binary" and "train/coherence" in result.metrics
    with pytest.raises(ShapeError, match="trained on binary frames"):
        train_shapenet(settings, SHAPE, loss=loss, num_windows=2, flow_weights=flow)


def test_a_fresh_shapenet_starts_from_the_data_sets_mean_pose(recordings: Path, tmp_path: Path) -> None:
    network = replace(SHAPE, use_flow=False)
    settings = config(recordings, tmp_path, steps=1, lr=1e-12)
    result = train_shapenet(settings, network, loss=ShapeLossWeights(coherence=0.0), num_windows=2)
    head = load_network(result.weights)[0].absolute
    root = head.mean_pose.view(24, 6)[0]
    # Upright and facing the camera: the left side is on the right of the image, up is against y.
    assert root[0] > 0.7 and root[4] < -0.7
    knee = head.mean_pose.view(24, 6)[4]
    assert not torch.allclose(knee, torch.tensor([1.0, 0, 0, 0, 1, 0]), atol=1e-3)


def test_the_same_command_goes_on_with_new_samples(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    draw = FlowDataset.__getitem__

    def spy(self: FlowDataset, index: int) -> Any:
        drawn.append(self.offset + index)
        return draw(self, index)

    monkeypatch.setattr(FlowDataset, "__getitem__", spy)
    first = train_flownet(config(recordings, tmp_path, steps=2), FLOW)
    assert drawn == [0, 1, 2, 3]
    half_way = load_tensors(first.weights)[0]
    second = train_flownet(config(recordings, tmp_path, steps=5), FLOW)
    assert drawn[4:] == [4, 5, 6, 7, 8, 9] and second.finished
    assert read_card(second.weights).data["training"]["steps_done"] == 5
    state = torch.load(tmp_path / "last.ckpt", weights_only=True, map_location="cpu")
    assert state["global_step"] == 5
    # Batch norms count the batches that they have seen, over both runs.
    count = load_tensors(second.weights)[0]["encoders.0.0.1.num_batches_tracked"]
    assert int(count) == 5 and int(half_way["encoders.0.0.1.num_batches_tracked"]) == 2


def test_a_finished_training_stays_as_it_is(recordings: Path, tmp_path: Path) -> None:
    first = train_flownet(config(recordings, tmp_path), FLOW)
    again = train_flownet(config(recordings, tmp_path), FLOW)
    assert again.finished
    before, after = load_tensors(first.weights)[0], load_tensors(again.weights)[0]
    assert all(torch.equal(before[name], after[name]) for name in before)
    card = read_card(again.weights)
    assert card.data["training"]["steps_done"] == 2
    assert card.metrics == first.metrics, "the card lost what the training had measured"


def test_a_time_limit_counts_for_each_run_anew(recordings: Path, tmp_path: Path) -> None:
    def steps_done(max_minutes: float) -> int:
        result = train_flownet(config(recordings, tmp_path, steps=500, max_minutes=max_minutes), FLOW)
        assert not result.finished and result.weights.exists() and (tmp_path / "last.ckpt").exists()
        return int(read_card(result.weights).data["training"]["steps_done"])

    first = steps_done(1 / 60)
    assert 1 <= first < 500
    second = steps_done(1 / 60)
    assert first < second < 500, "the same command makes no more steps"


def test_validation_is_measured_and_written(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for data in (FlowDataset, ClipDataset):
        monkeypatch.setattr(data, "__len__", lambda self: 32)
    settings = config(recordings, tmp_path / "flow", val_data=recordings, steps=1, batch_size=16)
    result = train_flownet(settings, FLOW)
    assert result.metrics["val/epe_zero_px"] > 0.2 and result.metrics["val/epe_px"] > 0
    assert read_card(result.weights).metrics == result.metrics
    logs = (tmp_path / "flow" / "log" / "from_0" / "metrics.csv").read_text()
    assert "val/epe_px" in logs.splitlines()[0] and len(logs.splitlines()) >= 2

    settings = config(recordings, tmp_path / "shape", val_data=recordings, steps=1, batch_size=16)
    network = replace(SHAPE, use_flow=False)
    result = train_shapenet(settings, network, loss=ShapeLossWeights(coherence=0.0), num_windows=2)
    for name in ("root_aligned_free", "root_aligned_start", "pelvis_free", "pelvis_start"):
        assert 0 < result.metrics[f"val/{name}_mm"] < 5000
    # Two windows after a given start, the body is still near it.
    assert result.metrics["val/root_aligned_start_mm"] < result.metrics["val/root_aligned_free_mm"]


def test_equal_seeds_give_equal_weights(recordings: Path, tmp_path: Path) -> None:
    def tensors(name: str, seed: int) -> dict[str, torch.Tensor]:
        result = train_flownet(config(recordings, tmp_path / name, steps=1, seed=seed), FLOW)
        return load_tensors(result.weights)[0]

    a, b, c = tensors("a", 1), tensors("b", 1), tensors("c", 2)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["heads.3.conv.weight"], c["heads.3.conv.weight"])


@pytest.mark.parametrize("name", ["steps", "batch_size", "lr", "size_px", "val_every"])
def test_numbers_must_be_positive(tmp_path: Path, name: str) -> None:
    with pytest.raises(ShapeError, match=rf"TrainConfig\.{name} must be positive; got 0"):
        config(tmp_path, tmp_path, **{name: 0})


def test_bad_data_is_told(recordings: Path, networks: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(MissingAssetError, match="eventhpe simulate"):
        train_flownet(config(tmp_path / "nowhere", out), FLOW)
    no_flow, no_loss = replace(SHAPE, use_flow=False), ShapeLossWeights(coherence=0.0)
    with pytest.raises(FormatError, match="shorter than 13 windows"):
        train_shapenet(config(recordings, out), no_flow, loss=no_loss, num_windows=13)
    with pytest.raises(ShapeError, match="needs FlowNet weights"):
        train_shapenet(config(recordings, out), SHAPE, loss=ShapeLossWeights())
    with pytest.raises(MissingAssetError, match="no weights card"):
        train_flownet(config(recordings, out), FLOW, init=tmp_path / "nowhere")
    (tmp_path / "gray").mkdir()
    copy_without(recordings / "squat.h5", tmp_path / "gray" / "a.h5", "frames")
    with pytest.raises(FormatError, match="gray images"):
        train_flownet(config(tmp_path / "gray", out), FLOW)
    (tmp_path / "labels").mkdir()
    copy_without(recordings / "squat.h5", tmp_path / "labels" / "a.h5", "labels")
    with pytest.raises(FormatError, match="eventhpe simulate"):
        train_flownet(config(tmp_path / "labels", out), FLOW)


def test_weights_of_another_size_or_system_are_refused(
    recordings: Path, networks: Path, tmp_path: Path
) -> None:
    settings = config(recordings, tmp_path / "run")
    for init in ("flownet", "shapenet"):
        with pytest.raises(EventHPEError):
            train_flownet(settings, replace(FLOW, base_width=6), init=networks / init)
    with pytest.raises(EventHPEError):
        train_shapenet(settings, SHAPE, loss=ShapeLossWeights(), flow_weights=networks / "shapenet")


def test_data_sets_do_not_depend_on_where_a_run_began(recordings: Path) -> None:
    options = {"num_windows": 2, "size_px": 32, "seed": 1}
    whole, later = ClipDataset(recordings, length=8, **options), ClipDataset(recordings, length=8, **options)
    later.offset = 3
    for a, b in zip(whole[5], later[2], strict=True):
        assert torch.equal(a, b)
