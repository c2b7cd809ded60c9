"""Safe reader of SMPL model files that users downloaded under SMPL's licence.

`.npz` is read without pickle. The official `.pkl` is a Python 2 pickle of chumpy and scipy objects; it is
read with an unpickler that knows a fixed table of names, builds passive shells for all of them, and refuses
everything else, so no code named by the file ever runs and neither chumpy nor numpy's own unpickling is used.
"""

from __future__ import annotations

import math
import os
import pickle
import re
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from eventhpe.body.arrays import REQUIRED, check_body_arrays
from eventhpe.errors import FormatError, MissingAssetError

if TYPE_CHECKING:
    from eventhpe.body.model import BodyModel

MAX_BYTES = 1 << 30
GENDERS = ("neutral", "male", "female")


def load_smpl(path: str | os.PathLike[str]) -> BodyModel:
    """Body model "smpl" from a user's SMPL file; the gender comes from the file or its name.

    Args:
        path: `.npz` or `.pkl` with SMPL's 24 joints.
    Raises:
        MissingAssetError: no such file.
        FormatError: damaged, not SMPL (SMPL-H and SMPL-X included), or a pickle that names anything
            unexpected.
    """
    from eventhpe.body.model import BodyModel

    arrays = read_smpl(path)
    return BodyModel.from_arrays(arrays, name="smpl", gender=str(arrays["gender"]))


