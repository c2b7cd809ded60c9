"""Shared fixtures, and how the tests share a machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

# Before torch is loaded, for this process and those it starts. Where processes share cores, threads that spin
# while they wait for each other make a small training ten times as slow; one thread is no way out, see below.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "2")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes for the suite or a room; single files are sooner done in this one."""
    single = all(Path(argument.split("::")[0]).is_file() for argument in config.args)
    return 0 if single else 2


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with real recordings and motion clips beside the checkout; absent on most machines."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"SKIPPED LOUDLY: {folder} with real recordings and motion clips is not on this machine")
    return folder


@pytest.fixture(autouse=True, scope="module")
def _two_torch_threads() -> None:
    """Every module starts with two torch threads, whatever the one before it left.

    Not for tidiness alone: with one thread, torch 2.13 crashes in the backward pass of convolutions on
    processors without AVX-512.
    """
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(2)
