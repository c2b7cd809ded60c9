"""What a data set hands to training: clips of T windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor


class Clip(NamedTuple):
    """One training clip of T windows (or a batch of them, with a leading B).

    Pose k stands at the end of window k - 1; pose 0 is the start pose, at the beginning of window 0.

    Attributes:
        frames: (T, C, S, S) float32 network input.
        crop: (T, 3) viewing ray of each window's crop (see SquareCrop.ray).
        rotmats: (T+1, 24, 3, 3) joint rotations, root in the camera frame.
        transl: (T+1, 3) metres, camera frame.
        joints3d: (T+1, 24, 3) metres, camera frame.
        betas: (10,).
    """

    frames: Tensor
    crop: Tensor
    rotmats: Tensor
    transl: Tensor
    joints3d: Tensor
    betas: Tensor


class FlowPair(NamedTuple):
    """One window with the gray images at its ends (or a batch of them).

    Attributes:
        frames: (C, S, S) float32.
        image0, image1: (S, S) float32 gray in 0..255 at the window's start and end.
        flow: (2, S, S) true flow in crop pixels; zero where unknown.
        valid: (S, S) float32, 1 where the true flow is known.
    """

    frames: Tensor
    image0: Tensor
    image1: Tensor
    flow: Tensor
    valid: Tensor


T = TypeVar("T", bound=tuple[Any, ...])


def collate(samples: list[T]) -> T:
    """Stack samples of one kind, a NamedTuple of tensors or of such tuples, along a new first axis."""
    make: Callable[..., T] = type(samples[0])
    return make(
        *(
            torch.stack(values) if isinstance(values[0], Tensor) else collate(list(values))
            for values in zip(*samples, strict=True)
        )
    )
