"""The one error of decoding."""

from __future__ import annotations


class NotAnImage(Exception):
    """Bytes that cannot be decoded; the message says why, the caller knows the file's name."""
