"""One target's delivery: reads, hands to the senders, commits what is done. One thread runs it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from stream_detector.config.models.forward import AnyTarget
from stream_detector.connectors.kafka.reading.source import KafkaSource
from stream_detector.errors import ConnectorError, InputLostError, RefusedError
from stream_detector.events import Record, TopicPartition
from stream_detector.forwarding.message import Message, NoMessageError
from stream_detector.forwarding.outbox import Entry, Outbox, behind
from stream_detector.forwarding.reading import Reader
from stream_detector.forwarding.selection import Selection
from stream_detector.forwarding.sender import Sender
from stream_detector.forwarding.targets.base import Target
from stream_detector.log_fields import fields
from stream_detector.telemetry.forward_metrics import ForwardMetrics
from stream_detector.telemetry.health import HealthState

log = logging.getLogger(__name__)

MOST_BYTES = 32 * 2**20
"""Of records that wait for one target."""

_POLL_SECONDS = 0.1
_COMMIT_SECONDS = 0.2
_LOOK_SECONDS = 5.0
_QUIET_SECONDS = 10.0
_FAILING_SECONDS = 60.0
"""A target that takes nothing for so long makes this process not ready."""


class Worker:
    """Delivers to one target.

    State: the outbox; partitions owned, those of them that have no position yet; records whose
    schema cannot be had just now; what was committed last.
    """

    def __init__(
        self,
        target_config: AnyTarget,
        target: Target,
        reader: Reader,
        outbox: Outbox,
        sender: Sender,
        metrics: ForwardMetrics,
        health: HealthState,
        give_up_seconds: float,
    ) -> None:
        """``give_up_seconds``: how long a broker that takes no offsets is sat out."""
        self._config, self._target, self._reader = target_config, target, reader
        self._source: KafkaSource = reader.source
        self._outbox, self._sender = outbox, sender
        self._metrics, self._health = metrics, health
        self._give_up = give_up_seconds
        self._selection = Selection(target_config)
        self._owned: frozenset[TopicPartition] = frozenset()
        self._new: frozenset[TopicPartition] = frozenset()
        self._unread: deque[tuple[TopicPartition, Record]] = deque()
        self._committed: dict[TopicPartition, int] = {}
        self._filtered: dict[TopicPartition, int] = {}
        self._paused = False
        self._commit_at = self._look_at = self._quiet_until = 0.0
        self._failing_since: float | None = None

    def run(self, stopping: Callable[[], bool]) -> None:
        """Deliver until ``stopping`` says so, and commit what is done by then.

        Raises ``ConnectorError`` where the broker refuses us, or takes no offsets for too long.
        """
        over = threading.Event()
        threads = ThreadPoolExecutor(self._target.concurrency, thread_name_prefix="sender")
        senders = [
            threads.submit(self._sender.run, over.is_set) for _ in range(self._target.concurrency)
        ]
        try:
            while not stopping():
                self._turn()
                _raise_from(senders)
        finally:
            over.set()
            threads.shutdown(wait=True)  # each ends by its request's deadline
            try:
                self._commit()
            finally:
                self._reader.close()
                self._target.close()

    def _turn(self) -> None:
        self._health.loop_turned()
        if self._source.rebalance_near():
            self._commit()
        try:
            fetched = self._source.poll(_POLL_SECONDS)
        except InputLostError:
            self._skip_lost()
            fetched = []
        changed = self._follow_group()
        if self._new:
            self._begin()
        for one in fetched:
            if one.source in self._owned - changed:
                self._unread.extend((one.source, record) for record in one.records)
        self._read()
        self._regulate()
        now = time.monotonic()
        if now >= self._commit_at:
            self._commit_at = now + _COMMIT_SECONDS
            self._commit()
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            self._look()
        for error in self._source.unreadable().values():
            self._commit()
            raise error

    # --- partitions ---

    def _follow_group(self) -> frozenset[TopicPartition]:
        """Take note of a new assignment; the partitions whose records of before do not count."""
        change = self._source.take_rebalance()
        if change is None:
            return frozenset()
        self._health.set_assigned()
        gone = self._owned if change.lost else self._owned - change.assigned
        gone |= change.added & self._owned
        self._owned, self._new = change.assigned, (self._new & change.assigned) | change.added
        self._new |= gone & change.assigned
        if gone:
            self._outbox.drop(gone)
            self._target.forget(sorted(gone))
            self._unread = deque(one for one in self._unread if one[0] not in gone)
            for source in gone:
                self._committed.pop(source, None)
                self._filtered.pop(source, None)
        if not self._new:  # one that stands by has nothing to find out
            self._health.set_recovering(False)
        log.info("%s: %d partitions are this worker's", self._config.name, len(self._owned))
        return change.added | gone

    def _begin(self) -> None:
        """Find where to go on in partitions that are new, and let them come."""
        try:
            positions = self._reader.begin(self._new)
            if self._target.remembers:
                for message in self._reader.delivered(positions):
                    if self._selection.takes(message):
                        self._target.remember(message)
        except RefusedError:
            raise
        except ConnectorError as error:
            self._warn("where to go on is not known yet", error)
            return
        self._new -= positions.keys()
        for source, offset in positions.items():
            self._filtered[source] = offset  # a group that is new has its place from now on
        self._source.seek(positions)
        if self._paused:
            for source in positions:
                self._source.pause(source)
        self._health.set_recovering(False)
        self._health.broker_answered()

    def _skip_lost(self) -> None:
        try:
            self._reader.skip_lost(self._owned)
        except RefusedError:
            raise
        except ConnectorError as error:
            self._warn("where the topics begin is not known", error)

    # --- records ---

    def _read(self) -> None:
        """Hand what was read to the senders, as far as it can be read."""
        while self._unread:
            source, record = self._unread[0]
            try:
                entry = self._entry(source, record)
            except RefusedError:
                raise
            except ConnectorError as error:
                self._warn("alerts wait for their schema", error)
                return
            self._unread.popleft()
            if entry is None:
                self._filtered[source] = record.offset + 1
            else:
                self._outbox.add(entry)

    def _entry(self, source: TopicPartition, record: Record) -> Entry | None:
        """Return what is to be sent for a record; None where nothing is."""
        try:
            message: Message | None = self._reader.message(source, record)
        except NoMessageError as error:
            return Entry(source, record, None, str(error))
        if message is None:
            return None
        if self._selection.takes(message):
            return Entry(source, record, message)
        self._metrics.add("forward_filtered_total", self._config.name)
        return None

    def _regulate(self) -> None:
        """Let nothing more come while much waits."""
        full = bool(self._unread) or self._outbox.full(0.5 if self._paused else 1.0)
        if full == self._paused:
            return
        self._paused = full
        for source in self._owned - self._new:
            (self._source.pause if full else self._source.resume)(source)

    # --- offsets ---

    def _done(self) -> dict[TopicPartition, int]:
        """Return up to where each partition is done."""
        done = self._outbox.done_to()
        idle = self._outbox.idle()
        held = {source for source, _ in self._unread}
        found: dict[TopicPartition, int] = {}
        for source in self._owned - self._new:
            known = [done[source]] if source in done else []
            if source in idle or source not in self._outbox.known():
                known.append(self._filtered.get(source, -1))
                if source not in held:
                    known.append(self._source.position(source))  # past the ends of transactions
            found[source] = max(known, default=-1)
        return {source: offset for source, offset in found.items() if offset >= 0}

    def _commit(self) -> None:
        done = {
            source: offset
            for source, offset in self._done().items()
            if offset > self._committed.get(source, -1)
        }
        if not done:
            return
        try:
            if self._source.commit(done):
                self._committed.update(done)
                self._health.broker_answered()
            self._failing_since = None
        except RefusedError:
            raise
        except ConnectorError as error:
            now = time.monotonic()
            self._failing_since = self._failing_since or now
            if now - self._failing_since > self._give_up:
                raise
            self._warn("offsets are not committed", error)

    # --- reports ---

    def _look(self) -> None:
        """Ask how far behind this is, and tell."""
        name, metrics = self._config.name, self._metrics
        try:
            ends = self._source.ask_ends(self._owned)
            self._health.broker_answered()
            metrics.set("forward_lag_records", behind(self._committed, ends), name)
        except RefusedError:
            raise
        except ConnectorError as error:
            self._warn("the broker does not say where the topics end", error)
        metrics.set("forward_waiting", len(self._outbox), name)
        oldest = self._outbox.oldest_ms()
        age = 0.0 if oldest is None else max(0.0, time.time() - oldest / 1000)
        metrics.set("forward_oldest_seconds", age, name)
        metrics.set("forward_open_incidents", self._target.open_count(), name)
        failing = self._outbox.failing()
        metrics.set("forward_failing_seconds", failing[0] if failing else 0.0, name)
        blocked = [f"the topic {topic} does not exist" for topic in self._source.missing_topics()]
        if failing is not None and failing[0] > _FAILING_SECONDS:
            blocked.append(f"nothing has got through for {failing[0]:.0f} s")
        self._health.set_blocked(blocked)

    def _warn(self, what: str, error: ConnectorError) -> None:
        """At most a line in ten seconds."""
        if (now := time.monotonic()) >= self._quiet_until:
            self._quiet_until = now + _QUIET_SECONDS
            how = fields("forward-waits", stage="forward", target=self._config.name)
            log.warning("%s: %s", what, error, extra=how)


def _raise_from(futures: list[Future[None]]) -> None:
    for future in futures:
        if future.done():
            future.result()
