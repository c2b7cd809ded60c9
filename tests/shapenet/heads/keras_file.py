"""Writes DHP19's CNN as Keras does, and computes it without PyTorch."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from scipy.signal import correlate

from eventhpe.shapenet.heads.dhp19_cnn import LAYERS


def draw_filters(seed: int) -> list[np.ndarray]:
    """Filters in Keras' layout, Glorot uniform: (H, W, in, out), transposed ones (H, W, out, in)."""
    rng, filters = np.random.default_rng(seed), []
    for layer in LAYERS:
        ends = (layer.outputs, layer.inputs) if layer.transposed else (layer.inputs, layer.outputs)
        limit = np.sqrt(6 / (9 * sum(ends)))
        filters.append(rng.uniform(-limit, limit, (3, 3, *ends)).astype(np.float32))
    return filters


def write_keras(
    path: Path,
    filters: list[np.ndarray],
    *,
    group: str = "model_weights",
    parts: bool = False,
    bias: bool = False,
) -> None:
    """A file as `model.save` (group "model_weights") or `save_weights` (group "/") leaves it.

    Names sort in another order than the layers', and layers without weights lie between them, as in the
    original.
    """
    with h5py.File(path, "w") as file:
        root = file.require_group(group)
        file.attrs["keras_version"] = b"2.2.4"
        names = [b"input_1"]
        root.create_group("input_1").attrs["weight_names"] = np.array([], "S1")
        for k, (layer, values) in enumerate(zip(LAYERS, filters, strict=True)):
            name = f"{'conv2d_transpose' if layer.transposed else 'conv2d'}_{k + 1}"
            stored = [f"{name}/kernel:0"] + ([f"{name}/bias:0"] if bias else [])
            node = root.create_group(name)
            node.attrs["weight_names"] = np.array([s.encode() for s in stored])
            node[stored[0]] = values
            if bias:
                node[stored[1]] = np.zeros(layer.outputs, np.float32)
            names += [name.encode(), f"activation_{k + 1}".encode()]
            root.create_group(f"activation_{k + 1}").attrs["weight_names"] = np.array([], "S1")
        if parts:
            root.attrs["layer_names0"], root.attrs["layer_names1"] = (
                np.array(names[:11]),
                np.array(names[11:]),
            )
        else:
            root.attrs["layer_names"] = np.array(names)
        file.create_dataset("optimizer_weights/training/RMSprop/Variable:0", data=np.zeros((3, 3, 1, 16)))


def keras_layer(
    x: np.ndarray, kernel: np.ndarray, *, dilation: int = 1, transposed: bool = False
) -> np.ndarray:
    """One 3x3 layer with "same" padding and ReLU, (H, W, in) to (H', W', out), by its definition."""
    if transposed:  # the transpose of a strided convolution whose padding TensorFlow puts at the far end
        H, W, _ = x.shape
        full = np.zeros((2 * H + 1, 2 * W + 1, kernel.shape[2]))
        for dy in range(3):
            for dx in range(3):
                full[dy : dy + 2 * H : 2, dx : dx + 2 * W : 2] += x @ kernel[dy, dx].T.astype(float)
        return np.maximum(full[: 2 * H, : 2 * W], 0)
    spread = np.zeros((2 * dilation + 1, 2 * dilation + 1, *kernel.shape[2:]))
    spread[::dilation, ::dilation] = kernel
    out = [
        sum(correlate(x[..., i], spread[..., i, o], mode="same", method="direct") for i in range(x.shape[-1]))
        for o in range(kernel.shape[3])
    ]
    return np.maximum(np.stack(out, -1), 0)
