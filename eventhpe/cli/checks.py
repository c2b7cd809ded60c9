"""What `eventhpe doctor` looks at. Every check returns a line; none of them changes the machine."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import eventhpe
from eventhpe.errors import EventHPEError, MissingAssetError

GIB = 2**30
MIN_FREE_GIB = 1.0
"""Disk and memory below which the demo may not finish."""

REINSTALL = "install again as the README says"

PARTS = ("numpy", "numba", "scipy", "h5py", "opencv-python-headless", "lightning", "safetensors")


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        name: what was looked at.
        state: "ok", "note" (something optional is absent) or "fail" (the main job cannot run).
        text: what was found.
        cure: what to do, or "".
    """

    name: str
    state: Literal["ok", "note", "fail"]
    text: str
    cure: str = ""


def all_checks() -> list[Check]:
    """Every check, in the order they are printed. A check that breaks is itself a finding."""
    return [
        _safely(name, check)
        for name, check in (
            ("python", python),
            ("packages", packages),
            ("torch", torch_build),
            ("torchvision", torchvision_trap),
            ("hdf5 filters", hdf5_filters),
            ("video", video),
            ("machine", machine),
            ("disk", disk),
            ("open body", open_body),
            ("weights", shipped_weights),
            ("smpl", smpl_files),
            ("rasteriser", rasterised_triangle),
        )
    ]


