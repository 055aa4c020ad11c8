"""Errors that no further attempt would change, in words that say which setting is meant."""

from __future__ import annotations

import re

from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.client.errors import (
    FencedInstanceIdError,
    InconsistentGroupProtocolError,
    InvalidSessionTimeoutError,
    InvalidTransactionTimeoutError,
    KafkaError,
)
from stream_detector.errors import RefusedError

_RUNBOOK = "docs/runbook.md"

SESSION_TIMEOUT_MS = 10_000
"""Unless ``kafka.consumer`` says otherwise."""


def refused_as_fenced(kafka: KafkaConfig) -> RefusedError:
    """Return the error to raise where another worker has this one's instance id."""
    return RefusedError(f"{permanent(FencedInstanceIdError(), kafka)}")


def _is(error: BaseException, kind: type[KafkaError]) -> bool:
    """Tell whether an error is, or wraps, one of a kind: the client names it in another's text."""
    return isinstance(error, kind) or kind.__name__ in str(error)


def is_limit(error: BaseException) -> bool:
    """Tell whether one of our timeouts is outside of what the broker allows."""
    return _is(error, InvalidSessionTimeoutError) or _is(error, InvalidTransactionTimeoutError)


def permanent(error: BaseException, kafka: KafkaConfig) -> str | None:
    """Words for an error that no further attempt would change; None for all others."""
    if _is(error, InvalidSessionTimeoutError):
        given = kafka.consumer.get("session_timeout_ms", SESSION_TIMEOUT_MS)
        return (
            f"the broker refuses kafka.consumer.session_timeout_ms: {given}. It must lie between "
            "the broker's group.min.session.timeout.ms (default 6000) and "
            "group.max.session.timeout.ms (default 1800000); see "
            f"{_RUNBOOK}#a-limit-of-the-broker"
        )
    if _is(error, InvalidTransactionTimeoutError):
        return (
            f"the broker refuses kafka.transaction_timeout: {kafka.transaction_timeout:g} s. It is "
            "above the broker's transaction.max.timeout.ms (default 900000); lower the one or "
            f"raise the other; see {_RUNBOOK}#a-limit-of-the-broker"
        )
    if _is(error, FencedInstanceIdError):
        return (
            f"fenced by another worker with instance id {kafka.instance_id}. Give each worker of "
            f"the group {kafka.group} its own kafka.instance_id; see "
            f"{_RUNBOOK}#two-workers-with-one-instance-id"
        )
    if _is(error, InconsistentGroupProtocolError):
        return (
            f"the group {kafka.group} is in use by another application (of whatever "
            "group.protocol), or by workers with another processing.shards. Name a kafka.group of "
            "its own, or stop "
            f"the other one; see {_RUNBOOK}#a-group-that-is-somebody-elses"
        )
    return None


_UNRESOLVED = re.compile(r"DNS lookup failed for (\S+:\d+)")


def advertised(messages: list[str], kafka: KafkaConfig) -> str:
    """Words where a name does not resolve that a broker gave, not the configuration."""
    given = kafka.bootstrap_servers.replace(" ", "").split(",")
    found = (match[1] for text in messages if (match := _UNRESOLVED.search(text)))
    hosts = sorted({host for host in found if host not in given})
    if not hosts:
        return ""
    return (
        f". The broker gave the address {', '.join(hosts)}, which does not resolve here: correct "
        f"advertised.listeners of the broker, or the name; see {_RUNBOOK}"
        "#an-address-that-the-broker-gives"
    )
