"""Read what lies in a pickle without running anything that it names: arrays and plain Python values.

Data sets are published as pickles written by joblib, NumPy or Python itself. The reader knows a short table
of names; for each it makes a passive shell or calls a function of this module, never what the name stands
for. Arrays of objects, classes, and references outside the file are refused. Files may be compressed as
joblib does.

A pickle is a program for a stack machine. What could do harm without naming anything is closed too: state is
set on shells only, sizes are compared with the bytes that are there before memory is taken, unpacked content
has an upper limit, and lists that hold each other do not grow without end.
"""

from __future__ import annotations

import bz2
import io
import lzma
import math
import pickle
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import FormatError, MissingAssetError

MOST_BYTES = 1 << 26
"""Of a file's content after unpacking; the largest files of MMHPSD hold 0.3 MB."""

MOST_VALUES = 1_000_000
"""Values in lists, tuples and dictionaries."""

_MOST_DEPTH = 32
_PLAIN = (np.ndarray, bool, int, float, complex, str, bytes, type(None))
_NUMBERS = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248])")


def read_pickle(path: str | Path, *, most_bytes: int = MOST_BYTES) -> Any:
    """Content of a pickle: tuples, lists, dictionaries, text, numbers, None, and arrays of numbers.

    Args:
        path: a file by joblib (plain, zlib, gzip, bzip2, xz, lzma or lz4), NumPy or Python, any protocol.
        most_bytes: refuse files that hold more, packed or unpacked.
    Raises:
        MissingAssetError: no such file.
        FormatError: damaged, too large, or it names anything but arrays. Nothing was executed.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingAssetError(f"{path}: no such file.")
    size = path.stat().st_size
    if size > most_bytes:
        raise FormatError(f"{path}: {size:,} bytes, where at most {most_bytes:,} are expected.")
    try:
        return parse_pickle(_unpack(path.read_bytes(), most_bytes))
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
    except Exception as error:  # a damaged pickle can fail in any way that its opcodes allow
        raise FormatError(
            f"{path}: is no readable pickle ({type(error).__name__}: {error}). Download it again."
        ) from error


def parse_pickle(content: bytes) -> Any:
    """Content of an unpacked pickle, see `read_pickle`; damaged bytes raise whatever they raise."""
    return _Plain().of(_Unpickler(io.BytesIO(content)).load())


def _unpack(content: bytes, most: int) -> bytes:
    """The content of a file that joblib may have compressed, told by its first bytes."""
    unpacker: Any
    if content[:1] == b"\x78":
        unpacker = zlib.decompressobj()
    elif content[:2] == b"\x1f\x8b":
        unpacker = zlib.decompressobj(wbits=31)
    elif content[:3] == b"BZh":
        unpacker = bz2.BZ2Decompressor()
    elif content[:6] == b"\xfd7zXZ\x00" or content[:3] == b"\x5d\x00\x00":
        unpacker = lzma.LZMADecompressor()
    elif content[:4] == b"\x04\x22\x4d\x18":
        import lz4.frame

        unpacker = lz4.frame.LZ4FrameDecompressor()
    else:
        return content
    out: bytes = unpacker.decompress(content, most + 1)
    if len(out) > most:
        raise FormatError(f"more than {most:,} bytes after unpacking.")
    if not unpacker.eof:
        raise FormatError("the compressed content is cut short. Download it again.")
    return out


# ---------------------------------------------------------------- shells


class _Shell:
    """Passive stand-in of a class that a pickle names: keeps its constructor's arguments and its state."""

    def __init__(self, *args: Any) -> None:
        self.args = args
        self.state: Any = None


class _Array(_Shell):
    """numpy.ndarray as NumPy pickles it: shape, dtype, order and bytes in one state."""

    def resolve(self) -> NDArray[Any]:
        if not (isinstance(self.state, tuple) and len(self.state) == 5):
            raise FormatError("an array without its content.")
        _, shape, dtype, fortran, data = self.state
        return _numbers(data, dtype, shape, "F" if fortran else "C")


class _DType(_Shell):
    """numpy.dtype: its type string, and the byte order in its state."""

    def resolve(self) -> np.dtype[Any]:
        code = self.args[0] if self.args else None
        if not (isinstance(code, str) and _NUMBERS.fullmatch(code)):
            raise FormatError(f"an array of dtype {code!r}; only plain numbers are read.")
        order = self.state[1] if isinstance(self.state, tuple) and len(self.state) > 1 else "="
        return np.dtype(code).newbyteorder(">") if order == ">" else np.dtype(code)


