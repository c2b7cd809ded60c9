"""The flow colour wheel."""

from __future__ import annotations

import numpy as np
import pytest

from eventhpe.errors import ShapeError, UnitError
from eventhpe.geometry.flowfield import FlowField
from eventhpe.render.flow_color import flow_legend, flow_to_color


def one(u: float, v: float, max_px: float = 4.0) -> np.ndarray:
    return flow_to_color(np.array([[[u]], [[v]]]), max_px)[0, 0].astype(int)


def test_directions_and_lengths() -> None:
    assert (one(0, 0) == 255).all()
    assert (one(4, 0) == [255, 0, 0]).all()
    down, left, up = one(0, 4), one(-4, 0), one(0, -4)
    assert down[0] > 200 and down[1] > 150 and down[2] == 0  # yellow
    assert left[0] == 0 and left[1] > 150 and left[2] > 150  # cyan
    assert up[2] == 255 and up[1] == 0 and up[0] > 50  # violet
    assert (one(2, 0) == [255, 128, 128]).all()
    assert (one(9, 0) == [191, 0, 0]).all()
    # the wheel closes without a jump
    assert np.abs(one(4, 1e-6) - one(4, -1e-6)).max() <= 1


def test_unknown_pixels_and_default_scale() -> None:
    uv = np.zeros((2, 4, 5), np.float32)
    uv[0] = 3.0
    valid = np.ones((4, 5), bool)
    valid[0] = False
    uv[0, 0] = 1e6
    image = flow_to_color(FlowField(uv, valid, 0, 1), invalid=(9, 8, 7))
    assert (image[0] == [9, 8, 7]).all() and (image[1:] == [255, 0, 0]).all()
    uv[1, 2, 2] = np.nan
    assert (flow_to_color(uv, 1e6)[2, 2] == 0).all()
    assert (flow_to_color(np.full((2, 3, 3), np.nan)) == 0).all()
    with pytest.raises(ShapeError, match=r"\(2, H, W\)"):
        flow_to_color(np.zeros((4, 5, 2)))
    with pytest.raises(UnitError, match="max_px"):
        flow_to_color(uv, 0.0)


def test_legend_shows_the_colour_of_each_direction() -> None:
    legend = flow_legend(2.5, 101).astype(int)
    assert legend.shape == (101, 101, 3)
    assert (legend[50, 50] >= 254).all()
    assert np.abs(legend[50, 90] - one(40 / 50 * 1.05, 0, 1.0)).max() <= 2
    assert (legend[0, 0] == 40).all()