def _safely(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as error:  # a doctor reports every illness and falls ill with none
        return Check(name, "fail", f"{type(error).__name__}: {error}", REINSTALL)


def python() -> Check:
    """The interpreter and this package."""
    machine = f"{platform.system()} {platform.machine()}"
    text = f"Python {platform.python_version()} on {machine}, eventhpe {eventhpe.__version__}"
    if not (3, 11) <= sys.version_info[:2] < (3, 13):
        return Check("python", "fail", text, "use Python 3.11 or 3.12")
    return Check("python", "ok", text)


def packages() -> Check:
    """Versions of the packages the main job stands on."""
    found, missing = [], []
    for name in PARTS:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if "opencv-python-headless" in missing and _installed("opencv-python"):
        missing.remove("opencv-python-headless")
        found.append(f"opencv-python {version('opencv-python')}")
    if missing:
        return Check("packages", "fail", f"missing: {', '.join(missing)}", REINSTALL)
    return Check("packages", "ok", ", ".join(found))


def torch_build() -> Check:
    """Which torch, and which device it will use."""
    import torch

    build = f"CUDA {torch.version.cuda} build" if torch.version.cuda else "CPU build"
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name(0)
    else:
        device = f"CPU, {torch.get_num_threads()} threads"
    return Check("torch", "ok", f"torch {torch.__version__} ({build}) on {device}")


def torchvision_trap() -> Check:
    """A torchvision that does not match torch breaks Lightning, which imports it when present."""
    if not _installed("torchvision"):
        return Check("torchvision", "ok", "not installed (not needed)")
    text = f"torchvision {version('torchvision')}"
    probe = subprocess.run(
        [sys.executable, "-c", "import torchvision"], capture_output=True, text=True, timeout=120
    )
    if probe.returncode == 0:
        return Check("torchvision", "ok", f"{text} imports beside torch {version('torch')}")
    last = (probe.stderr.strip().splitlines() or ["no message"])[-1]
    return Check("torchvision", "fail", f"{text} does not import: {last}", "pip uninstall torchvision")


def hdf5_filters() -> Check:
    """Codecs that event files in HDF5 use."""
    import h5py
    import hdf5plugin

    wanted = {
        "gzip": h5py.h5z.FILTER_DEFLATE,
        "blosc": hdf5plugin.Blosc.filter_id,
        "zstd": hdf5plugin.Zstd.filter_id,
    }
    absent = [name for name, code in wanted.items() if not h5py.h5z.filter_avail(code)]
    text = f"HDF5 {h5py.version.hdf5_version}, hdf5plugin {version('hdf5plugin')}: "
    if absent:
        return Check(
            "hdf5 filters",
            "note",
            f"{text}no {', '.join(absent)}",
            "pip install --force-reinstall hdf5plugin",
        )
    return Check("hdf5 filters", "ok", text + ", ".join(wanted))


def video() -> Check:
    """The H.264 encoder for overlay videos."""
    import av

    try:
        av.codec.Codec("libx264", "w")
    except ValueError:
        return Check(
            "video",
            "fail",
            f"av {av.__version__} has no libx264; overlays cannot be written",
            "pip install av",
        )
    return Check("video", "ok", f"av {av.__version__} with libx264")


def machine() -> Check:
    """Cores and memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    free = _available_memory()
    if free is None:
        return Check("machine", "ok", f"{cores} cores")
    text = f"{cores} cores, {free / GIB:.1f} GiB of memory available"
    if free < MIN_FREE_GIB * GIB:
        return Check("machine", "note", text, "close other programs, or the demo may be killed")
    return Check("machine", "ok", text)


def _available_memory() -> int | None:
    """Bytes a new program may use, or None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def disk() -> Check:
    """Space in the current folder."""
    free = shutil.disk_usage(Path.cwd()).free
    state: Literal["ok", "note"] = "ok" if free >= MIN_FREE_GIB * GIB else "note"
    return Check("disk", state, f"{free / GIB:.1f} GiB free here", "" if state == "ok" else "make room first")


def open_body() -> Check:
    """The body model that comes with the package, read and checked."""
    from eventhpe.body.default import ASSET, open_body_arrays

    try:
        arrays = open_body_arrays()
    except (EventHPEError, OSError) as error:
        return Check("open body", "fail", str(error), REINSTALL)
    vertices, faces = len(arrays["v_template"]), len(arrays["f"])
    return Check("open body", "ok", f"{ASSET.name}: {vertices} vertices, {faces} faces")


def shipped_weights() -> Check:
    """The networks that come with the package, against the checksums on their cards."""
    from eventhpe.weights.files import load_tensors, shipped, shipped_names

    names = shipped_names()
    if not names:
        return Check("weights", "fail", "eventhpe/weights holds no .safetensors", REINSTALL)
    try:
        for name in names:
            load_tensors(shipped(name))
    except EventHPEError as error:
        return Check("weights", "fail", str(error), REINSTALL)
    return Check("weights", "ok", f"{', '.join(names)}: sha256 as on the cards")


def smpl_files() -> Check:
    """The user's own SMPL files. They are licensed and never needed for the main job."""
    from eventhpe.body.smpl_file import GENDERS, find_smpl

    found, last = [], ""
    for gender in reversed(GENDERS):  # neutral last: its message is the one to show
        try:
            found.append(f"{gender}: {find_smpl(gender)}")
        except MissingAssetError as error:
            last = str(error)
    if not found:
        return Check("smpl", "note", "no SMPL files; the open body is used", last)
    return Check("smpl", "ok", ", ".join(found))


def rasterised_triangle() -> Check:
    """Draw one triangle with the default renderer and look at the middle pixel and at a corner."""
    import numpy as np

    from eventhpe.geometry.camera import Camera
    from eventhpe.render.raster import rasterize

    corners = np.array([[-1.0, 1.0, 2.0], [1.0, 1.0, 2.0], [0.0, -1.0, 2.0]])
    camera = Camera.from_focal(16.0, (33, 33))
    frame = rasterize(corners, np.array([[0, 1, 2]]), camera)
    seen, outside = float(frame.depth[16, 16]), float(frame.depth[0, 0])
    if abs(seen - 2.0) > 1e-3 or np.isfinite(outside):
        return Check(
            "rasteriser", "fail", f"a triangle 2 m away came out at {seen:.3f} m", "report this, please"
        )
    return Check(
        "rasteriser", "ok", f"one triangle drawn: {int((frame.coverage > 0).sum())} pixels, {seen:.3f} m away"
    )


def _installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True
