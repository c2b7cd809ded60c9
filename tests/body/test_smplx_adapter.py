"""SMPL-H and SMPL-X bodies from small files made here, against the classes of the smplx package."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from eventhpe.body.params import BodyParams
from eventhpe.body.smplx_adapter import load_smplx
from eventhpe.errors import FormatError, MissingAssetError, MissingExtraError, ShapeError
from eventhpe.geometry.skeleton import SMPL_SKELETON

smplx = pytest.importorskip("smplx")

V = 60
HAND = [0, 1, 2] * 5
"""Within a finger each joint hangs on the one before; the first hangs on the wrist."""


def parents_of(kind: str) -> list[int]:
    parents = list(SMPL_SKELETON.parents[:22])
    if kind == "smplx":
        parents += [15, 15, 15]  # jaw and eyes
    for wrist in (20, 21):
        first = len(parents)
        parents += [wrist if part == 0 else first + k - 1 for k, part in enumerate(HAND)]
    return parents


def small_body(kind: str) -> dict[str, np.ndarray]:
    """Random numbers in the shapes of a model file with 60 vertices."""
    rng = np.random.default_rng(3)
    parents = np.array(parents_of(kind), np.int64)
    J = len(parents)
    parents[0] = 2**32 - 1
    weights, regressor = rng.random((V, J)), rng.random((J, V))
    return {
        "v_template": rng.normal(size=(V, 3)),
        "shapedirs": rng.normal(size=(V, 3, 400 if kind == "smplx" else 16)) * 0.02,
        "posedirs": rng.normal(size=(V, 3, 9 * (J - 1))) * 0.01,
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "weights": weights / weights.sum(1, keepdims=True),
        "kintree_table": np.stack([parents, np.arange(J)]).astype(np.uint32),
        "f": rng.integers(0, V, (80, 3)).astype(np.uint32),
        "hands_meanl": rng.normal(size=45) * 0.2, "hands_meanr": rng.normal(size=45) * 0.2,
        "hands_componentsl": np.eye(45), "hands_componentsr": np.eye(45),
        "lmk_faces_idx": np.zeros(51, np.int64), "lmk_bary_coords": np.full((51, 3), 1 / 3),
    }  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    paths = {"smplh": tmp_path / "smplh" / "female" / "model.npz", "smplx": tmp_path / "SMPLX_MALE.npz"}
    for kind, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **small_body(kind), part2num=np.array([{"x": 1}], dtype=object))
    return paths


def some_params(kind: str, T: int = 3) -> BodyParams:
    rng = np.random.default_rng(4)
    return BodyParams(
        betas=rng.normal(size=(T, 10)), global_orient=rng.normal(size=(T, 3)),
        body_pose=rng.normal(size=(T, 23, 3)) * 0.4, transl=rng.normal(size=(T, 3)), model=kind,
    )  # fmt: skip


def of_package(
    kind: str, hands: str, params: BodyParams, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Any:
    """Vertices and all joints from the package's own class."""
    from smplx import body_models

    few = {name: k % V for k, name in enumerate(body_models.VERTEX_IDS["smplx"])}
    for name in ("smplh", "smplx"):
        monkeypatch.setitem(body_models.VERTEX_IDS, name, few)
    path = tmp_path / f"{kind}.npz"
    np.savez(path, **small_body(kind))
    made = (smplx.SMPLH if kind == "smplh" else smplx.SMPLX)(
        str(path), ext="npz", use_pca=False, flat_hand_mean=hands == "flat", num_betas=10,
        batch_size=len(params.transl),
    )  # fmt: skip

    def tensor(a: np.ndarray) -> torch.Tensor:
        return torch.tensor(a, dtype=torch.float32)

    return made(
        betas=tensor(params.betas), global_orient=tensor(params.global_orient),
        body_pose=tensor(params.body_pose[:, :21].reshape(len(params.transl), -1)),
        transl=tensor(params.transl),
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["smplh", "smplx"])
@pytest.mark.parametrize("hands", ["mean", "flat"])
def test_bodies_agree_with_the_package(
    files: dict[str, Path], kind: str, hands: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    body, params = load_smplx(files[kind], hands=hands), some_params(kind)
    found, expected = body.pose(params), of_package(kind, hands, params, monkeypatch, tmp_path)
    torch.testing.assert_close(found.vertices, expected.vertices.detach(), atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(found.joints[:, :22], expected.joints[:, :22].detach(), atol=2e-5, rtol=1e-5)
    from smplx.joint_names import JOINT_NAMES

    face = () if kind == "smplx" else ("jaw", "left_eye_smplhf", "right_eye_smplhf")
    names = [name for name in JOINT_NAMES if name not in face]
    middle = [names.index("left_middle1"), names.index("right_middle1")]
    torch.testing.assert_close(
        found.joints[:, 22:], expected.joints[:, middle].detach(), atol=2e-5, rtol=1e-5
    )


def test_called_like_the_other_bodies(files: dict[str, Path]) -> None:
    body = load_smplx(files["smplx"])
    assert (body.name, body.gender, body.num_vertices, body.faces.shape) == ("smplx", "male", V, (80, 3))
    assert load_smplx(files["smplh"]).gender == "female" and load_smplx(files["smplh"]).name == "smplh"
    assert load_smplx(files["smplh"], gender="neutral").gender == "neutral"
    assert list(body.state_dict()) == [], "a body never enters a checkpoint"
    rotmats = torch.tensor(Rotation.random(48, random_state=1).as_matrix(), dtype=torch.float32)
    rotmats = rotmats.reshape(2, 24, 3, 3).requires_grad_()
    whole = body(rotmats, torch.zeros(10), torch.zeros(3))
    assert whole.vertices.shape == (2, V, 3) and whole.joints.shape == (2, 24, 3)
    some = body.vertices(rotmats, torch.zeros(10), torch.tensor([1.0, 2, 3]), subset=torch.tensor([4, 9]))
    torch.testing.assert_close(some, whole.vertices[:, [4, 9]] + torch.tensor([1.0, 2, 3]))
    torch.testing.assert_close(body.joints(rotmats, torch.zeros(10), torch.zeros(3)), whole.joints)
    (gradient,) = torch.autograd.grad(whole.vertices.sum(), rotmats)
    assert gradient[:, :22].abs().sum() > 0 and not gradient[:, 22:].any(), "hands of SMPL are not used"
    one = body(rotmats[0], torch.zeros(10), torch.zeros(3))
    torch.testing.assert_close(one.joints, whole.joints[0])
    with pytest.raises(ShapeError, match=r"betas must be \(\*, 10\)"):
        body(rotmats, torch.zeros(16), torch.zeros(3))
    with pytest.raises(ShapeError, match="never mix"):
        body.pose(some_params("smpl"))


def test_without_the_extra_the_message_names_it(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def absent(name: str, *rest: Any) -> Any:
        if name.split(".")[0] == "smplx":
            raise ImportError(name)
        return real(name, *rest)

    for module in [name for name in sys.modules if name.split(".")[0] == "smplx"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingExtraError, match=r"non-commercial.*eventhpe\[smpl\]"):
        load_smplx(files["smplx"])


def test_files_that_are_no_such_body(tmp_path: Path, files: dict[str, Path]) -> None:
    with pytest.raises(MissingAssetError, match="licensed"):
        load_smplx(tmp_path / "absent.npz")
    with pytest.raises(ShapeError, match="flat"):
        load_smplx(files["smplh"], hands="fist")  # type: ignore[arg-type]
    path, good = tmp_path / "a.npz", small_body("smplh")

    def refused(message: str, **change: Any) -> None:
        arrays = {k: v for k, v in (good | change).items() if v is not None}
        np.savez(path, **arrays)
        with pytest.raises(FormatError, match=rf"a\.npz: .*{message}"):
            load_smplx(path)

    refused("missing hands_meanl", hands_meanl=None)
    refused("a body of 24 joints; SMPL-H has 52", weights=np.zeros((V, 24)))
    refused("posedirs must be", posedirs=good["posedirs"][:, :, :207])
    refused("shapedirs must be", shapedirs=good["shapedirs"][:, :, :9])
    refused("vertex numbers below 60", f=good["f"] + V)
    refused("not finite", v_template=good["v_template"] * np.nan)
    refused("must hold numbers", v_template=np.full((V, 3), "x"))
    parents = good["kintree_table"].copy()
    parents[0, 4] = 2
    refused("not the body's", kintree_table=parents)
    refused("never unpickled", v_template=np.array([None] * 3))
    path.write_bytes(b"\x80\x04N.")
    with pytest.raises(FormatError, match="npz"):
        load_smplx(path)
