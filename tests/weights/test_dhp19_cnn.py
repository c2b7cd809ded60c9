"""Weights of DHP19's CNN, ours and the published kind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from eventhpe.errors import FormatError, MissingAssetError
from eventhpe.flownet.network import FlowNet, FlowNetConfig
from eventhpe.shapenet.heads.dhp19_cnn import DHP19CNN
from eventhpe.weights.dhp19_cnn import load_dhp19_cnn, save_dhp19_cnn
from eventhpe.weights.files import WeightsCard, save_network
from tests.shapenet.heads.keras_file import draw_filters, write_keras


def test_there_and_back_in_half_precision(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = DHP19CNN()
    card = save_dhp19_cnn(tmp_path / "cnn", network, WeightsCard("", {}, metrics={"val/mpjpe_px": 7.5}))
    assert card.system == "dhp19_cnn" and card.config["parameters"] == 218_592
    assert (tmp_path / "cnn.safetensors").stat().st_size < 218_592 * 2 + 4096
    loaded, read = load_dhp19_cnn(tmp_path / "cnn.safetensors")
    assert read == card and not loaded.training
    for name, value in network.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["DHP_CNN.model", "weights.h5", "nameless"])
def test_a_keras_file_loads_by_its_content(tmp_path: Path, name: str) -> None:
    filters = draw_filters(2)
    write_keras(tmp_path / name, filters)
    network, card = load_dhp19_cnn(tmp_path / name)
    assert name in card.notes and not network.training
    torch.testing.assert_close(network.weights[16][12, 5, 1, 2].item(), float(filters[16][1, 2, 5, 12]))


def test_other_weights_are_refused(tmp_path: Path) -> None:
    save_network(tmp_path / "flow", FlowNet(FlowNetConfig(base_width=4)))
    with pytest.raises(FormatError, match="weights of 'flownet'"):
        load_dhp19_cnn(tmp_path / "flow")
    with pytest.raises(MissingAssetError, match="DHP_CNN"):
        load_dhp19_cnn(tmp_path / "DHP_CNN.model")
    with pytest.raises(MissingAssetError, match="weights card"):
        load_dhp19_cnn(tmp_path / "cnn")
