"""Questions to the broker before anything runs: is it there, do the topics exist, may we?"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.client.admin import Admin
from stream_detector.connectors.kafka.client.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
)
from stream_detector.connectors.kafka.connection.addresses import explained
from stream_detector.connectors.kafka.connection.probe import probe
from stream_detector.connectors.kafka.connection.settings import clear_cause, connection_settings
from stream_detector.errors import ConnectorError, InputMissingError, RefusedError

log = logging.getLogger(__name__)

Rights = Mapping[str, Collection[str]]
"""Topic: what must be allowed on it, in Kafka's words (``READ``, ``WRITE``)."""

_NAMED = 5
"""So many partitions are named; the rest is counted."""

_VERBS = {"READ": "read", "WRITE": "write to"}


@contextmanager
def admin_client(kafka: KafkaConfig) -> Iterator[Admin]:
    """An admin client, closed afterwards.

    Raises ``RefusedError`` where the broker refuses us, ``ConnectorError`` where it is not there,
    both with the cause: the probe goes first, since the client itself does not tell.
    """
    probe(kafka)
    timeout_ms = max(1, int(kafka.request_timeout * 1000))
    with clear_cause("reach the broker", kafka):
        client = Admin(
            {
                "client_id": "stream-detector-admin",
                "request_timeout_ms": timeout_ms,
                "bootstrap_timeout_ms": timeout_ms,
                **connection_settings(kafka),
            }
        )
    try:
        with explained(client.metadata, kafka):
            yield client
    finally:
        client.close()


def rights_of_daemon(kafka: KafkaConfig) -> Rights:
    """Return the daemon's operations on its topics; the journal, which it may make, is not here."""
    return {
        **dict.fromkeys(kafka.input_topics, ("READ",)),
        kafka.alerts: ("WRITE",),
        kafka.dead_letters: ("WRITE",),
    }


def partition_counts(
    kafka: KafkaConfig, topics: Collection[str], rights: Rights | None = None
) -> dict[str, int]:
    """Partitions of each topic that exists. Never creates one: it asks by the admin protocol.

    Args:
        kafka: the broker.
        topics: those to ask for.
        rights: checked too where given, as far as the broker tells (from version 2.3 on).

    Raises:
        RefusedError: a topic may not be seen (whether it exists is not told then), or ``rights``
            are missing; the message names every one.
        ConnectorError: the broker cannot be reached.
    """
    described = _describe(kafka, topics)
    _check_rights(kafka, described, rights or {})
    return _counts(described)


def _describe(kafka: KafkaConfig, topics: Collection[str]) -> list[dict[str, Any]]:
    with admin_client(kafka) as client, clear_cause("ask for the topics", kafka):
        return client.describe_topics(topics)


def _counts(described: Collection[Mapping[str, Any]]) -> dict[str, int]:
    # Without a leader yet a topic is being made: it counts once it is there.
    return {e["name"]: len(e["partitions"]) for e in described if e["error_code"] == 0}


def _without_leader(described: Collection[Mapping[str, Any]]) -> list[str]:
    """Partitions that nobody serves just now, by name."""
    return [
        f"{entry['name']}-{one['partition_index']}"
        for entry in sorted(described, key=lambda entry: str(entry["name"]))
        if entry["error_code"] == 0
        for one in sorted(entry["partitions"], key=lambda one: int(one["partition_index"]))
        if one.get("leader_id", 0) < 0
    ]


def topic_ids(kafka: KafkaConfig, topics: Collection[str]) -> dict[str, str]:
    """The broker's own id of each topic that exists: another one after a topic was made anew.

    Empty for brokers that give none (before 2.8). Raises ``ConnectorError``.
    """
    described = _describe(kafka, topics)
    found = {e["name"]: e.get("topic_id") for e in described if e["error_code"] == 0}
    return {name: str(given) for name, given in found.items() if given and UUID(str(given)).int}


