"""Dense labels beside the bodies: masks, depth, flow with occlusion, events per joint.

In the group `labels`: `mask_t_us` (F,), `mask` (F, H, W) uint8 with 0 = nobody and i + 1 = person i;
optionally
`depth` (F, H, W) float16 metres, 0 = nobody; `flow/` with t0_us, t1_us (F - 1,), uv (F - 1, 2, H, W) float16,
valid and occluded (F - 1, H, W) uint8; `people/<i>/joint_events` (F - 1, 24) events on each joint's skin
between
two masks.
"""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from eventhpe.data.annotate import scene_mesh
from eventhpe.data.cast import Cast
from eventhpe.geometry.camera import Camera
from eventhpe.render.raster import RasterBuffers, mesh_flow, rasterize


def write_dense_labels(
    group: h5py.Group, cast: Cast, camera: Camera, *, step_us: int, flow: bool, depth: bool
) -> None:
    """Render and write the dense labels of a recording.

    Args:
        group: `labels` of an open file.
        cast: the people.
        camera: its intrinsics and size.
        step_us: spacing of masks and flow windows, a multiple of the label step.
        flow, depth: write these too.
    """
    H, W = camera.size
    stride = step_us // int(cast.t_us[1] - cast.t_us[0])
    ks = list(range(0, len(cast.t_us), stride))
    F, num_faces = len(ks), len(cast.faces)
    group["mask_t_us"] = cast.t_us[ks]
    masks = _maps(group, "mask", (F, H, W), "u1")
    depths = _maps(group, "depth", (F, H, W), "f2") if depth else None
    g = None
    if flow and F > 1:
        g = group.create_group("flow")
        g["t0_us"], g["t1_us"] = cast.t_us[ks[:-1]], cast.t_us[ks[1:]]
        _maps(g, "uv", (F - 1, 2, H, W), "f2")
        _maps(g, "valid", (F - 1, H, W), "u1")
        _maps(g, "occluded", (F - 1, H, W), "u1")
    buffers = RasterBuffers()
    now = scene_mesh(cast, cast.at_label(ks[0]))
    for i, k in enumerate(ks):
        after = scene_mesh(cast, cast.at_label(ks[i + 1])) if i + 1 < F else None
        frame = rasterize(*now, camera, buffers=buffers)
        masks[i] = np.where(frame.face_id >= 0, frame.face_id // num_faces + 1, 0)
        if depths is not None:
            depths[i] = np.where(np.isfinite(frame.depth), frame.depth, 0)
        if g is not None and after is not None:
            t0, t1 = int(cast.t_us[k]), int(cast.t_us[ks[i + 1]])
            moved = mesh_flow(now[0], after[0], now[1], camera, t0, t1, buffers=buffers)
            g["uv"][i], g["valid"][i], g["occluded"][i] = moved.uv, moved.valid, moved.occluded
        if after is not None:
            now = after


def _maps(group: h5py.Group, name: str, shape: tuple[int, ...], dtype: Any) -> h5py.Dataset:
    """An image stack, one compressed chunk per image."""
    return group.create_dataset(
        name, shape, dtype, chunks=(1, *shape[1:]), compression="gzip", compression_opts=1, shuffle=True
    )
