"""What has shown something: where in the input an alert comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stream_detector.alerts import iso_time
from stream_detector.events import TopicPartition

ACTS = "@acts"
"""Stands for the control topic, which every shard reads; no topic has such a name."""


@dataclass(frozen=True, slots=True)
class Cause:
    """What showed a finding: an event, a label, an act, or a tick, which is of no topic.

    Attributes:
        source: partition of the event or label; of a tick no topic, of an act ``ACTS``, and the
            shard.
        offset: of it; of a tick its time in milliseconds since 1970.
    """

    source: TopicPartition
    offset: int

    def told(self) -> dict[str, Any]:
        """What the receipt says of it."""
        if self.source.topic == ACTS:
            return {"act": self.offset, "shard": self.source.partition}
        if self.source.topic:
            partition, offset = self.source.partition, self.offset
            return {"topic": self.source.topic, "partition": partition, "offset": offset}
        return {"tick": iso_time(self.offset), "shard": self.source.partition}
