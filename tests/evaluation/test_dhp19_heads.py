"""Heads on whole frames of DHP19 answer as its CNN does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from eventhpe.data.dhp19_heatmaps import decode_heatmaps
from eventhpe.errors import ShapeError
from eventhpe.evaluation.dhp19_heads import HeadOnFrames, head_multiply_adds
from eventhpe.shapenet.heads.base import Decoded
from eventhpe.shapenet.heads.pose_net import PoseNet, PoseNetConfig


def net(**changes: object) -> PoseNet:
    values = {"head": "regression", "size": 352, "in_channels": 1, "width": 4, "skeleton": "dhp19_15"}
    return PoseNet(PoseNetConfig(**{**values, **changes}))  # type: ignore[arg-type]


class Brightest(PoseNet):
    """Puts every joint on the brightest pixel of its input, a little off its centre."""

    def joints(self, frames: Tensor, *, flip: bool = False) -> Decoded:
        S = frames.shape[-1]
        at = frames.flatten(1).argmax(1)
        uv = torch.stack([at % S, at // S], -1)[:, None].expand(-1, 15, -1) + 0.4
        return Decoded(uv, frames.amax((1, 2, 3))[:, None].expand(-1, 15))


def test_places_are_those_of_the_frame() -> None:
    brightest = Brightest(net().config)
    frames = torch.zeros(2, 1, 260, 344)
    frames[0, 0, 17, 301], frames[1, 0, 259, 0] = 255.0, 51.0
    maps = HeadOnFrames(brightest)(frames)
    assert maps.shape == (2, 13, 260, 344)
    pixels, sure = decode_heatmaps(maps)
    assert pixels[0].tolist() == [[301, 17]] * 13 and pixels[1].tolist() == [[0, 259]] * 13
    assert sure[0].tolist() == pytest.approx([1.0] * 13) and sure[1].tolist() == pytest.approx([0.2] * 13)


def test_other_networks_are_refused() -> None:
    for changes, reason in (
        ({"in_channels": 8}, "one channel"),
        ({"skeleton": "smpl24"}, "13 markers"),
        ({"size": 256}, "--size-px 352"),
    ):
        with pytest.raises(ShapeError, match=reason):
            HeadOnFrames(net(**changes))


def test_multiply_adds_are_counted() -> None:
    plain = net(size=64)
    found = head_multiply_adds(plain)
    # The stem alone: 7 x 7 x 1 x 4 at 32 x 32; what follows is counted as well.
    assert found > 49 * 4 * 32 * 32
    linear = sum(m.weight.numel() for m in plain.modules() if isinstance(m, nn.Linear))
    convolutions = found - linear
    assert convolutions % 1 == 0 and head_multiply_adds(net(size=128)) > 3 * convolutions
