"""Frame-aligned pose heads."""
