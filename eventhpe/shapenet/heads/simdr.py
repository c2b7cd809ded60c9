"""SimDR (SimCC): each coordinate of a joint as a 1-D classification (Li et al., ECCV 2022).

One-hot labels (SimDR), Gaussian labels (SA-SimDR), the upsample-free network, and a third axis for depth. The
codec is in heads/simdr_codec.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from eventhpe.errors import ShapeError
from eventhpe.shapenet.heads.base import Decoded, HeadSize, JointLabels, PoseHead
from eventhpe.shapenet.heads.joint_vectors import JointVectors
from eventhpe.shapenet.heads.simdr_codec import (
    AxisLabels,
    axis_targets,
    bins_to_depth,
    decode_axis,
    decode_simdr,
    depth_to_bins,
    mirror_bins,
    simdr_loss,
    simdr_targets,
)

LABELS = ("gaussian", "onehot")
REDUCTIONS = ("visible", "sum", "mean")
DECODINGS = ("argmax", "soft")


@dataclass(frozen=True)
class SimDROptions:
    """Of the SimDR head.

    Attributes:
        k: bins a pixel; size * k must be whole.
        labels: "gaussian" (SA-SimDR) or "onehot" (SimDR).
        sigma: of Gaussian labels, in bins.
        smoothing: of one-hot labels: so much of the mass is spread over the other bins.
        rounded: centre Gaussian labels on the nearest bin, as mmpose does; the authors do not.
        renormalise: labels sum to 1 also where the border cuts them; False as published.
        reduction: of the loss, see `simdr_loss`.
        decoding: "argmax" (as published) or "soft" (the mean of the predicted distribution).
        upsample_free: no decoder; `maps_per_joint` planes of S/32 a joint.
        maps_per_joint: of the upsample-free variant; 32 in the paper.
        channels: of the decoder; 256 in the paper.
        depth_bins: of the depth relative to the root; 0 gives none.
        depth_range: metres in front of and behind the root that the depth bins cover.
        depth_sigma: of Gaussian depth labels, in bins.

    Raises:
        ShapeError: a value outside these.
    """

    k: float = 2.0
    labels: str = "gaussian"
    sigma: float = 4.0
    smoothing: float = 0.1
    rounded: bool = False
    renormalise: bool = True
    reduction: str = "visible"
    decoding: str = "argmax"
    upsample_free: bool = False
    maps_per_joint: int = 32
    channels: int = 256
    depth_bins: int = 0
    depth_range: float = 1.0
    depth_sigma: float = 2.0

    def __post_init__(self) -> None:
        for name, allowed in (("labels", LABELS), ("reduction", REDUCTIONS), ("decoding", DECODINGS)):
            if getattr(self, name) not in allowed:
                raise ShapeError(
                    f"{name} of SimDR must be one of {', '.join(allowed)}; got {getattr(self, name)!r}."
                )
        if self.k < 1:
            raise ShapeError(f"k of SimDR must be at least 1 bin a pixel; got {self.k}.")
        if not 0 <= self.smoothing < 1:
            raise ShapeError(f"smoothing of SimDR must be in [0, 1); got {self.smoothing}.")
        if min(self.sigma, self.depth_sigma, self.depth_range) <= 0:
            raise ShapeError("sigma, depth_sigma and depth_range of SimDR must be positive.")
        if min(self.maps_per_joint, self.channels) < 1 or self.depth_bins < 0 or self.depth_bins == 1:
            raise ShapeError(
                "maps_per_joint and channels of SimDR must be positive, depth_bins 0 or at least 2."
            )

    def bins(self, size: int) -> int:
        """Bins of an axis of `size` pixels.

        Raises:
            ShapeError: not a whole number.
        """
        bins = round(size * self.k)
        if abs(bins - size * self.k) > 1e-6:
            raise ShapeError(
                f"{size} pixels times k = {self.k} is no whole number of bins; choose another k."
            )
        return bins

    def axis_labels(self, sigma: float) -> AxisLabels:
        """How an axis is labelled."""
        return AxisLabels(
            sigma=sigma if self.labels == "gaussian" else None,
            smoothing=self.smoothing,
            rounded=self.rounded,
            renormalise=self.renormalise,
        )


class SimDRHead(PoseHead):
    """A vector per joint, then a linear layer for each axis that all joints share.

    Args:
        size: what the head is built for.
        options: of the codec, loss and network.

    Maps:
        "x", "y": (B, J, S * k) logits; "z": (B, J, depth_bins) if there are any.
    """

    def __init__(self, size: HeadSize, options: SimDROptions) -> None:
        super().__init__(size)
        self.options = options
        bins = options.bins(size.size)
        if options.upsample_free:
            self.vectors = JointVectors(size, channels=0, maps_per_joint=options.maps_per_joint)
        else:
            self.vectors = JointVectors(size, channels=options.channels)
        self.axes = nn.ModuleDict({axis: nn.Linear(self.vectors.length, bins) for axis in "xy"})
        if options.depth_bins:
            self.axes["z"] = nn.Linear(self.vectors.length, options.depth_bins)

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Encoder maps (B, C, S/32, S/32) to logits."""
        vectors = self.vectors(features)
        return {axis: layer(vectors) for axis, layer in self.axes.items()}

    def losses(self, maps: dict[str, Tensor], labels: JointLabels) -> dict[str, Tensor]:
        """A divergence for each axis. Depth counts where it is known and in range, also off the crop."""
        o = self.options
        x, y, weight = simdr_targets(
            labels.uv, labels.known, size=self.size.size, k=o.k, labels=o.axis_labels(o.sigma)
        )
        terms = {
            "simdr_x": simdr_loss(maps["x"], x, weight, reduction=o.reduction),
            "simdr_y": simdr_loss(maps["y"], y, weight, reduction=o.reduction),
        }
        if o.depth_bins:
            position = depth_to_bins(labels.xyz[..., 2], bins=o.depth_bins, depth_range=o.depth_range)
            z, weight = axis_targets(
                position, labels.known3d, bins=o.depth_bins, labels=o.axis_labels(o.depth_sigma)
            )
            terms["simdr_z"] = simdr_loss(maps["z"], z, weight, reduction=o.reduction)
        return terms

    def decode(self, maps: dict[str, Tensor]) -> Decoded:
        """Joints in pixels of the crop and, with depth bins, their depth.

        The confidence is the published score, the larger (one-hot labels) or smaller (Gaussian labels) of the
        two axes' maximal probabilities, divided by that of a perfect label: a Gaussian's peak is only 0.1.
        """
        o = self.options
        soft = o.decoding == "soft"
        uv, scores = decode_simdr(maps["x"], maps["y"], k=o.k, soft=soft)
        if o.labels == "gaussian":
            score, perfect = scores.amin(-1), min(1.0, 1 / (o.sigma * math.sqrt(2 * math.pi)))
        else:
            score, perfect = scores.amax(-1), 1 - o.smoothing
        depth = None
        if o.depth_bins:
            z, _ = decode_axis(maps["z"], soft=soft)
            depth = bins_to_depth(z, bins=o.depth_bins, depth_range=o.depth_range)
        return Decoded(uv, (score / perfect).clamp(0, 1), depth)

    def flip(self, maps: dict[str, Tensor], mirrored: dict[str, Tensor]) -> Decoded:
        """Joints of the mean of a crop's vectors and of its mirror image's, as published.

        With Gaussian labels logits are averaged, with one-hot labels probabilities.
        """
        pairs = torch.from_numpy(self.size.skeleton.flip).to(maps["x"].device)
        back = {axis: logits.float()[:, pairs] for axis, logits in mirrored.items()}
        back["x"] = mirror_bins(back["x"], k=self.options.k)
        if self.options.labels == "gaussian":
            return self.decode({axis: (logits.float() + back[axis]) / 2 for axis, logits in maps.items()})
        return self.decode(
            {  # the logarithm of a mean of probabilities is a logit
                axis: torch.logaddexp(log_softmax(logits.float(), -1), log_softmax(back[axis], -1))
                for axis, logits in maps.items()
            }
        )
