"""The body model, its motions and their files."""
