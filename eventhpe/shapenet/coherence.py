"""Flow coherence: the projected motion of the body's surface must agree with the optical flow below it.

`flow_coherence` is the repaired form (default); `parity_coherence` is the published one with its known
weaknesses.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from eventhpe.errors import ShapeError
from eventhpe.shapenet.crop import NEAR_M, crop_to_pixels, project_to_crop


@dataclass(frozen=True)
class CoherenceConfig:
    """Repaired flow coherence.

    Attributes:
        mode: "cosine" compares directions; "robust" adds the difference of the vectors (Charbonnier).
        threshold: flow magnitude, as a fraction of the crop's side, at which a vertex counts half (1 px of
            128).
        softness: width of that soft step, same unit.
        difference_unit: difference of flows, as a fraction of the crop's side, that costs about 1 in robust
            mode.
    """

    mode: str = "robust"
    threshold: float = 1 / 128
    softness: float = 0.25 / 128
    difference_unit: float = 1 / 32

    def __post_init__(self) -> None:
        if self.mode not in ("cosine", "robust"):
            raise ShapeError(f'CoherenceConfig.mode must be "cosine" or "robust"; got {self.mode!r}.')


def flow_coherence(
    vertices: Tensor,
    flow: Tensor,
    crop: Tensor,
    *,
    visible: Tensor | None = None,
    mask: Tensor | None = None,
    config: CoherenceConfig | None = None,
) -> Tensor:
    """Disagreement of mesh motion and image flow, averaged over the vertices that can be judged.

    Args:
        vertices: (B, T+1, V, 3) camera metres; entry 0 stands at t0 of window 0. Gradients reach rotations,
            shape and translation.
        flow: (B, T, 2, S, S) pixels over each window, indexed at its t0.
        crop: (B, T, 3); the bodies before and after window t are both projected into crop t.
        visible: (B, T, V) bool at t0 of each window; None means `visible_in_crop` decides.
        mask: (B, T) bool, windows to count.
    Returns:
        Scalar; 0 for perfect agreement, up to 2 in cosine mode. Zero if no vertex can be judged.
    Convention:
        Flow is sampled at exact pixel positions, at the detached projection of the vertex at t0.
    """
    config = config or CoherenceConfig()
    S = _check(vertices, flow, crop)[3]
    vertices, flow, crop = vertices.float(), flow.float(), crop.float()
    if visible is None:
        visible = visible_in_crop(vertices[:, :-1].detach(), crop)
    before = crop_to_pixels(project_to_crop(vertices[:, :-1], crop), S)
    after = crop_to_pixels(project_to_crop(vertices[:, 1:], crop), S)
    at = before.detach()
    image = _sample(flow, (2 * at + 1) / S - 1)
    inside = ((at >= 0) & (at <= S - 1)).all(-1)
    weight = torch.sigmoid((image.norm(dim=-1) / S - config.threshold) / config.softness)
    weight = weight * visible * inside
    if mask is not None:
        weight = weight * mask[..., None]
    mesh = after - before
    cost = 1 - _cosine(mesh, image)
    if config.mode == "robust":
        difference = (mesh - image) / (S * config.difference_unit)
        cost = cost + torch.sqrt(difference.square().sum(-1) + 1e-4) - 1e-2
    return (weight * cost).sum() / weight.sum().clamp(min=1.0)


def visible_in_crop(
    vertices: Tensor,
    crop: Tensor,
    *,
    normals: Tensor | None = None,
    grid: int = 24,
    tolerance_m: float = 0.08,
) -> Tensor:
    """Which vertices the camera sees, by a coarse z-buffer of the vertices themselves.

    Args:
        vertices: (*, V, 3) camera metres, one to two thousand of them spread over the body.
        crop: (*, 3).
        normals: (*, V, 3) outward vertex normals; where given, vertices facing away are hidden too.
        grid: cells per side of the crop; finer needs more vertices, or the back shows through empty cells.
        tolerance_m: a vertex is visible if it lies no more than this behind the nearest vertex of its cell,
            so both sides of a wrist count as visible and the back of a trunk does not.
    Returns:
        (*, V) bool; False outside the crop and behind the camera.
    """
    uv = project_to_crop(vertices, crop)
    depth = vertices[..., 2]
    cell = ((uv + 1) * (grid / 2)).floor()
    inside = ((cell >= 0) & (cell < grid)).all(-1) & (depth > NEAR_M)
    cell = cell.clamp(0, grid - 1).long()
    index = (cell[..., 1] * grid + cell[..., 0]).reshape(-1, vertices.shape[-2])
    z = torch.where(inside, depth, torch.inf).reshape(index.shape)
    nearest = torch.full((index.shape[0], grid * grid), torch.inf, dtype=z.dtype, device=z.device)
    nearest = nearest.scatter_reduce(1, index, z, "amin").gather(1, index).view(depth.shape)
    visible = inside & (depth <= nearest + tolerance_m)
    if normals is not None:
        visible = visible & ((normals * vertices).sum(-1) < 0)
    return visible


def parity_coherence(
    rotated_vertices: Tensor, flow: Tensor, transl: Tensor, K: Tensor, *, threshold_px: float = 4.0
) -> Tensor:
    """Flow coherence as released (EventHPE, section 1.3.5 of our notes).

    Kept on purpose: direction only, a hard 4 px threshold, division by all vertices, no visibility test,
    translation detached, and sampling half a pixel off.

    Args:
        rotated_vertices: (B, T+1, V, 3) vertices without translation.
        flow: (B, T, 2, S, S) pixels.
        transl: (B, T+1, 3); no gradient reaches it.
        K: (3, 3) or (B, 1, 3, 3) intrinsics in pixels of the S x S image.
    """
    B, T, V, S = _check(rotated_vertices, flow, None)
    xyz = (rotated_vertices + transl.detach()[:, :, None]).float()
    uvw = xyz @ K.float().transpose(-1, -2)
    pixel = uvw[..., :2] / uvw[..., 2:]
    mesh = pixel[:, 1:] - pixel[:, :-1]
    image = _sample(flow.float(), 2 * pixel[:, :-1].detach() / S - 1)
    valid = image.norm(dim=-1) > threshold_px
    cosine = torch.nn.functional.cosine_similarity(mesh, image, dim=-1)
    return (valid * (1 - cosine)).sum() / (B * T * V)


def _sample(flow: Tensor, grid: Tensor) -> Tensor:
    """(B, T, 2, S, S) at (B, T, V, 2) normalised positions to (B, T, V, 2)."""
    B, T = flow.shape[:2]
    out = grid_sample(
        flow.flatten(0, 1), grid.flatten(0, 1)[:, :, None], mode="bilinear", align_corners=False
    )
    return out[..., 0].transpose(1, 2).unflatten(0, (B, T))


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    # A hundredth of a pixel under the root keeps the gradient bounded for vertices that stand still.
    norms = torch.sqrt((a.square().sum(-1) + 1e-4) * (b.square().sum(-1) + 1e-4))
    return (a * b).sum(-1) / norms


def _check(vertices: Tensor, flow: Tensor, crop: Tensor | None) -> tuple[int, int, int, int]:
    if flow.ndim != 5 or flow.shape[2] != 2 or flow.shape[3] != flow.shape[4]:
        raise ShapeError(f"flow must be (B, T, 2, S, S); got {tuple(flow.shape)}.")
    B, T, _, S, _ = flow.shape
    if vertices.ndim != 4 or vertices.shape[:2] != (B, T + 1) or vertices.shape[3] != 3:
        raise ShapeError(
            f"vertices must be ({B}, {T + 1}, V, 3), one body more than windows; got {tuple(vertices.shape)}."
        )
    if crop is not None and crop.shape != (B, T, 3):
        raise ShapeError(f"crop must be {(B, T, 3)}; got {tuple(crop.shape)}.")
    return B, T, vertices.shape[2], S
