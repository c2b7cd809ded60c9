"""Files of keypoints: npz, CSV, and JSON in the style of COCO."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from eventhpe.atomic import PendingFile
from eventhpe.body.smpl_file import read_npz
from eventhpe.data.poses import PersonPoses, Poses
from eventhpe.errors import FormatError
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.skeleton import skeleton_by_name

SCHEMA, SCHEMA_VERSION = "eventhpe-poses", 1
UNITS = "pixels (centres at integers), metres in the camera frame, microseconds"
_VISIBLE, _DOUBTFUL = 2, 1
_DOUBT_BELOW = 0.3


def write_poses(path: str | Path, poses: Poses) -> Path:
    """Write keypoints; the ending says how: .npz, .csv or .json (COCO style).

    Raises:
        FormatError: another ending.
    """
    path = Path(path)
    writers: dict[str, Callable[[Path, Poses], None]] = {
        ".npz": _write_npz, ".csv": _write_csv, ".json": _write_coco,
    }  # fmt: skip
    if path.suffix.lower() not in writers:
        raise FormatError(f"{path.name}: keypoints are written as .npz, .csv or .json.")
    with PendingFile(path) as pending:
        writers[path.suffix.lower()](pending.temporary, poses)
    return path


def _write_npz(path: Path, poses: Poses) -> None:
    """All people one after the other: `person` and `window` say whose and when each row is."""
    rows = _stacked(poses)
    arrays: dict[str, Any] = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "skeleton": poses.skeleton.name,
        "joint_names": np.array(poses.skeleton.joints),
        "t_us": poses.t_us,
        "sensor_size": np.array(poses.sensor_size),
        "units": UNITS,
        "provenance": json.dumps(poses.provenance, sort_keys=True),
        **rows,
    }
    if poses.camera is not None:
        arrays |= {"camera_K": poses.camera.K, "camera_dist": poses.camera.dist}
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def _stacked(poses: Poses) -> dict[str, np.ndarray]:
    J = len(poses.skeleton.joints)
    empty = {"window": (0,), "uv": (0, J, 2), "confidence": (0, J), "box": (0, 4)}
    if not poses.people:
        return {name: np.zeros(shape) for name, shape in empty.items()} | {"person": np.zeros(0, np.int64)}
    rows = {name: np.concatenate([getattr(p, name) for p in poses.people]) for name in empty}
    rows["person"] = np.concatenate([np.full(len(p.window), p.person, np.int64) for p in poses.people])
    if all(p.xyz is not None for p in poses.people):
        rows["xyz"] = np.concatenate([p.xyz for p in poses.people if p.xyz is not None])
    if all(p.order is not None for p in poses.people):
        rows["order"] = np.concatenate([p.order for p in poses.people if p.order is not None])
    return rows


def read_poses(path: str | Path) -> Poses:
    """Read what `write_poses` wrote as .npz.

    Raises:
        FormatError: no such file, another kind, or of a newer version.
    """
    path = Path(path)
    if not path.is_file():
        raise FormatError(f"{path}: no such file.")
    names = (
        "schema", "schema_version", "skeleton", "t_us", "sensor_size", "provenance", "person", "window", "uv",
        "confidence", "box", "xyz", "order", "camera_K", "camera_dist",
    )  # fmt: skip
    raw = read_npz(path, names)
    if str(raw.get("schema", "")) != SCHEMA or int(raw.get("schema_version", 0)) > SCHEMA_VERSION:
        raise FormatError(
            f"{path}: expected {SCHEMA} up to version {SCHEMA_VERSION}, as `eventhpe pose` writes."
        )
    if absent := sorted(set(names[:11]) - set(raw)):
        raise FormatError(f"{path}: lacks {', '.join(absent)}.")
    height, width = (int(v) for v in raw["sensor_size"])
    people = []
    for number in sorted({int(n) for n in raw["person"]}):
        mine = raw["person"] == number
        xyz = raw["xyz"][mine] if "xyz" in raw else None
        order = raw["order"][mine].astype(np.int64) if "order" in raw else None
        window = raw["window"][mine].astype(np.int64)
        uv, confidence, box = (raw[name][mine] for name in ("uv", "confidence", "box"))
        people.append(PersonPoses(number, window, uv, confidence, box, xyz, order))
    camera = None
    if "camera_K" in raw:
        camera = Camera(K=raw["camera_K"], size=(height, width), dist=raw["camera_dist"])
    return Poses(
        skeleton_by_name(str(raw["skeleton"])), raw["t_us"].astype(np.int64), (height, width), tuple(people),
        camera, json.loads(str(raw["provenance"])),
    )  # fmt: skip


def _write_csv(path: Path, poses: Poses) -> None:
    """One line per person, window and joint."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["t_us", "person", "joint", "u_px", "v_px", "confidence", "x_m", "y_m", "z_m"])
        for p in poses.people:
            for i, k in enumerate(p.window):
                for j, joint in enumerate(poses.skeleton.joints):
                    xyz = ["", "", ""] if p.xyz is None else [f"{v:.4f}" for v in p.xyz[i, j]]
                    u, v = p.uv[i, j]
                    writer.writerow(
                        [
                            int(poses.t_us[k]),
                            p.person,
                            joint,
                            f"{u:.2f}",
                            f"{v:.2f}",
                            f"{p.confidence[i, j]:.3f}",
                            *xyz,
                        ]
                    )


def _write_coco(path: Path, poses: Poses) -> None:
    """COCO's keypoint layout: an image per window, an annotation per person and window.

    Convention:
        Visibility is 2 for confident joints, 1 for doubtful ones (confidence below 0.3). `keypoints_3d`,
        `track_id` and `t_us` are ours.
    """
    height, width = poses.sensor_size
    bones = [[a + 1, b + 1] for a, b in poses.skeleton.bones]
    annotations: list[dict[str, Any]] = []
    for p in poses.people:
        for i, k in enumerate(p.window):
            trust = p.confidence[i]
            seen = np.where(trust >= _DOUBT_BELOW, _VISIBLE, _DOUBTFUL)
            x0, y0, x1, y1 = (float(v) for v in p.box[i])
            entry: dict[str, Any] = {
                "id": len(annotations) + 1,
                "image_id": int(k),
                "category_id": 1,
                "track_id": p.person,
                "keypoints": [
                    v for (a, b), s in zip(p.uv[i], seen, strict=True) for v in (_round(a), _round(b), int(s))
                ],
                "num_keypoints": len(seen),
                "bbox": [_round(x0), _round(y0), _round(x1 - x0), _round(y1 - y0)],
                "area": _round((x1 - x0) * (y1 - y0)),
                "iscrowd": 0,
                "score": _round(float(trust.mean()), 4),
            }
            if p.xyz is not None:
                entry["keypoints_3d"] = [[_round(v, 4) for v in joint] for joint in p.xyz[i]]
            annotations.append(entry)
    person: dict[str, Any] = {"id": 1, "name": "person", "supercategory": "person"}
    person |= {"keypoints": list(poses.skeleton.joints), "skeleton": bones}
    document = {
        "info": {"description": "keypoints from events", "units": UNITS, **poses.provenance},
        "images": [
            {"id": k, "t_us": int(t), "width": width, "height": height, "file_name": ""}
            for k, t in enumerate(poses.t_us)
        ],
        "categories": [person],
        "annotations": annotations,
    }  # fmt: skip
    path.write_text(json.dumps(document) + "\n", encoding="utf-8")


def _round(value: float, digits: int = 2) -> float:
    return round(float(value), digits)
