"""A shard's commits as Kafka transactions: alerts, dead letters, journal and offsets, or nothing.

kafka-python 3.0.12 can lose a transaction and say OK, and wait for ever on a commit. Hence, in this
order: begin, send, wait for every future, offsets with the membership taken at
the poll, commit, each under a deadline; and a transaction that took longer than half its timeout is
in doubt whatever the client says (the broker may have aborted it and the client begun another).
tests/test_client_contract.py shows each of these on the bare client.
"""

from __future__ import annotations

import time
from typing import Any, NoReturn

from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.base import Commit
from stream_detector.connectors.kafka.client.errors import (
    SEND_ERRORS,
    AuthorizationError,
    KafkaError,
    KafkaTimeoutError,
)
from stream_detector.connectors.kafka.client.producer import Producer
from stream_detector.connectors.kafka.connection.addresses import explained
from stream_detector.connectors.kafka.connection.admin import partition_counts
from stream_detector.connectors.kafka.connection.settings import (
    clear_cause,
    refusal,
    transactional_settings,
)
from stream_detector.connectors.kafka.writing.refusals import (
    Adaptation,
    Kind,
    OnCut,
    Sent,
    confirm,
    hand_over,
    kind_of,
    permanent,
    root_of,
    say_what_was_left_out,
    worst,
)
from stream_detector.errors import (
    CommitDoubtError,
    CommitRefusedError,
    ConnectorError,
    OutputError,
    RefusedError,
)
from stream_detector.failpoints import failpoint

_MOST_ADAPTATIONS = 40
"""A size is approached in steps of a fifth: from 1 MiB down to 100 bytes."""


class _NotWrittenError(Exception):
    """Messages failed; nothing of the transaction is committed."""

    def __init__(self, failed: list[tuple[Sent, BaseException]]) -> None:
        super().__init__(failed)
        self.failed = failed