def read_smpl(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """Checked arrays of an SMPL file, with `gender`. Arguments and errors as in `load_smpl`."""
    path = Path(path)
    if not path.is_file():
        raise MissingAssetError(f"{path}: no such SMPL file. {_LICENCE_NOTE}")
    if path.stat().st_size > MAX_BYTES:
        raise FormatError(f"{path.name}: {path.stat().st_size} bytes; an SMPL file is below {MAX_BYTES}.")
    raw = read_npz(path, (*REQUIRED, "gender")) if zipfile.is_zipfile(path) else _read_pickle(path)
    gender = _gender(raw.get("gender"), path.stem)
    needed = {key: raw[key] for key in REQUIRED if key in raw}
    arrays = check_body_arrays(needed, path.name)
    arrays["gender"] = np.array(gender)
    return arrays


def find_smpl(gender: str = "neutral") -> Path:
    """Path of the user's SMPL file under $EVENTHPE_HOME/models (the variable is read at each call).

    Raises:
        MissingAssetError: the variable is not set, or no file of that gender is there.
    """
    if gender not in GENDERS:
        raise MissingAssetError(f"gender must be one of {', '.join(GENDERS)}; got {gender!r}.")
    home = os.environ.get("EVENTHPE_HOME")
    if not home:
        raise MissingAssetError(f"no SMPL model ({gender}): EVENTHPE_HOME is not set. {_LICENCE_NOTE}")
    folder = Path(home).expanduser() / "models"
    for candidate in sorted(folder.rglob("*")) if folder.is_dir() else []:
        stem = candidate.stem.lower()
        is_smpl = re.match(r"(smpl|basic_?model)(?!x|h)", stem) is not None
        if is_smpl and candidate.suffix.lower() in (".npz", ".pkl") and _gender(None, stem) == gender:
            return candidate
    raise MissingAssetError(f"no SMPL model ({gender}) under {folder}. {_LICENCE_NOTE}")


_LICENCE_NOTE = (
    "SMPL is licensed: download it yourself from smpl.is.tue.mpg.de and put SMPL_NEUTRAL.pkl (or .npz) into "
    "$EVENTHPE_HOME/models. The open body needs no file and is the default."
)


def _gender(stored: Any, stem: str) -> str:
    """Gender from the file's own entry, else from its name; neutral when neither tells."""
    text = "" if stored is None else str(np.asarray(stored)).lower()
    if text in GENDERS:
        return text
    words = re.split(r"[^a-z]+", stem.lower())
    if "female" in words or "f" in words:
        return "female"
    return "male" if "male" in words or "m" in words else "neutral"


def read_npz(path: Path, keys: tuple[str, ...] | None = None) -> dict[str, NDArray[Any]]:
    """Arrays of an npz without pickle; sizes in headers are checked before anything is allocated.

    Args:
        path: the file.
        keys: names to read where present; others are not decoded. None reads all.
    Raises:
        FormatError: not a zip of .npy files, damaged, too large, or one of the arrays holds objects.
    """
    out: dict[str, NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                key = info.filename.removesuffix(".npy")
                if key == info.filename or (keys is not None and key not in keys):
                    continue
                if info.file_size > MAX_BYTES:
                    raise FormatError(
                        f"{path.name}: {key} claims {info.file_size} bytes; at most {MAX_BYTES}."
                    )
                with archive.open(info) as stream:
                    out[key] = _read_npy(stream, info.file_size, f"{path.name}: {key}")
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, NotImplementedError) as error:
        raise FormatError(f"{path.name}: cannot be read as npz ({error}). Download it again.") from error
    return out


def _read_npy(stream: Any, size: int, where: str) -> NDArray[Any]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    if dtype.hasobject:
        raise FormatError(f"{where} holds Python objects, which are never unpickled here.")
    if any(n < 0 for n in shape) or math.prod(shape) * dtype.itemsize != size - stream.tell():
        raise FormatError(
            f"{where}: header promises {shape} {dtype}, but {size - stream.tell()} bytes follow."
        )
    flat = np.frombuffer(stream.read(), dtype=dtype)
    return flat.reshape(shape, order="F" if fortran else "C")


# ---------------------------------------------------------------- pickle


class _Node:
    """Passive stand-in of one class named in the pickle: keeps its constructor arguments and state."""

    def __init__(self, *args: Any) -> None:
        self.args = args
        self.state: Any = {}

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Ch(_Node):
    """chumpy.ch.Ch: an array in `x`."""


class _Select(_Node):
    """chumpy.reordering.Select: entries `idxs` of another node `a`, reshaped."""


class _Sparse(_Node):
    """scipy csc_matrix or csr_matrix."""

    layout = ""


class _Csc(_Sparse):
    layout = "csc"


class _Csr(_Sparse):
    layout = "csr"


class _DType(_Node):
    """numpy.dtype: only its type string and byte order matter."""

    def resolve(self) -> np.dtype[Any]:
        code = str(self.args[0]) if self.args else ""
        if not re.fullmatch(r"[<>=|]?[fiub][1248]", code):
            raise FormatError(f"array of dtype {code!r}; only plain numbers are read.")
        order = self.state[1] if isinstance(self.state, tuple) and len(self.state) > 1 else "="
        dtype = np.dtype(code)
        return dtype.newbyteorder(">") if order == ">" else dtype


class _Array(_Node):
    """numpy.ndarray: shape, dtype, order and raw bytes."""

    def resolve(self) -> NDArray[Any]:
        if not (isinstance(self.state, tuple) and len(self.state) == 5):
            raise FormatError("an array without its state.")
        _, shape, kind, fortran, data = self.state
        return _numbers(data, kind, shape, "F" if fortran else "C")


def _numbers(data: Any, kind: Any, shape: Any, order: str) -> NDArray[Any]:
    if isinstance(data, str):  # a Python 2 str, read as latin1
        data = data.encode("latin1")
    if not isinstance(kind, _DType) or not isinstance(data, bytes | bytearray):
        raise FormatError("an array of Python objects; only plain numbers are read.")
    dtype = kind.resolve()
    if not (isinstance(shape, tuple) and all(isinstance(n, int) and n >= 0 for n in shape)):
        raise FormatError(f"an array of shape {shape!r}.")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise FormatError(f"an array of shape {shape} and dtype {dtype} with {len(data)} bytes.")
    return np.frombuffer(data, dtype).reshape(shape, order=order)  # type: ignore[call-overload,no-any-return]


def _reconstruct_array(cls: Any, *_: Any) -> _Array:
    if cls is not _Array:
        raise FormatError("numpy's _reconstruct called for something that is not an array.")
    return _Array()


def _reconstruct_object(cls: Any, *_: Any) -> Any:
    if not (isinstance(cls, type) and issubclass(cls, _Node)):
        raise FormatError("copy_reg's _reconstructor called for an unexpected class.")
    return cls()


def _array_from_buffer(data: Any, kind: Any, shape: Any, order: Any) -> NDArray[Any]:
    return _numbers(data, kind, shape, "F" if order == "F" else "C")


def _scalar(kind: Any, data: Any) -> NDArray[Any]:
    return _numbers(data, kind, (), "C")


def _latin1(text: Any, encoding: Any) -> bytes:
    if encoding != "latin1" or not isinstance(text, str):
        raise FormatError(f"text encoded as {encoding!r}.")
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("chumpy.ch", "Ch"): _Ch, ("chumpy.reordering", "Select"): _Select, ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType, ("copy_reg", "_reconstructor"): _reconstruct_object,
    ("copyreg", "_reconstructor"): _reconstruct_object, ("__builtin__", "object"): _Node,
    ("builtins", "object"): _Node, ("__builtin__", "set"): set, ("builtins", "set"): set,
    ("collections", "OrderedDict"): OrderedDict, ("_codecs", "encode"): _latin1,
}  # fmt: skip
for _core in ("numpy.core", "numpy._core"):
    _ALLOWED[f"{_core}.multiarray", "_reconstruct"] = _reconstruct_array
    _ALLOWED[f"{_core}.multiarray", "scalar"] = _scalar
    _ALLOWED[f"{_core}.numeric", "_frombuffer"] = _array_from_buffer
