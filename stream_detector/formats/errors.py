"""Why a payload, or a schema, cannot be used. Neither error leaves decoding."""

from __future__ import annotations


class PayloadError(Exception):
    """A record that cannot be read; ``reason`` is one of ``decoding.REASONS``."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class SchemaError(Exception):
    """A schema that nothing can be read by; the message says what is wrong with it."""
