"""What explains an incident: its attributes, its reasons, and the one condition that covers it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from stream_detector.explanation import short_number
from stream_detector.incidents.chance import evidence
from stream_detector.incidents.tally import Attribute, Tally

RISK = 0.01
"""Risk that is taken of calling something by chance what explains an incident."""

BETTER = math.log(10)
"""What explains an incident better by so many nats than its scope is what it is about."""

_TOLD = 5
_COVERS, _LEAST_LIFT = 0.5, 2.0


def ranked(tally: Tally, scope: tuple[str | None, str | None]) -> list[Attribute]:
    """The attributes, what explains most first; its scope, unless another is clearly better."""
    each = tally.attributes()
    mine = [one for one in each if (one.field, one.value) == scope]
    if mine and each[0].evidence < BETTER + mine[0].evidence:
        each.remove(mine[0])
        each.insert(0, mine[0])
    return each


def told_attributes(each: Sequence[Attribute]) -> list[dict[str, Any]]:
    """The first of ranked attributes, as messages have them."""
    return [
        {
            "field": one.field,
            "value": one.value,
            "share": short_number(one.share),
            "usual_share": short_number(one.usual),
            "lift": short_number(one.share / one.usual),
        }
        for one in each[:_TOLD]
    ]


def told_reasons(reasons: dict[str, int], signals: int) -> list[dict[str, Any]]:
    """The features that signals are reported under most often, with their shares."""
    ranked = sorted(reasons.items(), key=lambda one: -one[1])
    return [
        {"feature": feature, "share": short_number(count / max(signals, 1))}
        for feature, count in ranked[:_TOLD]
        if feature
    ]


def condition(
    each: Sequence[Attribute],
    tally: Tally,
    reasons: dict[str, int],
    usual_reasons: dict[str, int],
) -> dict[str, Any] | None:
    """The one condition that covers most of an incident's signals and is beyond chance.

    ``each``: its attributes, ranked.

    A value of a field, or else the feature that they are reported under; None where none covers
    half of at least two signals, is twice as frequent as usual, and beyond chance for as many
    values as were looked at.
    """
    signals = tally.signals
    if signals < 2:  # noqa: PLR2004 - one has nothing in common
        return None
    fit = [one for one in each if explains(one, tally.distinct)]
    if fit:
        best = max(fit, key=lambda one: one.share)  # of equal ones the first
        return {"field": best.field, "value": best.value, "covers": short_number(best.share)}
    total = sum(usual_reasons.values())
    for feature, count in sorted(reasons.items(), key=lambda one: -one[1])[:1]:
        usual = (usual_reasons.get(feature, 0) + 1) / (total + 2)
        found = Attribute(
            "", feature, count / signals, usual, evidence(count, signals, min(usual, 1.0))
        )
        if feature and explains(found, len(reasons)):
            return {"feature": feature, "covers": short_number(found.share)}
    return None


def explains(one: Attribute, looked_at: int) -> bool:
    """Tell whether an attribute covers half of an incident and is beyond chance."""
    return (
        one.share >= _COVERS
        and one.share >= _LEAST_LIFT * one.usual
        and one.evidence > math.log(max(looked_at, 1) / RISK)
    )
