from __future__ import annotations

from tests.small_world import networks, poser, recordings

__all__ = ["networks", "poser", "recordings"]
