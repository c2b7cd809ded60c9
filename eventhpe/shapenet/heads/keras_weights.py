"""The published weights of DHP19's CNN: a Keras 2 model in HDF5, read without Keras.

Layout (Keras 2.2.4 `save`, `save_weights`; the legacy HDF5 files of Keras 3): a group, `model_weights` or the
root, whose attribute `layer_names` lists the layers in order; a group per layer whose attribute
`weight_names` lists the paths of its arrays. Lists too long for one attribute go on as `layer_names0`,
`layer_names1`, ... Filters are (H, W, in, out), of transposed convolutions (H, W, out, in). The model's
configuration and the optimiser's state in the same file are not looked at, and nothing in it is run.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from eventhpe.errors import FormatError, MissingAssetError, ShapeError
from eventhpe.shapenet.heads.dhp19_cnn import LAYERS


def is_keras_file(path: str | Path) -> bool:
    """Whether a file is HDF5 with Keras' list of layers in it."""
    path = Path(path)
    if not path.is_file() or not h5py.is_hdf5(path):
        return False
    with h5py.File(path, "r") as file:
        return _layer_group(file) is not None


def read_keras_weights(path: str | Path) -> dict[str, Tensor]:
    """State of a DHP19CNN from the published `DHP_CNN.model`, or another Keras file of this network.

    Raises:
        MissingAssetError: no such file.
        FormatError: not a Keras file, a damaged one, or another network: other layers, or biases.
        ShapeError: a filter has another shape than the network's.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingAssetError(
            f"{path}: no such file. The published weights, DHP_CNN.model, come with DHP19: see "
            "datasets/dhp19/README.md."
        )
    if not h5py.is_hdf5(path):
        raise FormatError(f"{path}: expected a Keras model in HDF5; the file is not HDF5.")
    try:
        with h5py.File(path, "r") as file:
            group = _layer_group(file)
            if group is None:
                raise FormatError(
                    f"{path}: expected a Keras model: an attribute layer_names at the root or on "
                    "model_weights; found neither."
                )
            arrays = _filters(group, path)
    except (OSError, KeyError, RuntimeError) as error:
        raise FormatError(f"{path}: damaged Keras file ({error}).") from error
    return {
        f"weights.{index}": torch.from_numpy(np.ascontiguousarray(array.transpose(3, 2, 0, 1)))
        for index, array in enumerate(arrays)
    }


def _layer_group(file: h5py.File) -> h5py.Group | None:
    for name in ("model_weights", "/"):
        if name in file and {"layer_names", "layer_names0"} & set(file[name].attrs):
            return file[name]
    return None


def _filters(group: h5py.Group, path: Path) -> list[np.ndarray]:
    """The 17 filters in order, float32, as stored."""
    named = [
        (f"{layer}: {name}", group[layer][name])
        for layer in _names(group, "layer_names")
        for name in _names(group[layer], "weight_names")
    ]
    if len(named) != len(LAYERS):
        listed = ", ".join(name for name, _ in named[:4]) or "none"
        raise FormatError(
            f"{path}: DHP19's CNN has {len(LAYERS)} filters and no biases; the file has {len(named)} arrays "
            f"({listed}...). It belongs to another network."
        )
    arrays = []
    for (name, data), layer in zip(named, LAYERS, strict=True):
        first, second, height, width = layer.shape
        expected = (height, width, second, first)
        if not isinstance(data, h5py.Dataset) or data.shape != expected or data.dtype.kind != "f":
            got = f"{data.shape} {data.dtype}" if isinstance(data, h5py.Dataset) else "a group"
            raise ShapeError(f"{path}: {name} must be {expected} of floats; got {got}.")
        array = data[()].astype(np.float32)
        if not np.isfinite(array).all():
            raise FormatError(f"{path}: {name} holds values that are not finite; the file is damaged.")
        arrays.append(array)
    return arrays


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """A list of names, in one attribute or in numbered parts."""
    if attribute in group.attrs:
        values = list(group.attrs[attribute])
    else:
        values, part = [], 0
        while f"{attribute}{part}" in group.attrs:
            values += list(group.attrs[f"{attribute}{part}"])
            part += 1
    return [v.decode() if isinstance(v, bytes) else str(v) for v in values]
