"""Base class of every section of the configuration and of every detector's parameters.

It lies below both, so that a detector declares its parameters in its own file and the configuration
asks the detectors for them.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def human(text: str) -> Any:
    """A default in the form that people write; ``validate_default`` turns it into a number."""
    return text


class Model(BaseModel):
    """Base of all sections: unknown keys are errors, values do not change after loading.

    Messages of validators quote no values: they may be secrets.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True
    )


MANY_EVENTS = 10**12
"""Bound on a number of events: at a million a second eleven days, and exact in a float."""

MANY_ROWS = 100_000_000
"""Bound on what is kept in memory, whatever it is: beyond it one process is the wrong place."""

LARGEST_NUMBER = 1e300
"""Bound on a number of the data's own scale; its sums and squares stay finite enough to compare."""

UNREADABLE = re.compile(r"[\x00-\x1f\x7f\"\\]")
"""Characters of a field's name that no event can be read by: msgspec compares keys as written."""

_DEEPEST, _MOST_MEMBERS = 8, 1000
_LARGEST_COUNT = 10**9
_LONGEST_TEXT = 1000


def _readable(name: str) -> str:
    if UNREADABLE.search(name):
        raise ValueError("a field's name holds no quote, backslash or control character")
    return name


def _path(text: str) -> str:
    if "\0" in text:
        raise ValueError("no file has a name with NUL in it")
    return text


def moderate(value: Any, depth: int = 0) -> Any:
    """``value``, if it is no larger than parameters of a library have to be.

    Raises ``ValueError`` for numbers beyond a thousand million, for infinity, long texts, more than
    a thousand members, and what is nested deeper than eight.
    """
    if depth > _DEEPEST:
        raise ValueError(f"is nested deeper than {_DEEPEST}")
    if isinstance(value, dict | list | tuple):
        if len(value) > _MOST_MEMBERS:
            raise ValueError(f"has more than {_MOST_MEMBERS:,} members")
        for each in value.values() if isinstance(value, dict) else value:
            moderate(each, depth + 1)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value) or abs(value) > _LARGEST_COUNT:
            raise ValueError(f"a number is at most {_LARGEST_COUNT:,}")
    elif isinstance(value, str) and len(value) > _LONGEST_TEXT:
        raise ValueError(f"a text has at most {_LONGEST_TEXT:,} characters")
    return value


Name = Annotated[str, Field(min_length=1, max_length=200)]

FieldName = Annotated[Name, AfterValidator(_readable)]
"""Name of a field of the event, as in the text that the event is read from."""

Text = Annotated[str, Field(max_length=_LONGEST_TEXT)]

PathName = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_path)]

Parameters = Annotated[dict[Name, Any], Field(max_length=_MOST_MEMBERS), AfterValidator(moderate)]
"""Parameters of a class of a library, which has no model of its own for them."""

Events = Annotated[float, Field(gt=0, le=MANY_EVENTS)]
"""A half-life, counted in events."""

Clip = Annotated[float, Field(gt=0, le=1e6)]
"""Standard deviations at which inputs are clipped."""
