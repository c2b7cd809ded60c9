"""Reading the published Keras file."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from eventhpe.errors import FormatError, MissingAssetError, ShapeError
from eventhpe.shapenet.heads.dhp19_cnn import DHP19CNN, LAYERS
from eventhpe.shapenet.heads.keras_weights import is_keras_file, read_keras_weights
from tests.shapenet.heads.keras_file import draw_filters, keras_layer, write_keras


@pytest.mark.parametrize(
    "layout", [{}, {"group": "/"}, {"parts": True}], ids=["model", "weights only", "long list"]
)
def test_a_keras_file_computes_the_same_here(tmp_path: Path, layout: dict) -> None:
    """All 17 layers against scipy, so that order, layout and padding are all pinned."""
    filters, path = draw_filters(4), tmp_path / "DHP_CNN.model"
    write_keras(path, filters, **layout)
    assert is_keras_file(path)
    network = DHP19CNN().double()
    network.load_state_dict(read_keras_weights(path))
    frame = np.random.default_rng(0).integers(0, 256, (12, 16)).astype(float)
    with torch.inference_mode():
        got = network(torch.from_numpy(frame)[None, None])[0].permute(1, 2, 0).numpy()
    x = frame[..., None]
    for kernel, layer in zip(filters, LAYERS, strict=True):
        x = keras_layer(x, kernel, dilation=layer.dilation, transposed=layer.transposed)
        if layer.pool:
            x = x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2, -1).max((1, 3))
    assert x.shape == (12, 16, 13) and x.max() > 1e-3
    np.testing.assert_allclose(got, x, rtol=1e-9, atol=1e-12)


def test_weights_keep_their_values(tmp_path: Path) -> None:
    filters, path = draw_filters(5), tmp_path / "a.h5"
    write_keras(path, filters)
    state = read_keras_weights(path)
    assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in DHP19CNN().state_dict().items()}
    assert all(v.dtype == torch.float32 for v in state.values())
    # (row, column, in, out) of layer 5, and (row, column, out, in) of the transposed layer 9, of the same
    # shape. assert state["weights.4"][7, 3, 2, 1] == filters[4][2, 1, 3, 7] assert state["weights.8"][7, 3,
    # 2, 1] == filters[8][2, 1, 3, 7]


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingAssetError, match=r"DHP_CNN\.model"):
        read_keras_weights(tmp_path / "absent.h5")
    text = tmp_path / "text.h5"
    text.write_text("not HDF5")
    with pytest.raises(FormatError, match="not HDF5"):
        read_keras_weights(text)
    plain = tmp_path / "plain.h5"
    with h5py.File(plain, "w") as file:
        file["DVS"] = np.zeros(3)
    with pytest.raises(FormatError, match="layer_names"):
        read_keras_weights(plain)
    assert not any(map(is_keras_file, (tmp_path / "absent.h5", text, plain)))


def test_other_networks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.h5"
    write_keras(path, draw_filters(1), bias=True)
    with pytest.raises(FormatError, match="17 filters and no biases; the file has 34"):
        read_keras_weights(path)
    wrong = draw_filters(1)
    wrong[3] = np.zeros((3, 3, 32, 31), np.float32)
    write_keras(path, wrong)
    with pytest.raises(ShapeError, match=r"conv2d_4/kernel:0 must be \(3, 3, 32, 32\)"):
        read_keras_weights(path)
    wrong[3] = np.full((3, 3, 32, 32), np.nan, np.float32)
    write_keras(path, wrong)
    with pytest.raises(FormatError, match="not finite"):
        read_keras_weights(path)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "damaged.h5"
    write_keras(path, draw_filters(1))
    with h5py.File(path, "a") as file:
        del file["model_weights/conv2d_8/conv2d_8/kernel:0"]
    with pytest.raises(FormatError, match="damaged Keras file"):
        read_keras_weights(path)
    write_keras(path, draw_filters(1))
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(FormatError, match="damaged Keras file"):
        read_keras_weights(path)
