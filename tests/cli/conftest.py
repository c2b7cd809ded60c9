from __future__ import annotations

from tests.small_world import networks, recordings

__all__ = ["networks", "recordings"]
