"""Pickles of arrays are read exactly; everything that could run, pollute or swell is refused."""

from __future__ import annotations

import bz2
import copyreg
import io
import lzma
import os
import pickle
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventhpe.data import safe_pickle
from eventhpe.data.safe_pickle import parse_pickle, read_pickle
from eventhpe.errors import FormatError, MissingAssetError

ARRAYS = (
    np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    np.asfortranarray(np.arange(12, dtype=np.int16).reshape(3, 4)),
    np.array([[True, False]]),
    np.zeros((0, 3)),
    np.array(7.5),
    np.arange(5, dtype=">i4"),
)
CONTENT = {"a": ARRAYS[0], "list": [1, -2, 3.5, "text", None, b"\xff\x00", ARRAYS[1]], "pair": ARRAYS[2:]}


def same(found: Any, expected: Any) -> None:
    if isinstance(expected, np.ndarray):
        assert isinstance(found, np.ndarray) and found.shape == expected.shape
        assert found.dtype == expected.dtype and np.array_equal(found, expected)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            same(found[key], value)
    elif isinstance(expected, list | tuple):
        assert type(found) is type(expected) and len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            same(a, b)
    else:
        assert found == expected


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_pickles_of_every_protocol(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(CONTENT, protocol=protocol))
    same(read_pickle(path), CONTENT)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "compress", [0, ("zlib", 3), ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3), ("lz4", 3)]
)
def test_files_of_joblib(tmp_path: Path, protocol: int, compress: Any) -> None:
    path = tmp_path / "a.pkl"
    joblib.dump(CONTENT, path, compress=compress, protocol=protocol)
    same(read_pickle(path), CONTENT)


def test_files_of_older_joblib_have_no_alignment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from joblib import numpy_pickle

    made = numpy_pickle.NumpyArrayWrapper.__init__

    def older(self: Any, *args: Any, **options: Any) -> None:
        made(self, *args, **options)
        del self.numpy_array_alignment_bytes

    monkeypatch.setattr(numpy_pickle.NumpyArrayWrapper, "__init__", older)
    path = tmp_path / "a.pkl"
    joblib.dump((ARRAYS[0], ARRAYS[1]), path, protocol=3)
    same(read_pickle(path), (ARRAYS[0], ARRAYS[1]))


def test_the_same_array_twice_and_numbers_of_numpy(tmp_path: Path) -> None:
    array = np.arange(3)
    for content in ([array, array, (array,)], [np.int64(7), np.float32(0.5)]):
        path = tmp_path / "a.pkl"
        path.write_bytes(pickle.dumps(content))
        same(read_pickle(path), content if content[0] is array else [7, 0.5])


