"""The open body that ships with the package, its clothing colours, and finding bodies by name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventhpe.body.arrays import check_body_arrays
from eventhpe.body.smpl_file import find_smpl, load_smpl, read_npz
from eventhpe.errors import FormatError, ShapeError

if TYPE_CHECKING:
    from eventhpe.body.model import BodyModel

ASSET = Path(__file__).parent / "assets" / "open_body.npz"

DEFAULT_PALETTE: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {
        "skin": (0.62, 0.44, 0.34),
        "shirt": (0.16, 0.36, 0.60),
        "trousers": (0.11, 0.11, 0.14),
        "shoes": (0.06, 0.05, 0.05),
        "hair": (0.06, 0.04, 0.03),
        "eyes": (0.35, 0.34, 0.33),
    }
)
"""Linear albedo (R, G, B) in [0, 1] of every region; clothes are on."""


@lru_cache(maxsize=1)
def open_body_arrays() -> Mapping[str, NDArray[Any]]:
    """Arrays of the open body, read-only, by the names of docs/body.md."""
    return MappingProxyType(check_body_arrays(read_npz(ASSET), ASSET.name))


@lru_cache(maxsize=1)
def open_body() -> BodyModel:
    """The open body (name "open", CC0), one shared instance on the CPU.

    `.to()` and `.double()` change a module in place; copy it (`copy.deepcopy`) before moving it elsewhere.
    """
    from eventhpe.body.model import BodyModel

    return BodyModel.from_arrays(open_body_arrays(), name="open", gender="neutral")


def load_body(name_or_path: str | os.PathLike[str] = "open", *, gender: str = "neutral") -> BodyModel:
    """Body model by name or file.

    Args:
        name_or_path: "open", "smpl" (looked up under $EVENTHPE_HOME/models), or the path of an SMPL `.npz`
            or `.pkl`.
        gender: which SMPL file to look up; the open body is neutral and says sex with `mean_betas`.
    Raises:
        MissingAssetError: no such file.
        FormatError: the file is not an SMPL body.
    """
    if name_or_path == "open":
        return open_body()
    return load_smpl(find_smpl(gender) if name_or_path == "smpl" else name_or_path)


def mean_betas(sex: str = "neutral") -> NDArray[np.float64]:
    """(10,) shape coefficients of the average "neutral", "female" or "male" adult of the open body."""
    if sex == "neutral":
        return np.zeros(10)
    if sex not in ("female", "male"):
        raise ShapeError(f'sex must be "neutral", "female" or "male"; got {sex!r}.')
    return np.array(open_body_arrays()[f"betas_{sex}"], dtype=np.float64)


def face_albedo(
    arrays: Mapping[str, NDArray[Any]], palette: Mapping[str, ArrayLike] | None = None
) -> NDArray[np.float32]:
    """(F, 3) linear albedo of every face. Borders of clothing follow edges of the mesh, so they are crisp.

    Args:
        arrays: body arrays with `face_region` and `region_names`.
        palette: region name to (R, G, B); regions left out take `DEFAULT_PALETTE`.
    Raises:
        FormatError: the body has no regions (SMPL files have none).
        ShapeError: the palette names an unknown region.
    """
    if "face_region" not in arrays or "region_names" not in arrays:
        raise FormatError("this body has no regions; give it one colour instead.")
    names = [str(name) for name in arrays["region_names"]]
    if unknown := sorted(set(palette or {}) - set(names)):
        raise ShapeError(f"palette names {', '.join(unknown)}; the regions are {', '.join(names)}.")
    colours = {**DEFAULT_PALETTE, **(palette or {})}
    table = np.array([np.asarray(colours[name], dtype=np.float32) for name in names])
    return table[arrays["face_region"]]


def region_albedo(
    arrays: Mapping[str, NDArray[Any]], palette: Mapping[str, ArrayLike] | None = None
) -> NDArray[np.float32]:
    """(V, 3) linear albedo of every vertex; vertices on a border take the mean of both sides, which keeps it
    straight.

    Arguments and errors as in `face_albedo`. For a sharp border use `split_by_region`.
    """
    per_face = face_albedo(arrays, palette)
    faces, count = arrays["f"], len(arrays["v_template"])
    present = np.zeros((count, len(arrays["region_names"])), bool)
    present[faces.ravel(), np.repeat(arrays["face_region"], 3)] = True
    table = np.zeros((len(arrays["region_names"]), 3), np.float32)
    table[arrays["face_region"]] = per_face
    share = present / np.maximum(present.sum(1, keepdims=True), 1)
    return (share @ table).astype(np.float32)


def split_by_region(
    arrays: Mapping[str, NDArray[Any]],
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.uint8]]:
    """Mesh in which vertices on borders are doubled, one per region, for crisp per-vertex colours.

    Returns:
        index (V',) vertex of the body behind each new vertex (`vertices[index]`, also for normals), faces
        (F, 3) of the new mesh, region (V',) of each new vertex.
    Raises:
        FormatError: the body has no regions.
    """
    if "face_region" not in arrays:
        raise FormatError("this body has no regions.")
    corner_region = np.repeat(arrays["face_region"].astype(np.int64), 3)
    key = arrays["f"].ravel().astype(np.int64) * 256 + corner_region
    unique, corner = np.unique(key, return_inverse=True)
    return unique // 256, corner.reshape(-1, 3).astype(np.int32), (unique % 256).astype(np.uint8)
