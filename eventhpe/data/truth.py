"""Truth at any instant of a synthetic recording, rendered from its labels on demand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from eventhpe.body.dhp19_markers import open_body_markers
from eventhpe.body.params import BodyParams
from eventhpe.body.retarget import resample
from eventhpe.data.annotate import joints_seen, markers_seen, scene_mesh
from eventhpe.data.cast import Cast, Instant
from eventhpe.data.joint_support import joint_support
from eventhpe.data.labels import num_people, read_labels
from eventhpe.errors import UnitError
from eventhpe.events.open import open_recording
from eventhpe.events.recording import Recording
from eventhpe.geometry.camera import Camera
from eventhpe.render.raster import MeshFlow, mesh_flow, rasterize

_Seen = Callable[[NDArray[np.float64], NDArray[np.float32], Camera], NDArray[np.bool_]]


@dataclass(frozen=True)
class Points:
    """Points of the P people at one time.

    Attributes:
        xyz: (P, N, 3) metres, camera frame.
        uv: (P, N, 2) pixels.
        visible: (P, N) bool, in the image and not hidden by anybody.
    """

    xyz: NDArray[np.float64]
    uv: NDArray[np.float64]
    visible: NDArray[np.bool_]


class Truth:
    """Everything that is known about a recording made by `eventhpe simulate`, at any time.

    Between labels the motion is the one that was rendered: rotations on the sphere, places linearly.

    Args:
        path: the recording.
    Raises:
        FormatError: it carries no labels.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.people = [read_labels(path, i) for i in range(num_people(path))]
        first = self.people[0]
        self.camera, self.t_us = first.camera, first.t_us
        self._cast = Cast(self.t_us, [p.params for p in self.people], [p.offsets for p in self.people])
        self._recording: Recording | None = None

    def __enter__(self) -> Truth:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the recording, if `support` opened it."""
        if self._recording is not None:
            self._recording.close()
            self._recording = None

    def body(self, t_us: int, person: int = 0) -> BodyParams:
        """Body parameters (no leading axis) in the camera frame."""
        self._check(t_us)
        p = resample(self.people[person].params, self.t_us, [t_us])
        return BodyParams(
            p.betas[0], p.global_orient[0], p.body_pose[0], p.transl[0], p.model, p.gender, p.frame
        )

    def vertices(self, t_us: int) -> tuple[NDArray[np.float32], ...]:
        """Per person (V, 3) metres, camera frame, clothes included."""
        return self._at(t_us).vertices

    def joints(self, t_us: int) -> Points:
        """The 24 joints of everybody."""
        instant = self._at(t_us)
        return self._points(instant, np.stack(instant.joints), joints_seen)

    def markers(self, t_us: int) -> Points:
        """DHP19's 13 markers of everybody (DHP19_SKELETON)."""
        instant, markers = self._at(t_us), open_body_markers()
        xyz = np.stack([markers.positions(v) for v in instant.vertices])
        return self._points(instant, xyz, markers_seen)

    def depth(self, t_us: int) -> NDArray[np.float32]:
        """(H, W) metres along the optical axis; inf where nobody is."""
        return rasterize(*scene_mesh(self._cast, self._at(t_us)), self.camera).depth

    def mask(self, t_us: int) -> NDArray[np.uint8]:
        """(H, W), 0 = nobody, i + 1 = person i."""
        frame = rasterize(*scene_mesh(self._cast, self._at(t_us)), self.camera)
        person = frame.face_id // len(self._cast.faces) + 1
        return np.where(frame.face_id >= 0, person, 0).astype(np.uint8)

    def flow(self, t0_us: int, t1_us: int) -> MeshFlow:
        """Forward flow of the people over [t0, t1), with occlusion."""
        start, end = (scene_mesh(self._cast, self._at(t)) for t in (t0_us, t1_us))
        return mesh_flow(start[0], end[0], start[1], self.camera, t0_us, t1_us)

    def support(self, t0_us: int, t1_us: int) -> NDArray[np.int64]:
        """(P, 24) events of [t0, t1) on each joint's skin; keep the window short, the body stands still in
        it."""
        self._check(t0_us)
        self._check(t1_us)
        if self._recording is None:
            self._recording = open_recording(self.path)
        r = self._recording
        events = r.read(r.index_at(t0_us), r.index_at(t1_us))
        return joint_support(self._cast, self.camera, events, (t0_us + t1_us) // 2)

    def _at(self, t_us: int) -> Instant:
        self._check(t_us)
        return self._cast.at(t_us)[0]

    def _check(self, t_us: int) -> None:
        if not self.t_us[0] <= t_us <= self.t_us[-1]:
            raise UnitError(
                f"{self.path}: labelled from {self.t_us[0]} to {self.t_us[-1]} us; {t_us} was asked for."
            )

    def _points(self, instant: Instant, xyz: NDArray[np.float64], seen: _Seen) -> Points:
        depth = rasterize(*scene_mesh(self._cast, instant), self.camera, cull=True).depth
        visible = [seen(p, depth, self.camera) for p in xyz]
        return Points(xyz, self.camera.project(xyz), np.stack(visible))