class _Call:
    """Pickles as a call of anything."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def test_code_is_refused_and_never_runs(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    hostile = [
        _Call(os.system, f"touch {mark}"),
        _Call(eval, f"open({str(mark)!r}, 'w')"),
        _Call(subprocess.check_call, ["touch", str(mark)]),
        _Call(np.load, str(mark)),
        _Call(getattr, "text", "format"),
    ]
    for protocol in range(6):
        for value in hostile:
            path = tmp_path / "a.pkl"
            path.write_bytes(pickle.dumps([ARRAYS[0], value], protocol=protocol))
            with pytest.raises(FormatError, match=r"a\.pkl: the pickle names .*nothing was executed"):
                read_pickle(path)
    buffer = io.BytesIO()
    joblib.dump({"a": ARRAYS[0], "b": hostile[0]}, buffer)
    path.write_bytes(buffer.getvalue())
    with pytest.raises(FormatError, match="refused"):
        read_pickle(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("opcodes", "message"),
    [
        # BUILD on an allowed function or class would change this program for everybody after it.
        (b"c_codecs\nencode\n}X\x01\x00\x00\x00ac_codecs\nencode\nsb.", "no array"),
        (b"cnumpy\nndarray\n}X\x07\x00\x00\x00resolvec_codecs\nencode\nsb.", "no array"),
        (b"cnumpy\nndarray\n.", "type Array"),
        (b"c_codecs\nencode\n.", "type function"),
        (b"Pelsewhere\n.", "outside itself"),
        (b"\x82\x01.", "extension code"),
        (b"cnumpy\nndarray\n)R.", "without its content"),
        (b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}b.", "incomplete|AttributeError"),
    ],
)
def test_opcodes_that_need_no_name(opcodes: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x02" + opcodes)
    with pytest.raises(FormatError, match=message):
        read_pickle(path)
    assert safe_pickle._latin1.__dict__ == {} and safe_pickle._Array.resolve.__name__ == "resolve"
    assert 1 not in copyreg._inverted_registry  # type: ignore[attr-defined]


def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    for write in (
        lambda: pickle.dump(np.array([None, 1]), path.open("wb")),
        lambda: joblib.dump(np.array([None]), path),
    ):
        write()
        with pytest.raises(FormatError, match=r"plain numbers|Python objects|'O8'"):
            read_pickle(path)


def test_sizes_are_compared_with_the_bytes_before_memory_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    buffer = io.BytesIO()
    joblib.dump(np.zeros((5, 7)), buffer, protocol=2)
    whole = buffer.getvalue()
    assert b"K\x05K\x07\x86" in whole
    path.write_bytes(whole.replace(b"K\x05K\x07\x86", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"))
    with pytest.raises(FormatError, match=r"needs [\d,]+ bytes, but \d+ follow"):
        read_pickle(path)
    plain = pickle.dumps(np.zeros((5, 7)), protocol=2)
    path.write_bytes(plain.replace(b"K\x05K\x07\x86", b"K\x05K\x08\x86"))
    with pytest.raises(FormatError, match=r"shape \(5, 8\).* with 280 bytes"):
        read_pickle(path)


@pytest.mark.parametrize("pack", [zlib.compress, bz2.compress, lzma.compress])
def test_content_that_swells_is_refused(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pack(b"\x80\x02" + b"0" * 10_000_000))
    assert path.stat().st_size < 100_000
    with pytest.raises(FormatError, match="more than 1,000,000 bytes after unpacking"):
        read_pickle(path, most_bytes=1_000_000)
    path.write_bytes(bytes(2_000_000))
    with pytest.raises(FormatError, match="2,000,000 bytes, where at most"):
        read_pickle(path, most_bytes=1_000_000)
    path.write_bytes(pack(pickle.dumps(list(range(9999))))[:-20])
    with pytest.raises(FormatError, match=r"cut short|readable pickle"):
        read_pickle(path)


def test_lists_without_end_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    loop: list[Any] = []
    loop.append(loop)
    laughs: Any = [0] * 10
    for _ in range(12):
        laughs = [laughs] * 10
    for content in (loop, laughs):
        path.write_bytes(pickle.dumps(content))
        with pytest.raises(FormatError, match="without end"):
            read_pickle(path)


def test_damaged_and_absent_files(tmp_path: Path) -> None:
    whole = pickle.dumps(CONTENT)
    path = tmp_path / "a.pkl"
    for content in (b"", b"hello", whole[:-1], whole[: len(whole) // 2], b"ZF0x12"):
        path.write_bytes(content)
        with pytest.raises(FormatError, match=r"a\.pkl"):
            read_pickle(path)
    with pytest.raises(MissingAssetError, match=r"b\.pkl: no such file"):
        read_pickle(tmp_path / "b.pkl")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_changed_bytes_give_a_value_or_an_error(data: st.DataObject) -> None:
    """Whatever the bytes say, nothing but plain values comes out."""
    buffer = io.BytesIO()
    joblib.dump((ARRAYS[0], {"k": [1, 2]}, "s"), buffer, protocol=data.draw(st.sampled_from([2, 4])))
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(2, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        value = parse_pickle(bytes(content))
    except Exception:
        return

    def plain(v: Any) -> bool:
        if isinstance(v, dict):
            return all(map(plain, v.values()))
        if isinstance(v, list | tuple):
            return all(map(plain, v))
        return isinstance(v, np.ndarray | bool | int | float | str | bytes | complex | type(None))

    assert plain(value)
