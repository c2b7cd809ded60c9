"""Motion files for other tools."""
