"""Conditions on an event that a monitor counts it by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from stream_detector.events import Float64
from stream_detector.parameters import LARGEST_NUMBER, FieldName, Model, Text
from stream_detector.tables.texts import present

_Whole = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
_Number = Annotated[float, Field(ge=-LARGEST_NUMBER, le=LARGEST_NUMBER)]
Value = Text | bool | _Whole | _Number
_Values = Annotated[list[Value], Field(min_length=1, max_length=1000)]


class ConditionConfig(Model):
    """A condition on one field of an event; of several settings all must hold."""

    field: FieldName = Field(description="The field.")
    any_of: _Values | None = Field(
        None,
        description="Values of which it must have one, as the event has them: `[declined, 500]`.",
    )
    none_of: _Values | None = Field(
        None, description="Values of which it must have none; a missing one is none of them."
    )
    above: _Number | None = Field(
        None, description="A number that it must lie above; a missing one does not."
    )
    below: _Number | None = Field(
        None, description="A number that it must lie below; a missing one does not."
    )
    missing: bool | None = Field(
        None, description="Whether it must be missing (`true`), or there (`false`)."
    )

    @model_validator(mode="after")
    def _says_something(self) -> ConditionConfig:
        if not self.reads_text and not self.reads_number:
            raise ValueError("give one of any_of, none_of, above, below and missing")
        if self.above is not None and self.below is not None and self.above >= self.below:
            raise ValueError("nothing lies above `above` and below `below`")
        return self

    @property
    def reads_text(self) -> bool:
        """Tell whether the field's text is asked for."""
        return not (self.any_of is None and self.none_of is None and self.missing is None)

    @property
    def reads_number(self) -> bool:
        """Tell whether the field's number is asked for."""
        return self.above is not None or self.below is not None

    def holds(
        self, text: Mapping[str, Sequence[str | None]], numbers: Mapping[str, Float64]
    ) -> NDArray[np.bool_]:
        """(events,) which events meet it, by their columns of texts and of numbers."""
        name = self.field
        met: list[NDArray[np.bool_]] = []
        if self.reads_number:
            # NaN, where the field is missing, is neither above nor below anything.
            column = numbers[name]
            met += [column > self.above] if self.above is not None else []
            met += [column < self.below] if self.below is not None else []
        if self.reads_text:
            values = text[name]
            if self.any_of is not None:
                met.append(_among(values, self.any_of))
            if self.none_of is not None:
                met.append(~_among(values, self.none_of))
            if self.missing is not None:
                met.append(present(values) != self.missing)
        result: NDArray[np.bool_] = np.logical_and.reduce(met)
        return result


def _among(values: Sequence[str | None], wanted: Sequence[Value]) -> NDArray[np.bool_]:
    texts = {_text(each) for each in wanted}
    return _where(value in texts for value in values)


def _where(flags: Iterable[bool]) -> NDArray[np.bool_]:
    return np.fromiter(flags, dtype=np.bool_)


def _text(value: Value) -> str:
    """The value as decoding would make it of JSON."""
    return str(value).lower() if isinstance(value, bool) else str(value)
