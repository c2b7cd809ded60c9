"""FlowNet: optical flow from events."""
