"""Pictures: rasteriser, overlays, videos, reports."""
