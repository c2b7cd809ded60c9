"""Shared fixtures."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with real recordings and motion clips beside the checkout; absent on most machines."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"SKIPPED LOUDLY: {folder} with real recordings and motion clips is not on this machine")
    return folder


@pytest.fixture(autouse=True, scope="module")
def _two_torch_threads() -> Iterator[None]:
    """A module that limits torch to one thread does so for itself only.

    Not for tidiness alone: with one thread, torch 2.13 crashes in the backward pass of convolutions on
    processors without AVX-512.
    """
    yield
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(2)
