"""Reading users' SMPL files: npz, pickles with chumpy and scipy nodes, hostile and damaged files."""

from __future__ import annotations

import io
import os
import pickle
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

from eventhpe.body.default import load_body
from eventhpe.body.smpl_file import find_smpl, load_smpl, read_npz, read_smpl
from eventhpe.errors import FormatError, MissingAssetError
from eventhpe.geometry.skeleton import SMPL_SKELETON

V = 40


def small_smpl() -> dict[str, np.ndarray]:
    """Random numbers in the shapes of an SMPL file, 40 vertices and 300 shape components."""
    rng = np.random.default_rng(0)
    weights = rng.random((V, 24))
    regressor = rng.random((24, V)) * (rng.random((24, V)) < 0.3) + np.eye(24, V)
    parents = np.array([2**32 - 1, *SMPL_SKELETON.parents[1:]], np.uint32)
    return {
        "v_template": rng.normal(size=(V, 3)), "shapedirs": rng.normal(size=(V, 3, 300)) * 0.01,
        "posedirs": rng.normal(size=(V, 3, 207)) * 0.01, "weights": weights / weights.sum(1, keepdims=True),
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "f": rng.integers(0, V, (60, 3)).astype(np.uint32),
        "kintree_table": np.stack([parents, np.arange(24, dtype=np.uint32)]),
    }  # fmt: skip


@pytest.fixture
def chumpy(monkeypatch):
    """Modules named like chumpy's, only to write pickles that name them."""

    def make(module: str, name: str) -> type:
        cls = type(name, (), {"__module__": module})
        monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
        setattr(sys.modules[module], name, cls)
        return cls

    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    return types.SimpleNamespace(
        Ch=make("chumpy.ch", "Ch"),
        Select=make("chumpy.reordering", "Select"),
        MatMul=make("chumpy.linalg", "MatMul"),
    )


def node(cls: type, **state) -> object:
    out = cls()
    out.__dict__.update(state)
    return out


def official_like(chumpy, data: dict) -> dict:
    """The official layout: Ch arrays, shapedirs a Select over a larger Ch, J_regressor csc, extra keys."""
    basis = np.concatenate([data["shapedirs"].ravel(), np.zeros(7)])
    out = dict(data)
    out["shapedirs"] = node(
        chumpy.Select, a=node(chumpy.Ch, x=basis, _dirty_vars={"x"}),
        idxs=np.arange(data["shapedirs"].size),
        preferred_shape=data["shapedirs"].shape,
    )  # fmt: skip
    for key in ("v_template", "posedirs", "weights"):
        out[key] = node(chumpy.Ch, x=data[key])
    out["J_regressor"] = scipy.sparse.csc_matrix(data["J_regressor"])
    out["bs_style"], out["vert_sym_idxs"] = "lbs", np.arange(V)
    return out


def old_names(raw: bytes) -> bytes:
    """Module names as numpy 1.16 and scipy 1.2 under Python 2 wrote them (protocol 2 text opcodes)."""
    for new, old in ((b"numpy._core.", b"numpy.core."), (b"scipy.sparse._csc", b"scipy.sparse.csc")):
        raw = raw.replace(b"c" + new, b"c" + old)
    return raw


def assert_same(arrays: dict, data: dict) -> None:
    for key in ("v_template", "posedirs", "weights", "J_regressor"):
        np.testing.assert_array_equal(arrays[key], data[key].astype(np.float32))
    np.testing.assert_array_equal(arrays["shapedirs"], data["shapedirs"][:, :, :10].astype(np.float32))
    np.testing.assert_array_equal(arrays["f"], data["f"])
    np.testing.assert_array_equal(arrays["kintree_table"][0], SMPL_SKELETON.parents)


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
@pytest.mark.parametrize("old", [False, True])
def test_official_pickle_is_read_exactly(tmp_path, chumpy, protocol, old):
    data = small_smpl()
    raw = pickle.dumps(official_like(chumpy, data), protocol=protocol)
    path = tmp_path / "basicmodel_f_lbs_10_207_0_v1.1.0.pkl"
    path.write_bytes(old_names(raw) if old and protocol <= 2 else raw)
    arrays = read_smpl(path)
    assert_same(arrays, data)
    assert str(arrays["gender"]) == "female"


def test_python2_strings_as_array_data(tmp_path):
    """Python 2 writes array bytes as str (SHORT_BINSTRING); hand-built stream of one such array."""
    values = np.array([1.5, -2.0, 3.25])
    stream = (
        b"\x80\x02}q\x00U\nv_templatecnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x03\x85cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U\x18" + values.tobytes() + b"tbs."
    )
    path = tmp_path / "old.pkl"
    path.write_bytes(stream)
    with pytest.raises(FormatError, match="missing shapedirs"):  # the array itself was understood
        read_smpl(path)
    path.write_bytes(stream.replace(b"K\x01K\x03\x85c", b"K\x01K\x04\x85c"))
    with pytest.raises(FormatError, match="with 24 bytes"):
        read_smpl(path)


def test_npz_is_read_and_object_arrays_are_never_decoded(tmp_path):
    data = small_smpl()
    path = tmp_path / "SMPL_MALE.npz"
    np.savez(path, **data, part2num=np.array([{"a": 1}], dtype=object))
    arrays = read_smpl(path)
    assert_same(arrays, data)
    assert str(arrays["gender"]) == "male"
    model = load_smpl(path)
    assert (model.name, model.gender, model.num_vertices) == ("smpl", "male", V)
    np.savez(path, **{**data, "weights": np.array([None], dtype=object)})
    with pytest.raises(FormatError, match="never unpickled"):
        read_smpl(path)


