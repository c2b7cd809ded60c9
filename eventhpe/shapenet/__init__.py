"""ShapeNet: body parameters from events and flow."""
