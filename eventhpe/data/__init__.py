"""Samples and data sets."""
