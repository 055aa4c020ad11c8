"""What every target does, and what it may leave as it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stream_detector.config.models.kafka import KafkaConfig
from stream_detector.events import TopicPartition
from stream_detector.forwarding.message import Message
from stream_detector.forwarding.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Means:
    """What targets are made with.

    Attributes:
        kafka: the broker's section.
        section: where the target stands in the configuration, for messages.
        on_secret: told whatever no log may show.
    """

    kafka: KafkaConfig
    section: str
    on_secret: Callable[[str], None]


class Target(ABC):
    """Receiver of messages.

    Attributes:
        batch: how many messages ``deliver`` takes at most; no two of them have the same id, unless
            it writes them ``in_order``.
        concurrency: how many calls of ``deliver`` there may be at a time; one with ``in_order``.
        in_order: whether all messages come in the order of their partition, whatever their id.
        remembers: whether it has to be told of the incidents that were delivered before a start.
    """

    batch = 1
    concurrency = 1
    in_order = False
    remembers = False

    @abstractmethod
    def deliver(self, messages: Sequence[Message]) -> list[Outcome]:
        """Send messages, and tell of each what became of it.

        Returns within a deadline. A message may be one that was sent before: the receiver can tell
        by its key. Raises what is wrong with a message where it cannot be written at all.
        """

    def obstacle(self) -> str | None:
        """What would keep it from delivering, as far as can be told without sending; no secret."""
        return None

    def remember(self, message: Message) -> None:
        """Take note of a message that was delivered before, the last of its id."""
        del message

    def forget(self, sources: Sequence[TopicPartition]) -> None:
        """Partitions now belong to another worker: so does what they brought."""
        del sources

    def repeat_due(self) -> float | None:
        """By ``time.monotonic``, when something has to be sent again; None: nothing has."""
        return None

    def repeat(self) -> Outcome | None:
        """Send again what is due; None where nothing is."""
        return None

    def open_count(self) -> int:
        """Return how many incidents it is reminded of."""
        return 0

    def on_evicted(self, told: Callable[[int], None]) -> None:
        """Tell whoever counts open incidents that are forgotten for want of room."""
        del told

    @abstractmethod
    def close(self) -> None:
        """Give connections back."""
