"""Network weights: files and cards."""