def _check_rights(kafka: KafkaConfig, described: list[dict[str, Any]], rights: Rights) -> None:
    missing = []
    for entry in described:
        name = entry["name"]
        wanted = rights.get(name, ())
        if entry["error_code"] == TopicAuthorizationFailedError.errno:
            verbs = [_VERBS[right] for right in wanted] or ["see"]
            missing.append(f"{' and '.join(verbs)} the topic {name}")
        # Of a topic that is missing the rights are told all the same; old brokers tell none.
        elif allowed := entry.get("authorized_operations"):
            verbs = [_VERBS[right] for right in wanted if right not in allowed]
            if verbs:
                missing.append(f"{' and '.join(verbs)} the topic {name}")
    if missing:
        raise RefusedError(_not_authorised(kafka, missing))


def _check_group(kafka: KafkaConfig) -> None:
    """Raise ``RefusedError`` where the group may not be used, as far as the broker tells."""
    with admin_client(kafka) as client, clear_cause(f"ask for the group {kafka.group}", kafka):
        try:
            described = client.describe_group(kafka.group)
        except GroupAuthorizationFailedError:
            described = {"authorized_operations": ["nothing"]}
        except KafkaError as error:
            # No coordinator yet, on a new cluster: the consumer waits for it, and is told as well.
            log.debug("the broker does not tell the rights on the group: %r", error)
            return
    allowed = described.get("authorized_operations")
    if allowed and "READ" not in allowed:
        raise RefusedError(_not_authorised(kafka, [f"use the group {kafka.group} (READ)"]))


def _not_authorised(kafka: KafkaConfig, actions: list[str]) -> str:
    user = f"the user {kafka.security.username}" if kafka.security.username else "this client"
    return f"{user} is not authorised to {', to '.join(actions)} at {kafka.bootstrap_servers}"


def wait_for_topics(
    kafka: KafkaConfig,
    *,
    waiting: Callable[[str], None],
    stopping: Callable[[], bool],
    poll_seconds: float = 2.0,
) -> dict[str, int]:
    """Wait until the broker answers, every topic exists and each of its partitions has a leader.

    Args:
        kafka: broker, topics and ``wait_for_input``, the limit.
        waiting: called with what is missing, each time that changes; for log and metric.
        stopping: asked between two attempts; ends the waiting.
        poll_seconds: pause between two attempts.

    Returns:
        Partitions of each topic; empty where ``stopping`` said so.

    Raises:
        InputMissingError: the limit has passed; the message names what is missing.
        RefusedError: at once, where waiting cannot help (password, certificates, rights).
        ConfigurationError: at once, where a file of ``kafka.security`` cannot be used.
    """
    rights = rights_of_daemon(kafka)
    deadline = time.monotonic() + kafka.wait_for_input
    told = ""
    while not stopping():
        try:
            described = _describe(kafka, list(rights))
            _check_rights(kafka, described, rights)
            counts = _counts(described)
            if not (reason := _what_is_missing(rights, counts, _without_leader(described))):
                _check_group(kafka)
                return counts
        except RefusedError:
            raise
        except ConnectorError as error:
            reason = str(error)
        if reason != told:
            told = reason
            waiting(reason)
        if time.monotonic() >= deadline:
            raise InputMissingError(f"gave up after {kafka.wait_for_input:g} s: {reason}")
        _sleep_unless(stopping, min(poll_seconds, max(deadline - time.monotonic(), 0.05)))
    return {}


def _what_is_missing(
    wanted: Collection[str], counts: Mapping[str, int], headless: list[str]
) -> str:
    """Say what there is to wait for; nothing where all is there."""
    if missing := [topic for topic in wanted if topic not in counts]:
        return f"missing topics: {', '.join(missing)}"
    if headless:
        more = f" and {len(headless) - _NAMED} more" if len(headless) > _NAMED else ""
        return (
            f"no leader for {', '.join(headless[:_NAMED])}{more}: every broker that holds it is "
            "away. Bring one back; see docs/runbook.md#a-partition-without-a-leader"
        )
    return ""


def _sleep_unless(stopping: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not stopping() and (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.1))
