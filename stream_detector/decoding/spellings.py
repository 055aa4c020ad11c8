"""Spellings of fields, as a configuration gives them."""

from __future__ import annotations

from stream_detector.cells import PLAIN, NumberFormat
from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import Config


def number_spellings(config: Config, plan: FieldPlan) -> dict[str, NumberFormat]:
    """Fields whose numbers are not written plainly, and how they are."""
    common = config.event.numbers
    own = {name: field.numbers for name, field in config.event.fields.items()}
    said = {name: own.get(name) or common for name in plan.numeric if name not in plan.boolean}
    spellings = {name: each.spelling() for name, each in said.items() if each is not None}
    return {name: spelling for name, spelling in spellings.items() if spelling != PLAIN}


def missing_values(config: Config) -> dict[str, frozenset[str]]:
    """Further words for missing values by field; under "" those of all others."""
    own = {
        name: frozenset(field.missing_values)
        for name, field in config.event.fields.items()
        if field.missing_values is not None
    }
    return {"": frozenset(config.event.missing_values), **own}
