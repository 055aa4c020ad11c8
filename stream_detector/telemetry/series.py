"""The numbers behind the counters and gauges, one a label set."""

from __future__ import annotations

from collections.abc import Collection

from stream_detector.telemetry.families import FAMILIES, PARTITION, SHARD, Family, Labels

MAX_LABEL_SETS = 200
"""Label sets of a family that is labelled neither by partition nor by shard."""


class Series:
    """Values of ``FAMILIES`` by label set; not thread-safe.

    State: one number a label set. Those by partition or shard are as many as are owned and go with
    ``forget``; of every other family ``MAX_LABEL_SETS`` are kept apart, further ones share the
    value ``other``.
    """

    def __init__(self) -> None:
        self._families = {family.name: family for family in FAMILIES}
        self._values: dict[str, dict[Labels, float]] = {
            family.name: dict.fromkeys(family.initial, 0.0) for family in FAMILIES
        }

    def add(self, name: str, amount: float, labels: Labels = ()) -> None:
        """Raise a counter; with 0 it begins to exist."""
        values = self._values[name]
        labels = self._bounded(name, labels)
        values[labels] = values.get(labels, 0.0) + amount

    def set(self, name: str, value: float, labels: Labels = ()) -> None:
        """Set a gauge."""
        self._values[name][self._bounded(name, labels)] = value

    def clear(self, name: str) -> None:
        """Drop every series of a family."""
        self._values[name].clear()

    def forget(self, owner: Labels, gone: Collection[Labels]) -> None:
        """Drop the series of all families by ``owner`` whose first label values are in ``gone``."""
        for family in FAMILIES:
            if family.by(owner):
                self._values[family.name] = {
                    labels: value
                    for labels, value in self._values[family.name].items()
                    if labels[: len(owner)] not in gone
                }

    def items(self) -> list[tuple[Family, list[tuple[Labels, float]]]]:
        """All families with a copy of their values."""
        return [(family, list(self._values[family.name].items())) for family in FAMILIES]

    def _bounded(self, name: str, labels: Labels) -> Labels:
        values, family = self._values[name], self._families[name]
        if labels in values or len(values) < MAX_LABEL_SETS:
            return labels
        if family.by(PARTITION) or family.by(SHARD):
            return labels
        return ("other",) * len(labels)
