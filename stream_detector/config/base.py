"""What every section of the configuration is made of."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


def human(text: str) -> Any:
    """A default in the form that people write; ``validate_default`` turns it into a number."""
    return text


def positive(seconds: float) -> float:
    """``seconds``, if there are any. Raises ValueError."""
    if seconds <= 0:
        raise ValueError("must be longer than nothing")
    return seconds


class Model(BaseModel):
    """Base of all sections: unknown keys are errors, values do not change after loading.

    Messages of validators quote no values: they may be secrets.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True
    )


Name = Annotated[str, Field(min_length=1, max_length=200)]
Topic = Annotated[str, Field(min_length=1, max_length=249, pattern=r"^[a-zA-Z0-9._-]+$")]
