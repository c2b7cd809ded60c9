from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from eventhpe.errors import FormatError, MissingAssetError, ShapeError
from eventhpe.flownet.network import FlowNet, FlowNetConfig
from eventhpe.shapenet.network import ShapeNet
from eventhpe.shapenet.parity import EventTrackNet
from eventhpe.shapenet.state import ShapeNetConfig
from eventhpe.weights.files import (
    SHIPPED_MAX_BYTES,
    WeightsCard,
    load_network,
    load_tensors,
    or_shipped,
    read_card,
    save_network,
    save_tensors,
    shipped,
    shipped_names,
)

FLOW = FlowNetConfig(in_channels=3, base_width=4)
SHAPE = ShapeNetConfig(in_channels=3, width=4, hidden=16, crop_features=4)
PARITY = ShapeNetConfig(variant="parity", in_channels=3, encoder="resnet18", width=4, hidden=32)


def networks() -> list[torch.nn.Module]:
    torch.manual_seed(0)
    return [FlowNet(FLOW), ShapeNet(SHAPE), EventTrackNet(PARITY)]


@pytest.mark.parametrize("index", [0, 1, 2])
def test_round_trip_is_exact(index: int, tmp_path: Path) -> None:
    network = networks()[index]
    card = WeightsCard(system="", config={}, data={"clips": 3}, metrics={"epe_px": 0.5}, command="train")
    written = save_network(tmp_path / "net-v0.1", network, card)
    again, read = load_network(tmp_path / "net-v0.1.safetensors")
    assert type(again) is type(network) and not again.training and read == written
    assert (
        read.metrics == {"epe_px": 0.5} and read.created_by.startswith("eventhpe ") and len(read.sha256) == 64
    )
    for name, value in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net-v0.1.json", "net-v0.1.safetensors"]


def test_half_precision_keeps_vectors_and_large_values_exact(tmp_path: Path) -> None:
    network = ShapeNet(SHAPE)
    norm = network.encoder.image.bn1
    assert norm.running_var is not None
    norm.running_var.copy_(torch.tensor([1e-9, 1e6, 0.1, 3.0]))
    with torch.no_grad():
        network.encoder.join.weight[0, 0] = 1e6
    save_network(tmp_path / "full", network)
    save_network(tmp_path / "half", network, half=True)
    again = load_network(tmp_path / "half")[0]
    state, back = network.state_dict(), again.state_dict()
    assert torch.equal(back["encoder.image.bn1.running_var"], norm.running_var)
    assert torch.equal(back["encoder.join.weight"], state["encoder.join.weight"])
    assert back["encoder.image.conv1.weight"].dtype == torch.float32
    torch.testing.assert_close(
        back["memory.cell.weight_hh"], state["memory.cell.weight_hh"], rtol=1e-3, atol=1e-6
    )
    assert not torch.equal(back["memory.cell.weight_hh"], state["memory.cell.weight_hh"])
    sizes = [(tmp_path / f"{n}.safetensors").stat().st_size for n in ("half", "full")]
    assert sizes[0] < 0.75 * sizes[1]


def test_size_limit_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="the limit is 1,000"):
        save_network(tmp_path / "net", FlowNet(FLOW), max_bytes=1000)
    assert list(tmp_path.iterdir()) == []


def test_damage_is_noticed(tmp_path: Path) -> None:
    save_network(tmp_path / "net", FlowNet(FLOW))
    file = tmp_path / "net.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(FormatError, match="sha256"):
        load_network(tmp_path / "net")


def edit_card(path: Path, **changes: object) -> None:
    values = json.loads(path.read_text())
    values.update(changes)
    path.write_text(json.dumps(values))


def test_cards_that_do_not_fit(tmp_path: Path) -> None:
    save_network(tmp_path / "net", FlowNet(FLOW))
    card = tmp_path / "net.json"
    good = card.read_text()
    for changes, error, text in [
        ({"schema_version": 99}, FormatError, "Update eventhpe"),
        ({"schema_version": "1"}, FormatError, "schema_version"),
        ({"config": {"in_channels": 3, "base_width": 8}}, ShapeError, "must be"),
        ({"config": {"in_channels": 3, "depth": 8}}, FormatError, "does not know"),
        ({"config": {"in_channels": "three"}}, FormatError, "builds no flownet"),
        ({"config": []}, FormatError, "mapping"),
        ({"system": "shapenet", "config": SHAPE.to_json()}, FormatError, "another design"),
        ({"system": "other"}, FormatError, "'other'"),
    ]:
        card.write_text(good)
        edit_card(card, **changes)
        with pytest.raises(error, match=text):
            load_network(tmp_path / "net")
    card.write_text("{not json")
    with pytest.raises(FormatError, match="not a JSON file"):
        read_card(tmp_path / "net")
    card.write_text('{"schema_version": 1}')
    with pytest.raises(FormatError, match="lacks config, sha256, system"):
        read_card(tmp_path / "net")
    card.unlink()
    with pytest.raises(MissingAssetError, match="no weights card"):
        load_network(tmp_path / "net")


def test_a_file_that_is_no_safetensors(tmp_path: Path) -> None:
    import hashlib

    save_network(tmp_path / "net", FlowNet(FLOW))
    junk = b"\x80\x04." * 100  # looks like a pickle; must never be read as one
    (tmp_path / "net.safetensors").write_bytes(junk)
    edit_card(tmp_path / "net.json", sha256=hashlib.sha256(junk).hexdigest())
    with pytest.raises(FormatError, match="not a safetensors file"):
        load_network(tmp_path / "net")
    (tmp_path / "net.safetensors").unlink()
    with pytest.raises(MissingAssetError, match="although its card"):
        load_network(tmp_path / "net")


def test_other_systems_use_tensors(tmp_path: Path) -> None:
    tensors = {"a.weight": torch.arange(6.0).view(2, 3), "count": torch.tensor(3)}
    save_tensors(tmp_path / "head", tensors, WeightsCard(system="hemlets", config={"joints": 13}), half=True)
    back, card = load_tensors(tmp_path / "head.json")
    assert card.system == "hemlets" and card.config == {"joints": 13}
    assert torch.equal(back["a.weight"], tensors["a.weight"]) and back["count"].dtype == torch.int64
    with pytest.raises(FormatError, match="save_tensors"):
        save_network(tmp_path / "x", torch.nn.Linear(2, 2))


def test_shipped_weights_load_and_are_small() -> None:
    with pytest.raises(MissingAssetError, match=r"no shipped weights named '\.\./secret'"):
        shipped("../secret")
    for name in shipped_names():
        path = shipped(name)
        assert path.with_name(path.name + ".safetensors").stat().st_size <= SHIPPED_MAX_BYTES
        tensors, card = load_tensors(path)
        assert card.command and card.data and all(np.isfinite(t.numpy()).all() for t in tensors.values())
        load_network(path)
    files = [shipped(name).with_name(f"{name}.safetensors") for name in shipped_names()]
    assert sum(f.stat().st_size for f in files) <= 40 * 1024 * 1024


def test_the_word_shipped_names_the_packages_own() -> None:
    assert or_shipped(None, "flownet") is None
    assert or_shipped("runs/a.safetensors", "flownet") == Path("runs/a.safetensors")
    assert or_shipped(Path("shipped"), "flownet") == shipped("flownet")
    with pytest.raises(MissingAssetError, match="no shipped weights"):
        or_shipped("shipped", "absent")
