"""Arrays of an SMPL-structured body model, checked and in one form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from eventhpe.errors import FormatError
from eventhpe.geometry.skeleton import SMPL_SKELETON

NUM_BETAS = 10
REQUIRED = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f")


def check_body_arrays(arrays: Mapping[str, Any], where: str = "body arrays") -> dict[str, NDArray[Any]]:
    """Check SMPL's seven arrays and bring them to one form; other keys are handed through.

    Args:
        arrays: v_template (V,3), shapedirs (V,3,>=10), posedirs (V,3,207), J_regressor (24,V) dense or
            sparse, weights (V,24), kintree_table (2,24), f (F,3).
        where: file or object named in error messages.
    Returns:
        float32 arrays with shapedirs cut to (V,3,10), f (F,3) int32, kintree_table (2,24) int64 with parent
        -1 for the root; read-only.
    Raises:
        FormatError: a key is missing, a shape is wrong, an index points outside, a value is not finite, or
            the joints are not SMPL's 24.
    """
    if missing := [key for key in REQUIRED if key not in arrays]:
        raise FormatError(f"{where}: not an SMPL body; missing {', '.join(missing)}.")
    sparse = scipy.sparse.issparse(arrays["J_regressor"])
    raw = {key: np.asarray(arrays[key]) for key in REQUIRED if not (sparse and key == "J_regressor")}
    if sparse:
        raw["J_regressor"] = arrays["J_regressor"].toarray()
    for key, value in raw.items():
        if value.dtype.kind not in "fiu":
            raise FormatError(f"{where}: {key} must hold numbers; got dtype {value.dtype}.")
    joints = raw["weights"].shape[-1] if raw["weights"].ndim == 2 else -1
    if joints in (52, 55):
        kind = "SMPL-H" if joints == 52 else "SMPL-X"
        raise FormatError(
            f"{where}: this is an {kind} body ({joints} joints); only SMPL's 24 joints are supported."
        )
    V = raw["v_template"].shape[0] if raw["v_template"].ndim == 2 else -1
    K = len(SMPL_SKELETON.joints)
    expected: dict[str, tuple[int | None, ...]] = {
        "v_template": (V, 3), "shapedirs": (V, 3, None), "posedirs": (V, 3, 9 * (K - 1)),
        "J_regressor": (K, V),
        "weights": (V, K), "kintree_table": (2, K), "f": (None, 3),
    }  # fmt: skip
    for key, shape in expected.items():
        got = raw[key].shape
        if len(got) != len(shape) or any(want not in (None, n) for want, n in zip(shape, got, strict=True)):
            wanted = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
            raise FormatError(f"{where}: {key} must be {wanted}; got {got}.")
    if raw["shapedirs"].shape[2] < NUM_BETAS:
        raise FormatError(
            f"{where}: shapedirs needs at least {NUM_BETAS} components; got {raw['shapedirs'].shape[2]}."
        )

    out: dict[str, NDArray[Any]] = {key: np.array(v) for key, v in arrays.items() if key not in REQUIRED}
    raw["shapedirs"] = raw["shapedirs"][:, :, :NUM_BETAS]
    for key in ("v_template", "shapedirs", "posedirs", "J_regressor", "weights"):
        out[key] = np.array(raw[key], dtype=np.float32, order="C")
        if not np.isfinite(out[key]).all():
            raise FormatError(f"{where}: {key} holds values that are not finite.")
    parents = np.array(raw["kintree_table"][0], dtype=np.int64)
    parents[0] = -1  # the files write 2**32 - 1
    if not np.array_equal(parents, SMPL_SKELETON.parents):
        raise FormatError(
            f"{where}: kintree_table gives parents {parents.tolist()}, which are not SMPL's 24 joints."
        )
    out["kintree_table"] = np.stack([parents, np.arange(K)])
    faces = raw["f"].astype(np.int64)
    if len(faces) == 0 or faces.min() < 0 or faces.max() >= V:
        raise FormatError(f"{where}: f must hold vertex numbers in [0, {V}); the file is damaged.")
    out["f"] = faces.astype(np.int32)
    for value in out.values():
        value.setflags(write=False)
    return out
