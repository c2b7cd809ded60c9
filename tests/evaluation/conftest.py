from __future__ import annotations

from tests.small_world import poser, recordings

__all__ = ["poser", "recordings"]
