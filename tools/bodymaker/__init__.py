"""Parts of `tools/make_body.py`."""
