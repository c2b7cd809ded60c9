"""One module per family of event file formats."""
