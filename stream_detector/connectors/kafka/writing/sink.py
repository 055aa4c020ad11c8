"""Messages to Kafka without transactions, at least once.

``AtLeastOnceOutput`` is for brokers without transactions: messages first, offsets after they are
safe. A crash between the two writes the messages again; their ids are the same, so a reader can
drop the doubles.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.base import Commit
from stream_detector.connectors.kafka.client.producer import Producer
from stream_detector.connectors.kafka.connection.settings import clear_cause, producer_settings
from stream_detector.connectors.kafka.writing.refusals import (
    Adaptation,
    Kind,
    OnCut,
    Sent,
    confirm,
    hand_over,
    kind_of,
    permanent,
    say_what_was_left_out,
    worst,
)
from stream_detector.errors import CommitDoubtError, CommitRefusedError, OutputError
from stream_detector.events import TopicPartition
from stream_detector.messages import Outgoing


class NotWrittenError(OutputError):
    """Messages were not written; ``failed`` says which, with the root of each failure."""

    def __init__(self, text: str, failed: list[tuple[Sent, BaseException]]) -> None:
        super().__init__(text)
        self.failed = failed


class KafkaSink:
    """Writes messages. State: the producer, and what was not confirmed yet."""

    def __init__(
        self,
        kafka: KafkaConfig,
        adaptation: Adaptation | None = None,
        on_cut: OnCut | None = None,
    ) -> None:
        """Connect. Raises ``ConnectorError`` with the cause."""
        self._kafka, self._on_cut = kafka, on_cut
        self._adaptation = adaptation or Adaptation()
        with clear_cause("connect a producer", kafka):
            self._producer = Producer(producer_settings(kafka))
        self._sent: list[Sent] = []

    def send(self, topic: str, messages: Sequence[Outgoing]) -> None:
        """Hand messages to the client; ``flush`` tells whether they arrived.

        Raises ``OutputError`` where the client refuses at once.
        """
        for message in messages:
            one = hand_over(self._producer, topic, message, self._adaptation)
            self._sent.append(one)
            if one.error is not None:
                self._raise(self._take())

    def flush(self) -> None:
        """Wait until everything sent is confirmed. Raises ``OutputError`` where it is not."""
        sent = self._take()
        deadline = 3 * self._kafka.request_timeout
        # The client's own flush says nothing of a batch that timed out, nor does it return before
        # its time is up where a batch was given up for another one.
        if not confirm(sent, time.monotonic() + deadline):
            if worst(sent):
                self._raise(sent)
            raise OutputError(f"messages were not confirmed in {deadline:g} s")
        say_what_was_left_out(sent, self._on_cut)

    def _take(self) -> list[Sent]:
        sent, self._sent = self._sent, []
        return sent

    def _raise(self, sent: list[Sent]) -> NoReturn:
        failed = worst(sent)
        if not failed:
            raise OutputError("messages were not confirmed")
        one, error = failed[0]
        if kind_of(error) is Kind.RIGHT and (final := permanent(one, error, self._kafka)):
            raise final from error
        raise NotWrittenError(f"a message was not written to {one.topic}: {error!r}", failed)

    def close(self) -> None:
        """Give up what is under way and disconnect."""
        self._producer.close()


class AtLeastOnceOutput:
    """Writes the commits of one shard. State: the sink, None before ``open``."""

    atomic = False

    def __init__(
        self,
        kafka: KafkaConfig,
        commit_offsets: Callable[[Mapping[TopicPartition, int]], bool],
        on_cut: OnCut | None = None,
    ) -> None:
        """Take the parts.

        Args:
            kafka: the section.
            commit_offsets: the consumer's; False where the group has moved on.
            on_cut: told how many messages were written without a part.
        """
        self._kafka, self._on_cut = kafka, on_cut
        self._commit_offsets = commit_offsets
        self._sink: KafkaSink | None = None
        self._adaptation = Adaptation()

    def open(self) -> None:
        """Connect anew. Raises ``ConnectorError`` with the cause."""
        self.close()
        self._sink = KafkaSink(self._kafka, self._adaptation, self._on_cut)

    def commit(self, commit: Commit, membership: Any) -> int:
        """Write the messages, then the offsets; see ``Output.commit``. There is no journal."""
        del membership  # the consumer's own
        if self._sink is None:
            raise CommitDoubtError("the producer was given up")
        try:
            for topic, messages in commit.messages:
                self._sink.send(topic, messages)
            self._sink.flush()
        except NotWrittenError as error:
            self.close()
            self._adapt(error)
            raise CommitDoubtError(str(error)) from error
        except OutputError as error:
            self.close()
            raise CommitDoubtError(str(error)) from error
        if not self._commit_offsets(commit.offsets):
            raise CommitRefusedError("the group has moved on")
        return -1

    def _adapt(self, failure: NotWrittenError) -> None:
        """Learn for the next attempt. Raises where no attempt would help."""
        for one, error in failure.failed:
            if not self._adaptation.learn(one, error):
                final = permanent(one, error, self._kafka)
                if final is not None:
                    raise final from error

    def close(self) -> None:
        """Disconnect."""
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.close()
