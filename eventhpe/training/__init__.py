"""Training: one LightningModule per trainable system."""
