"""Motion files: self-describing npz that AMASS viewers show upright, and plain AMASS npz.

AMASS's keys, in a Z-up world: `poses` (T, 156) with hands at zero, `trans`, `betas`, `mocap_framerate`,
`gender`. Our own keys stand beside them; docs/motion.md lists all.
"""

from __future__ import annotations

import json
import os
import secrets
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventhpe.body.fk import as_rest_joints
from eventhpe.body.motion import MotionClip, camera_to_world, move_params
from eventhpe.body.params import BodyParams
from eventhpe.errors import CalibrationError, FormatError, ShapeError
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.skeleton import SMPL_SKELETON

Array = NDArray[np.float64]

SCHEMA = "eventhpe-motion"
SCHEMA_VERSION = 1
Y_UP_TO_Z_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
"""From our world (Y up, z towards the front) to AMASS's (Z up)."""

_MAX_BYTES = 1 << 30  # of unpacked arrays
_MAX_RATIO = 1100  # deflate packs at most 1032 to 1
_SMPL_MODELS = ("smpl", "smplh", "smplx")
_NOTES = {
    True: "World from the camera's extrinsics.",
    False: "Camera extrinsics unknown: the camera is taken as level and the floor is put under the feet.",
}


def save_motion(path: str | Path, clip: MotionClip) -> Path:
    """Write a motion as npz; the file appears only when it is complete.

    Args:
        path: file to write, ending in .npz.
    Returns:
        the path.
    Raises:
        FormatError: the name does not end in .npz.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise FormatError(f"{path.name}: a motion file ends in .npz.")
    arrays = _to_arrays(clip)
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(4)}.npz.part")
    try:
        with temporary.open("xb") as stream:
            np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _to_arrays(clip: MotionClip) -> dict[str, ArrayLike]:
    world = clip.to_world()
    z_up = move_params(world.params, Y_UP_TO_Z_UP, np.zeros(3), clip.rest_pelvis, frame="world")
    T = len(clip)
    poses = np.zeros((T, 52, 3))
    poses[:, :22] = z_up.pose[:, :22]
    is_smpl = clip.params.model in _SMPL_MODELS
    known = camera_to_world(clip.camera) is not None
    note = "World as given." if clip.params.frame == "world" else _NOTES[known]
    if not is_smpl:
        note += f" Shape: body_betas of {clip.params.model!r}; betas are zeros for SMPL viewers."
    out: dict[str, ArrayLike] = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "poses": poses.reshape(T, 156),
        "trans": z_up.transl,
        "betas": clip.params.betas.mean(axis=0) if is_smpl else np.zeros(10),
        "mocap_framerate": clip.framerate,
        "gender": clip.params.gender,
        "hand_pose": z_up.pose[:, 22:],
        "body_model": clip.params.model,
        "body_betas": clip.params.betas,
        "rest_joints": clip.rest_joints,
        "rest_pelvis": clip.rest_pelvis,
        "t_us": clip.t_us,
        "confidence": clip.confidence if clip.confidence is not None else np.ones((T, 24)),
        "joint_names": np.array(SMPL_SKELETON.joints),
        "units": "metres, radians, microseconds",
        "frame": "world, Z up",
        "source_frame": clip.params.frame,
        "note": note,
        "provenance": json.dumps(clip.provenance, sort_keys=True),
    }
    if clip.camera is not None:
        out |= {
            "camera_K": clip.camera.K,
            "camera_size": np.array(clip.camera.size),
            "camera_dist": clip.camera.dist,
            "camera_R": clip.camera.R_world_to_cam,
            "camera_t": clip.camera.t_world_to_cam,
        }
    if clip.params.frame == "camera" or known:
        camera = clip.to_camera().params
        out |= {"cam_global_orient": camera.global_orient, "cam_transl": camera.transl}
    return out


def load_motion(path: str | Path) -> MotionClip:
    """Read a file of `save_motion`, in the frame in which the motion was given.

    Raises:
        FormatError: not a motion file of this package, of another schema version, or damaged.
    """
    path = Path(path)
    d = _read_npz(path)
    try:
        return _from_arrays(path, d)
    except (ShapeError, CalibrationError) as error:
        raise FormatError(f"{path.name}: the values contradict each other: {error}") from None


def _from_arrays(path: Path, d: dict[str, NDArray[Any]]) -> MotionClip:
    if "schema" not in d or str(d["schema"]) != SCHEMA:
        raise FormatError(
            f"{path.name}: not a motion file of this package (no key schema = {SCHEMA!r}). "
            "A plain AMASS file is read by load_amass."
        )
    if int(_number(path, d, "schema_version")) != SCHEMA_VERSION:
        raise FormatError(
            f"{path.name}: schema version {d['schema_version']}; this release reads {SCHEMA_VERSION}. "
            "Update the package."
        )
    t_us = _array(path, d, "t_us", (None,), "iu").astype(np.int64)
    T = len(t_us)
    names = tuple(str(n) for n in _array(path, d, "joint_names", (24,), "U"))
    if names != SMPL_SKELETON.joints:
        raise FormatError(f"{path.name}: joint_names are not those of {SMPL_SKELETON.name}.")
    poses = _array(path, d, "poses", (T, 156)).reshape(T, 52, 3)
    rest = _array(path, d, "rest_joints", None)
    if rest.shape not in ((24, 3), (T, 24, 3)):
        raise FormatError(
            f"{path.name}: key 'rest_joints' must be (24, 3) or ({T}, 24, 3); found {rest.shape}."
        )
    z_up = BodyParams(
        betas=_array(path, d, "body_betas", (T, 10)),
        global_orient=poses[:, 0],
        body_pose=np.concatenate([poses[:, 1:22], _array(path, d, "hand_pose", (T, 2, 3))], axis=1),
        transl=_array(path, d, "trans", (T, 3)),
        model=_text(path, d, "body_model"),
        gender=_text(path, d, "gender"),
        frame="world",
    )
    params = move_params(z_up, Y_UP_TO_Z_UP.T, np.zeros(3), rest[..., 0, :], frame="world")
    if _text(path, d, "source_frame") == "camera":
        params = replace(
            params,
            global_orient=_array(path, d, "cam_global_orient", (T, 3)),
            transl=_array(path, d, "cam_transl", (T, 3)),
            frame="camera",
        )
    camera = None
    if "camera_K" in d:
        size = _array(path, d, "camera_size", (2,), "iu")
        camera = Camera(
            K=_array(path, d, "camera_K", (3, 3)),
            size=(int(size[0]), int(size[1])),
            dist=_array(path, d, "camera_dist", (5,)),
            R_world_to_cam=_array(path, d, "camera_R", (3, 3)),
            t_world_to_cam=_array(path, d, "camera_t", (3,)),
        )
    try:
        provenance = json.loads(_text(path, d, "provenance"))
    except ValueError:
        raise FormatError(f"{path.name}: key 'provenance' is not JSON.") from None
    if not isinstance(provenance, dict):
        raise FormatError(f"{path.name}: key 'provenance' must be a JSON object.")
    return MotionClip(
        params=params,
        t_us=t_us,
        rest_joints=rest,
        camera=camera,
        confidence=_array(path, d, "confidence", (T, 24)),
        provenance=provenance,
    )


def load_amass(path: str | Path, rest_joints: ArrayLike, *, model: str = "smpl") -> MotionClip:
    """Read a plain AMASS npz (SMPL-H, SMPL-X or SMPL poses); fingers, jaw and eyes are dropped.

    Args:
        path: file with `poses` (T, 156), (T, 165) or (T, 72), `trans`, `betas` and `mocap_framerate`.
        rest_joints: (24, 3) metres of the SMPL body for the file's betas, about whose pelvis the root turns.
        model: body model the betas belong to.
    Returns:
        the motion in the world frame (Y up); times start at 0.
    Raises:
        FormatError: damaged, or not AMASS.
    """
    path = Path(path)
    d = _read_npz(path)
    poses = _array(path, d, "poses", None)
    if poses.ndim != 2 or poses.shape[1] not in (72, 156, 165) or len(poses) < 1:
        raise FormatError(
            f"{path.name}: key 'poses' must be (T, 156), (T, 165) or (T, 72); found {poses.shape}."
        )
    T = len(poses)
    pose = np.zeros((T, 24, 3))
    kept = 24 if poses.shape[1] == 72 else 22
    pose[:, :kept] = poses[:, : kept * 3].reshape(T, kept, 3)
    rate_key = "mocap_framerate" if "mocap_framerate" in d else "mocap_frame_rate"
    rate = _number(path, d, rate_key)
    if not 0 < rate <= 1e5:
        raise FormatError(f"{path.name}: {rate_key} must be frames per second; found {rate}.")
    betas = _array(path, d, "betas", None).reshape(-1) if "betas" in d else np.zeros(10)
    shape = np.zeros(10)
    shape[: min(10, len(betas))] = betas[:10]
    rest = as_rest_joints(rest_joints)
    z_up = BodyParams(
        betas=np.broadcast_to(shape, (T, 10)),
        global_orient=pose[:, 0],
        body_pose=pose[:, 1:],
        transl=_array(path, d, "trans", (T, 3)),
        model=model,
        gender=_text(path, d, "gender") if "gender" in d else "neutral",
        frame="world",
    )
    return MotionClip(
        params=move_params(z_up, Y_UP_TO_Z_UP.T, np.zeros(3), rest[..., 0, :], frame="world"),
        t_us=np.rint(np.arange(T) * (1e6 / rate)).astype(np.int64),
        rest_joints=rest,
        provenance={"source": path.name, "format": "AMASS"},
    )


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """All plain arrays of an npz. Sizes are checked before memory is taken; pickled objects are left out."""
    out: dict[str, NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            total = 0
            for info in archive.infolist():
                total += info.file_size
                if info.file_size > _MAX_RATIO * max(info.compress_size, 1) + 4096 or total > _MAX_BYTES:
                    raise FormatError(
                        f"{path.name}: member {info.filename!r} claims {info.file_size:,} bytes; refused."
                    )
                if info.filename.endswith(".npy"):
                    value = _read_npy(path, archive, info)
                    if value is not None:
                        out[info.filename.removesuffix(".npy")] = value
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise FormatError(
            f"{path.name}: not an npz file, or damaged ({error}). Write or fetch it again."
        ) from None
    return out


def _read_npy(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any] | None:
    with archive.open(info) as stream:
        try:
            version = np.lib.format.read_magic(stream)
            header = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = header(stream)
        except ValueError as error:
            raise FormatError(
                f"{path.name}: member {info.filename!r} is not a NumPy array ({error})."
            ) from None
        if dtype.hasobject:
            return None
        count = 1
        for n in shape:
            count *= n
        if count * dtype.itemsize != info.file_size - stream.tell():
            raise FormatError(
                f"{path.name}: member {info.filename!r} is damaged: {shape} {dtype} does not fit its bytes."
            )
    with archive.open(info) as stream:
        return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))


def _array(
    path: Path, d: dict[str, NDArray[Any]], key: str, shape: tuple[int | None, ...] | None, kinds: str = "fiu"
) -> NDArray[Any]:
    if key not in d:
        raise FormatError(f"{path.name}: key {key!r} is missing (or a pickled object, which is never read).")
    value = d[key]
    fits = shape is None or (
        value.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, value.shape, strict=True))
    )
    if value.dtype.kind not in kinds or not fits:
        raise FormatError(
            f"{path.name}: key {key!r} must be {shape} of kind {kinds!r}; found {value.shape} {value.dtype}."
        )
    if value.dtype.kind == "f":
        if not np.isfinite(value).all():
            raise FormatError(f"{path.name}: key {key!r} holds values that are not finite.")
        return value.astype(np.float64)
    return value


def _number(path: Path, d: dict[str, NDArray[Any]], key: str) -> float:
    return (
        float(_array(path, d, key, None).reshape(-1)[0])
        if _array(path, d, key, None).size == 1
        else float("nan")
    )


def _text(path: Path, d: dict[str, NDArray[Any]], key: str) -> str:
    value = _array(path, d, key, None, "US")
    if value.size != 1:
        raise FormatError(f"{path.name}: key {key!r} must be one string.")
    item = value.reshape(-1)[0]
    return item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item)