class TransactionalOutput:
    """Writes the commits of one shard under the shard's own transactional id.

    State: the producer; None before ``open`` and after a doubt.
    """

    atomic = True

    def __init__(self, kafka: KafkaConfig, shard: int, on_cut: OnCut | None = None) -> None:
        """``on_cut``: told how many messages were written without a part."""
        self._kafka, self._on_cut = kafka, on_cut
        self._shard = shard
        self._producer: Producer | None = None
        self._adaptation = Adaptation()

    def open(self) -> None:
        """A new producer; it fences the last one and ends its transaction, whoever has it.

        Raises ``ConnectorError``, at once ``RefusedError`` where the right is missing.
        """
        self.close()
        name = f"{self._kafka.group}-shard-{self._shard}"
        with clear_cause(f"begin transactions as {name}", self._kafka):
            producer = Producer(transactional_settings(self._kafka, self._shard))
        self._producer = producer  # closed at the next opening even where this one fails
        with (
            explained(producer.metadata, self._kafka),
            clear_cause(f"begin transactions as {name}", self._kafka),
        ):
            try:
                producer.init_transactions()  # heeds max_block_ms
            except AuthorizationError as error:
                raise RefusedError(f"not authorised for the transactional id {name}") from error

    def commit(self, commit: Commit, membership: Any) -> int:
        """Write ``commit`` in one transaction; see ``Output.commit``.

        A message that its topic refuses is written in a smaller form, if it has one.
        ``membership`` is ``ConsumerGroupMetadata`` as of the last poll.
        """
        for _ in range(_MOST_ADAPTATIONS):
            try:
                return self._attempt(commit, membership)
            except _NotWrittenError as error:
                self._adapt(error.failed)
        raise CommitDoubtError("a transaction was not written in any form")  # never so far

    def _adapt(self, failed: list[tuple[Sent, BaseException]]) -> None:
        """Learn from what was refused. Raises where there is nothing to be learnt from it."""
        for one, error in failed:
            if self._adaptation.learn(one, error):
                continue
            final = permanent(one, error, self._kafka)
            if final is not None:
                raise final from error
            self.close()
            self._check_topics(error)
            raise CommitDoubtError(f"a transaction ended in doubt: {error!r}") from error

    def _attempt(self, commit: Commit, membership: Any) -> int:
        producer = self._producer
        if producer is None:
            raise CommitDoubtError("the producer was given up")
        started = time.monotonic()
        allowed = self._kafka.transaction_timeout / 2
        deadline = started + allowed
        try:
            end = self._transact(producer, commit, membership, deadline)
        except _NotWrittenError:
            self._abort(producer, deadline)
            raise
        except SEND_ERRORS as error:
            self._judge(error, producer, deadline)
        took = time.monotonic() - started
        if took > allowed:
            self.close()
            raise CommitDoubtError(
                f"a transaction took {took:.1f} s of the {2 * allowed:g} s after which the broker "
                "aborts it"
            )
        return end

    def _judge(self, error: Exception, producer: Producer, deadline: float) -> NoReturn:
        """Raise what the transaction itself failed with, rather than one of its messages."""
        root = root_of(error)
        kind = kind_of(root)
        if kind is Kind.MOVED_ON:
            self._abort(producer, deadline)
            raise CommitRefusedError(f"the group has moved on: {root!r}") from error
        if kind is Kind.RIGHT:
            refused = refusal(root, "write", self._kafka)
            raise (refused or RefusedError(f"not authorised: {root!r}")) from error
        self.close()
        self._check_topics(error)
        raise CommitDoubtError(f"a transaction ended in doubt: {root!r}") from error

    def _check_topics(self, error: BaseException) -> None:
        """Raise ``OutputError`` where a topic that is written to has been deleted.

        The client does not tell: it looks for the topic until the time is up, and the journal
        could not be asked for the outcome either.
        """
        kafka = self._kafka
        wanted = (kafka.journal_topic, *kafka.output_topics.values())
        try:
            held = partition_counts(kafka, wanted)
        except RefusedError:
            raise
        except ConnectorError:
            return  # the broker is away: that is another matter
        if missing := [topic for topic in wanted if topic not in held]:
            raise OutputError(
                f"the topic {', '.join(missing)} does not exist any more: it was deleted while it "
                "was written to. Nothing of this commit is written; see "
                "docs/runbook.md#an-output-topic-is-gone"
            ) from error

    def _transact(
        self, producer: Producer, commit: Commit, membership: Any, deadline: float
    ) -> int:
        producer.begin_transaction()
        sent = self._send(producer, commit)
        # A batch that timed out fails its future alone: neither flush nor commit says so. (And
        # flush has no deadline: its timeout is for each batch.)
        if not confirm(sent, deadline):
            if failed := worst(sent):
                raise _NotWrittenError(failed)
            raise KafkaTimeoutError("the messages were not confirmed in time")
        failpoint("after_flush")
        producer.send_offsets(commit.offsets, membership, deadline)
        failpoint("after_offsets")
        producer.commit_transaction(deadline)
        say_what_was_left_out(sent, self._on_cut)
        return int(sent[-1].future.value.offset) + 1

    def _send(self, producer: Producer, commit: Commit) -> list[Sent]:
        """Everything up to the first one that the client does not take; the journal's at last."""
        sent: list[Sent] = []
        half = sum(len(messages) for _, messages in commit.messages) // 2
        for topic, messages in commit.messages:
            for message in messages:
                if len(sent) == half:
                    failpoint("mid_produce")
                sent.append(hand_over(producer, topic, message, self._adaptation))
                if sent[-1].error is not None:
                    return sent
        journal = Sent(self._kafka.journal_topic, None)
        sent.append(journal)
        try:
            journal.future = producer.send(journal.topic, commit.journal, partition=self._shard)
        except SEND_ERRORS as error:
            journal.error = error
        return sent

    def _abort(self, producer: Producer, deadline: float) -> None:
        """End a refused transaction cleanly; where that fails, ``open`` does it."""
        try:
            producer.abort_transaction(deadline)
        except KafkaError as error:
            self.close()
            raise CommitDoubtError(f"a refused transaction did not end: {error!r}") from error

    def close(self) -> None:
        """Disconnect; what is under way is left to the broker and to the next ``open``."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close()