def test_stored_gender_wins_over_the_name(tmp_path):
    path = tmp_path / "SMPL_MALE.npz"
    np.savez(path, **small_smpl(), gender="female")
    assert load_smpl(path).gender == "female"


class _Run:
    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_hostile_pickle_is_refused_and_not_executed(tmp_path, protocol):
    marker = tmp_path / "owned"
    path = tmp_path / "SMPL_NEUTRAL.pkl"
    for call, name in (
        (_Run(os.system, f"touch {marker}"), "system"),
        (_Run(eval, f"open({str(marker)!r}, 'w')"), "eval"),
    ):
        path.write_bytes(pickle.dumps({"v_template": call}, protocol=protocol))
        with pytest.raises(FormatError, match=rf"{name}.*refused"):
            read_smpl(path)
    assert not marker.exists()


def test_unknown_chumpy_node_is_refused_by_name(tmp_path, chumpy):
    path = tmp_path / "SMPL_NEUTRAL.pkl"
    path.write_bytes(pickle.dumps({"v_template": node(chumpy.MatMul, a=1)}, protocol=2))
    with pytest.raises(FormatError, match=r"chumpy\.linalg\.MatMul"):
        read_smpl(path)


def test_array_of_objects_in_a_pickle_is_refused(tmp_path):
    path = tmp_path / "SMPL_NEUTRAL.pkl"
    path.write_bytes(
        pickle.dumps({**small_smpl(), "v_template": np.array([None, 1], dtype=object)}, protocol=2)
    )
    with pytest.raises(FormatError, match=r"dtype 'O8'|Python objects"):
        read_smpl(path)


def test_sparse_indices_outside_the_matrix_are_refused(tmp_path):
    matrix = scipy.sparse.csc_matrix(small_smpl()["J_regressor"])
    matrix.indices[3] = 10_000
    path = tmp_path / "SMPL_NEUTRAL.pkl"
    path.write_bytes(pickle.dumps({**small_smpl(), "J_regressor": matrix}, protocol=2))
    with pytest.raises(FormatError):
        read_smpl(path)


def test_truncated_and_foreign_files(tmp_path, chumpy):
    raw = pickle.dumps(official_like(chumpy, small_smpl()), protocol=2)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **small_smpl())
    packed = buffer.getvalue()
    path = tmp_path / "SMPL_NEUTRAL.pkl"
    for content in (
        b"",
        b"hello",
        raw[: len(raw) // 2],
        raw[:-1],
        packed[: len(packed) // 2],
        b"\x80\x02K\x01.",
    ):
        path.write_bytes(content)
        with pytest.raises(FormatError, match=r"SMPL_NEUTRAL\.pkl"):
            read_smpl(path)


def test_npz_header_must_agree_with_the_bytes(tmp_path):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"shape": (10**12, 3), "fortran_order": False, "descr": "<f8"}
    )
    path = tmp_path / "SMPL_NEUTRAL.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("v_template.npy", buffer.getvalue() + b"\0" * 24)
    with pytest.raises(FormatError, match="header promises"):
        read_npz(path)


@pytest.mark.parametrize("key", ["weights", "f", "J_regressor"])
def test_missing_keys_and_wrong_shapes(tmp_path, key):
    data = small_smpl()
    path = tmp_path / "SMPL_NEUTRAL.npz"
    np.savez(path, **{k: v for k, v in data.items() if k != key})
    with pytest.raises(FormatError, match=rf"SMPL_NEUTRAL\.npz.*missing {key}"):
        read_smpl(path)
    np.savez(path, **{**data, key: data[key][:, :2]})
    with pytest.raises(FormatError, match=key):
        read_smpl(path)


def test_smplh_and_smplx_are_refused_clearly(tmp_path):
    path = tmp_path / "SMPLH_NEUTRAL.npz"
    np.savez(path, **{**small_smpl(), "weights": np.zeros((V, 52))})
    with pytest.raises(FormatError, match="SMPL-H"):
        load_smpl(path)


def test_finding_the_users_files(tmp_path, monkeypatch):
    monkeypatch.delenv("EVENTHPE_HOME", raising=False)
    with pytest.raises(MissingAssetError, match=r"EVENTHPE_HOME is not set.*open body needs no file"):
        find_smpl()
    monkeypatch.setenv("EVENTHPE_HOME", str(tmp_path))
    with pytest.raises(MissingAssetError, match="download it yourself"):
        load_body("smpl")
    folder = tmp_path / "models" / "smpl"
    folder.mkdir(parents=True)
    for name in (
        "SMPLX_MALE.npz",
        "SMPLH_MALE.npz",
        "basicModel_m_lbs_10_207_0_v1.0.0.npz",
        "SMPL_FEMALE.npz",
    ):
        np.savez(folder / name, **small_smpl())
    assert find_smpl("male").name == "basicModel_m_lbs_10_207_0_v1.0.0.npz"
    assert load_body("smpl", gender="female").gender == "female"
    with pytest.raises(MissingAssetError, match="neutral"):
        find_smpl("neutral")
    with pytest.raises(MissingAssetError, match="no such SMPL file"):
        load_smpl(Path(tmp_path) / "absent.pkl")
