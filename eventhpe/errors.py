"""Errors a user can meet. Every message says what was expected, what came, where, and what to do."""

from __future__ import annotations


class EventHPEError(Exception):
    """Root of all errors raised on purpose by this package."""


class FormatError(EventHPEError):
    """A file is not what it claims to be, is damaged, or holds nothing usable."""


class UnitError(EventHPEError):
    """Numbers carry the wrong unit, usually seconds passed as microseconds."""


class ShapeError(EventHPEError):
    """An array has the wrong shape or dtype."""


class CalibrationError(EventHPEError):
    """Camera parameters are missing, impossible, or contradict the data."""


class MissingAssetError(EventHPEError):
    """A file that only the user can provide (a licensed body model, a data set) is absent."""


class MissingExtraError(EventHPEError):
    """An optional dependency is not installed; the message names the pip extra."""