for _layout, _shell in (("csc", _Csc), ("csr", _Csr)):
    for _module in (f"scipy.sparse.{_layout}", f"scipy.sparse._{_layout}"):
        _ALLOWED[_module, f"{_layout}_matrix"] = _shell
        _ALLOWED[_module, f"{_layout}_array"] = _shell


class _RestrictedUnpickler(pickle.Unpickler):
    """Knows the names in `_ALLOWED` and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise FormatError(
                f"the pickle names {module}.{name}, which an SMPL file does not need; "
                "refused, nothing was executed."
            ) from None

    def persistent_load(self, pid: Any) -> Any:
        raise FormatError("the pickle refers to objects outside itself; refused.")


def _read_pickle(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            content = _RestrictedUnpickler(stream, encoding="latin1").load()
        if not isinstance(content, Mapping):
            raise FormatError("the pickle does not hold a dictionary.")
        return {key: _resolve(content[key]) for key in (*REQUIRED, "gender") if key in content}
    except FormatError as error:
        raise FormatError(f"{path.name}: {error}") from error
    except Exception as error:  # a damaged pickle can fail in any way the format allows
        raise FormatError(
            f"{path.name}: neither npz nor a readable pickle ({type(error).__name__}: {error}). "
            "Download it again."
        ) from error


def _resolve(value: Any) -> Any:
    """Plain array, sparse matrix or text of a value in the pickle."""
    if isinstance(value, np.ndarray | str):
        return value
    if isinstance(value, _Array):
        return value.resolve()
    if isinstance(value, _Ch | _Select | _Sparse):
        state = value.state
        if not isinstance(state, Mapping):
            raise FormatError(f"{type(value).__name__[1:]} without its state.")
        if isinstance(value, _Ch):
            return _resolve(state["x"])
        if isinstance(value, _Select):
            picked = np.asarray(_resolve(state["a"])).ravel()[np.asarray(_resolve(state["idxs"]))]
            return picked.reshape(tuple(int(n) for n in state["preferred_shape"]))
        make = scipy.sparse.csc_matrix if value.layout == "csc" else scipy.sparse.csr_matrix
        parts = tuple(_resolve(state[key]) for key in ("data", "indices", "indptr"))
        rows, columns = (int(n) for n in state.get("_shape", state.get("shape")))
        if rows * columns > MAX_BYTES // 8:
            raise FormatError(f"a sparse matrix of {rows} x {columns}.")
        matrix = make(parts, shape=(rows, columns))
        matrix.check_format(full_check=True)
        return matrix
    raise FormatError(f"a value of type {type(value).__name__} where an array belongs.")
