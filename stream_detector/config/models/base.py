"""Types that several sections of the configuration are made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stream_detector.parameters import (
    LARGEST_NUMBER,
    MANY_EVENTS,
    MANY_ROWS,
    FieldName,
    Model,
    Name,
    Parameters,
    PathName,
    Text,
    human,
)

__all__ = [
    "LARGEST_NUMBER",
    "MANY_EVENTS",
    "MANY_ROWS",
    "FieldName",
    "Model",
    "Name",
    "Parameters",
    "PathName",
    "Text",
    "Topic",
    "human",
    "positive",
]


def positive(seconds: float) -> float:
    """``seconds``, if there are any. Raises ValueError."""
    if seconds <= 0:
        raise ValueError("must be longer than nothing")
    return seconds


Topic = Annotated[str, Field(min_length=1, max_length=249, pattern=r"^[a-zA-Z0-9._-]+$")]
