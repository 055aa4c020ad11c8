"""Fields of a log line besides its message. On the ground floor: every room may log."""

from __future__ import annotations

from typing import Any

FIELDS = "structured_fields"
ACTION = "event.action"


def fields(action: str | None = None, /, **values: Any) -> dict[str, Any]:
    """Structured fields for a log call: ``log.info("...", extra=fields("commit", events=12))``.

    They travel under one name, so that no field can collide with an attribute of ``LogRecord``.
    What warns or worse has an action and a ``stage``, a literal each (docs/operations.md lists
    them; a test reads the source).

    Args:
        action: ECS ``event.action``; in text the word before the message.
        values: further fields; ECS ``labels``, ``key=value`` in text.
    """
    return {FIELDS: {**values, ACTION: action} if action else values}
