"""The CNN of DHP19: its layers, its size, its arithmetic."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from eventhpe.errors import ShapeError
from eventhpe.shapenet.heads.dhp19_cnn import DHP19_CNN_SIZE, DHP19CNN, LAYERS, apply_layer, multiply_adds
from tests.shapenet.heads.keras_file import keras_layer

PUBLISHED = [144, 4608, 9216, 9216, 18432, 36864, 36864, 36864, 18432, *[9216] * 4, 4608, 2304, 2304, 1872]


def test_every_layer_has_the_published_number_of_weights() -> None:
    network = DHP19CNN()
    assert [weight.numel() for weight in network.weights] == PUBLISHED
    assert sum(p.numel() for p in network.parameters()) == 218_592
    assert len(list(network.buffers())) == 0


def test_the_structure_is_the_published_one() -> None:
    assert [k + 1 for k, layer in enumerate(LAYERS) if layer.pool] == [1, 4]
    assert [k + 1 for k, layer in enumerate(LAYERS) if layer.transposed] == [9, 14]
    assert [k + 1 for k, layer in enumerate(LAYERS) if layer.dilation == 2] == [5, 6, 7, 8, 10, 11, 12, 13]
    assert [layer.outputs for layer in LAYERS] == [16, *[32] * 3, *[64] * 4, *[32] * 5, *[16] * 3, 13]
    for before, after in pairwise(LAYERS):
        assert before.outputs == after.inputs


def test_multiply_adds_of_a_frame() -> None:
    assert multiply_adds() == pytest.approx(2.86e9, rel=2e-3)
    assert multiply_adds((520, 688)) == 4 * multiply_adds()


def test_a_full_frame_gives_a_map_per_joint_at_full_resolution() -> None:
    torch.manual_seed(0)
    with torch.inference_mode():
        maps = DHP19CNN()(torch.full((1, 1, *DHP19_CNN_SIZE), 100.0))
    assert maps.shape == (1, 13, 260, 344)
    assert maps.min() == 0 and maps.max() > 0, "the last layer has a ReLU too"


def test_fresh_weights_are_glorot_uniform() -> None:
    torch.manual_seed(0)
    for layer, weight in zip(LAYERS, DHP19CNN().weights, strict=True):
        limit = np.sqrt(6 / (9 * (layer.inputs + layer.outputs)))
        assert 0.9 * limit < float(weight.detach().abs().max()) <= limit
        assert float(weight.detach().var()) == pytest.approx(limit**2 / 3, rel=0.25)


@pytest.mark.parametrize("number", [1, 3, 6, 9, 10, 14, 17])
def test_layers_compute_what_their_definition_says(number: int) -> None:
    layer, rng = LAYERS[number - 1], np.random.default_rng(number)
    x = rng.normal(size=(9, 12, layer.inputs))
    ends = (layer.outputs, layer.inputs) if layer.transposed else (layer.inputs, layer.outputs)
    kernel = rng.normal(size=(3, 3, *ends))
    expected = keras_layer(x, kernel, dilation=layer.dilation, transposed=layer.transposed)
    got = apply_layer(
        torch.from_numpy(x).permute(2, 0, 1)[None], torch.from_numpy(kernel.transpose(3, 2, 0, 1)), layer
    )[0].permute(1, 2, 0)
    if layer.pool:
        H, W = (n // 2 for n in expected.shape[:2])
        expected = expected[: 2 * H, : 2 * W].reshape(H, 2, W, 2, -1).max((1, 3))
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-10)


def test_a_transposed_layer_doubles_and_starts_at_the_first_pixel() -> None:
    layer = LAYERS[8]
    x = torch.zeros(1, 64, 5, 6)
    x[0, :, 0, 0] = 1.0
    y = apply_layer(x, torch.ones(layer.shape), layer)
    assert y.shape == (1, 32, 10, 12)
    assert torch.nonzero(y[0, 0]).tolist() == [[r, c] for r in range(3) for c in range(3)]


def test_moving_the_picture_by_the_stride_moves_the_maps() -> None:
    torch.manual_seed(1)
    network, picture = DHP19CNN().double(), torch.rand(1, 1, 32, 32, dtype=torch.float64) * 255
    canvas = torch.zeros(2, 1, 96, 96, dtype=torch.float64)
    canvas[0, :, 32:64, 32:64] = picture[0]
    canvas[1, :, 36:68, 40:72] = picture[0]
    with torch.inference_mode():
        a, b = network(canvas)
    torch.testing.assert_close(a[:, 40:56, 40:56], b[:, 44:60, 48:64])


@pytest.mark.parametrize("shape", [(1, 1, 260, 346), (1, 2, 8, 8), (1, 8, 8), (1, 1, 10, 8)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="multiples of 4"):
        DHP19CNN()(torch.zeros(shape))
