"""Pure maths: cameras, rotations, skeletons, flow fields. No I/O."""
