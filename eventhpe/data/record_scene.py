"""A scene becomes a labelled recording in one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from eventhpe.data.annotate import label_scene
from eventhpe.data.cast import Cast
from eventhpe.data.dense_labels import write_dense_labels
from eventhpe.data.joint_support import joint_support
from eventhpe.data.labels import write_labels
from eventhpe.data.scene import Scene
from eventhpe.data.simulation import RenderSettings, simulate
from eventhpe.events.store_writer import StoreWriter
from eventhpe.events.types import Events
from eventhpe.geometry.camera import Camera


def record_scene(
    scene: Scene,
    output: Path,
    *,
    settings: RenderSettings,
    seed: int,
    provenance: Mapping[str, Any],
    flow: bool = True,
    depth: bool = False,
) -> None:
    """Simulate a scene and write events, gray frames and labels; the file appears when it is complete.

    Args:
        scene: what is seen.
        output: canonical HDF5 file.
        settings: render rate and quality.
        seed: of the sensor's mismatch and noise.
        provenance: facts to keep beside what the scene itself tells.
        flow, depth: store dense flow and depth for every frame interval.
    """
    cast = Cast.of_scene(scene)
    told = {
        **provenance,
        "motion": ", ".join(p.source for p in scene.people),
        "factors": scene.factors,
        "sensor_model": asdict(scene.sensor),
    }
    with StoreWriter(output, scene.camera.size, provenance=told, duration_us=scene.duration_us) as writer:
        support = _Support(cast, scene.camera, settings.frame_step_us)
        for step in simulate(scene, cast, settings, seed=seed):
            writer.append(step.events)
            support.take(step.t_us, step.events)
            for t_us, image in step.gray:
                writer.append_frame(t_us, image)
        group = write_labels(writer.file, label_scene(scene, cast))
        support.write(group)
        write_dense_labels(group, cast, scene.camera, step_us=settings.frame_step_us, flow=flow, depth=depth)


class _Support:
    """Counts each joint's events, one frame interval after the other."""

    def __init__(self, cast: Cast, camera: Camera, step_us: int) -> None:
        self._cast, self._camera, self._step_us = cast, camera, step_us
        self._pieces: list[Events] = []
        self._counts: list[NDArray[np.int64]] = []

    def take(self, t_us: int, events: Events) -> None:
        """Events until `t_us`; render times include every multiple of the step."""
        self._pieces.append(events)
        start = len(self._counts) * self._step_us
        if t_us >= start + self._step_us and t_us <= self._cast.t_us[-1]:
            t, x, y, p = (np.concatenate([getattr(e, c) for e in self._pieces]) for c in "txyp")
            window = Events(t=t, x=x, y=y, p=p, sensor_size=self._camera.size)
            self._counts.append(joint_support(self._cast, self._camera, window, start + self._step_us // 2))
            self._pieces = []

    def write(self, group: h5py.Group) -> None:
        """Add `joint_events` to every person of the group `labels`."""
        P = len(self._cast.people)
        counts = np.array(self._counts, np.int64).reshape(len(self._counts), P, 24)
        for i in range(P):
            group[f"people/{i}/joint_events"] = counts[:, i]
