"""Shared fixtures."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with real recordings and motion clips beside the checkout; absent on most machines."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"SKIPPED LOUDLY: {folder} with real recordings and motion clips is not on this machine")
    return folder