class _Wrapper(_Shell):
    """joblib's NumpyArrayWrapper: describes an array whose bytes follow right behind in the file."""

    def read(self, file: io.BytesIO) -> NDArray[Any]:
        s = self.state
        if not isinstance(s, dict) or not {"shape", "order", "dtype"} <= set(s):
            raise FormatError("joblib's description of an array is incomplete.")
        if s.get("numpy_array_alignment_bytes") is not None:
            file.read((file.read(1) or b"\0")[0])
        shape, dtype = _shape(s["shape"]), s["dtype"]
        if not isinstance(dtype, _DType):
            raise FormatError("an array of Python objects; only plain numbers are read.")
        size = math.prod(shape) * dtype.resolve().itemsize
        left = len(file.getbuffer()) - file.tell()
        if size > left:
            raise FormatError(f"an array of shape {shape} needs {size:,} bytes, but {left:,} follow.")
        return _numbers(file.read(size), dtype, shape, "F" if s["order"] == "F" else "C")


def _shape(shape: Any) -> tuple[int, ...]:
    if not (isinstance(shape, tuple) and len(shape) <= 32 and all(type(n) is int and n >= 0 for n in shape)):
        raise FormatError(f"an array of shape {str(shape)[:80]}.")
    return shape


def _numbers(data: Any, dtype: Any, shape: Any, order: str) -> NDArray[Any]:
    if isinstance(data, str):  # bytes of Python 2
        data = data.encode("latin1")
    if not isinstance(dtype, _DType) or not isinstance(data, bytes | bytearray):
        raise FormatError("an array of Python objects; only plain numbers are read.")
    kind, shape = dtype.resolve(), _shape(shape)
    if math.prod(shape) * kind.itemsize != len(data):
        raise FormatError(f"an array of shape {shape} and dtype {kind} with {len(data):,} bytes.")
    flat = np.frombuffer(bytes(data), kind)
    return flat.reshape(shape, order="F") if order == "F" else flat.reshape(shape)


def _reconstruct(cls: Any, *_: Any) -> _Array:
    if cls is not _Array:
        raise FormatError("NumPy's _reconstruct for something that is no array.")
    return _Array()


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any]:
    return _numbers(data, dtype, shape, "F" if order == "F" else "C")


def _scalar(dtype: Any, data: Any) -> Any:
    return _numbers(data, dtype, (), "C").item()


def _latin1(text: Any, encoding: Any) -> bytes:
    if encoding != "latin1" or not isinstance(text, str):
        raise FormatError(f"text encoded as {encoding!r}.")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    return b""


_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("joblib.numpy_pickle", "NumpyArrayWrapper"): _Wrapper,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _latin1,
    ("__builtin__", "bytes"): _no_bytes,  # how protocols 0 to 2 write an array without entries
    ("builtins", "bytes"): _no_bytes,
}
for _core in ("numpy.core", "numpy._core"):
    _KNOWN[f"{_core}.multiarray", "_reconstruct"] = _reconstruct
    _KNOWN[f"{_core}.multiarray", "scalar"] = _scalar
    _KNOWN[f"{_core}.numeric", "_frombuffer"] = _from_buffer


class _Unpickler(pickle._Unpickler):  # type: ignore[name-defined]  # in Python, as single opcodes change
    """Knows the names in `_KNOWN` and nothing else; reads the arrays that joblib puts between opcodes."""

    stack: list[Any]
    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)  # type: ignore[attr-defined]

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, encoding="latin1")
        self._file = file

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise FormatError(
                f"the pickle names {module}.{name}, which arrays do not need; refused, nothing was executed."
            )
        return _KNOWN[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise FormatError("the pickle refers to objects outside itself; refused.")

    def get_extension(self, code: int) -> Any:
        raise FormatError(f"the pickle uses extension code {code} of another program; refused.")

    def load_build(self) -> None:
        state = self.stack.pop()
        shell = self.stack[-1]
        if not isinstance(shell, _Shell):
            raise FormatError("the pickle sets the state of something that is no array; refused.")
        shell.state = state
        if isinstance(shell, _Wrapper):
            self.stack[-1] = shell.read(self._file)

    dispatch[pickle.BUILD[0]] = load_build


class _Plain:
    """Turns shells inside lists, tuples and dictionaries into arrays."""

    def __init__(self) -> None:
        self._count = 0

    def of(self, value: Any, depth: int = 0) -> Any:
        self._count += 1
        if self._count > MOST_VALUES or depth > _MOST_DEPTH:
            raise FormatError(f"more than {MOST_VALUES:,} values, or lists inside lists without end.")
        if isinstance(value, _PLAIN):
            return value
        if isinstance(value, _Array):
            return value.resolve()
        if isinstance(value, list | tuple):
            return type(value)([self.of(v, depth + 1) for v in value])
        if isinstance(value, dict):
            return {k: self.of(v, depth + 1) for k, v in value.items() if isinstance(k, str | int)}
        what = value.__name__ if isinstance(value, type) else type(value).__name__
        raise FormatError(f"a value of type {what.lstrip('_')}; only arrays and plain values are read.")
