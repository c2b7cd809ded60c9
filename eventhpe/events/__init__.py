"""Events: types, files, filters and grids."""
