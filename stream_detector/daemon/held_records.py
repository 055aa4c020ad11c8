"""Records that wait for their schema: in their order, as long as the configuration lets them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from stream_detector.config.models.config import RegistryConfig
from stream_detector.errors import ConnectorError
from stream_detector.events import Record, TopicPartition

_ASKED_SECONDS = 10.0
"""So long an answer may take before people are told: a new schema is there in a moment."""


class Wait(NamedTuple):
    """What a partition waits for: the record's offset, the key of its schema, and why.

    ``why`` is empty where it has only just been asked for.
    """

    source: TopicPartition
    offset: int
    key: str
    why: str


class HeldRecords:
    """Holds back records of partitions.

    State: they, of each partition as many as were fetched before it was paused; since when each
    schema, and each partition at which record, is waited for; since when there has been no answer.
    """

    def __init__(self, config: RegistryConfig | None) -> None:
        self._config = config
        self._records: dict[TopicPartition, list[Record]] = {}
        self._waiting: dict[str, float] = {}
        self._silent_since: float | None = None
        self._since: dict[TopicPartition, tuple[int, float]] = {}

    def add(self, source: TopicPartition, records: Sequence[Record]) -> None:
        """Hold back further records of a partition."""
        self._records.setdefault(source, []).extend(records)

    def take(self, source: TopicPartition) -> Sequence[Record]:
        """Give back all that is held of a partition."""
        return self._records.pop(source)

    def count(self, source: TopicPartition) -> int:
        """Return the number of records held of a partition."""
        held = self._records.get(source)
        return len(held) if held is not None else 0

    def waited(self, source: TopicPartition, now: float) -> float:
        """Return for how many seconds a partition has waited; 0 where nothing of it is held."""
        return now - self._since.get(source, (0, now))[1] if source in self._records else 0.0

    def sources(self) -> list[TopicPartition]:
        """Return the partitions that wait."""
        return sorted(self._records)

    def asked_long(self, key: str, now: float) -> bool:
        """Tell whether a schema was asked for so long ago that an answer should have come."""
        return now - self._waiting.get(key, now) > _ASKED_SECONDS

    def answered(self, key: str) -> None:
        """Note the answer for a schema: where it was waited for, the next wait begins anew.

        An answer from before, for a schema that is known to be missing, says nothing.
        """
        if key in self._waiting:
            self._waiting.clear()
            self._silent_since = None

    def too_long(self, wait: Wait, now: float, *, asked: bool) -> bool:
        """Tell whether a record has waited long enough to be refused.

        Where no registry answers at all, what comes later does not wait as long once more; what has
        only just been ``asked`` for does.

        Raises ``ConnectorError`` where the configuration says to stop then.
        """
        if self._config is None:
            return True
        if self._since.get(wait.source, (-1, now))[0] != wait.offset:
            self._since[wait.source] = (wait.offset, now)
        since = self._waiting.setdefault(wait.key, now)
        if not asked:
            since = self._silent_since = min(self._silent_since or since, since)
        if now - since < self._config.give_up_after:
            return False
        del self._waiting[wait.key]
        if self._config.unavailable == "stop":
            raise ConnectorError(
                f"{wait.source}, offset {wait.offset}: its schema {wait.key} could not be had for "
                f"{self._config.give_up_after:g} s: {wait.why}; "
                "see docs/runbook.md#a-schema-cannot-be-had"
            )
        return True
