"""Looks, before anything runs, for what at the broker would stop or stall the daemon.

It asks and changes nothing: no topic is made, no group joined, no transaction begun. What could not
be looked at is a finding as well.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from stream_detector.config.models.config import Config, KafkaConfig
from stream_detector.connectors.kafka.connection.admin import admin_client
from stream_detector.connectors.kafka.inspection.facts import Facts
from stream_detector.connectors.kafka.inspection.findings import Finding
from stream_detector.connectors.kafka.inspection.groups import judge_group
from stream_detector.connectors.kafka.inspection.inquiry import Inquiry
from stream_detector.connectors.kafka.inspection.limits import LIMITS_ON_TIMEOUTS, judge_limits
from stream_detector.connectors.kafka.inspection.policies import judge_policies
from stream_detector.connectors.kafka.inspection.questions import (
    ask_all,
    ask_brokers,
    wanted_topics,
)
from stream_detector.connectors.kafka.inspection.rights import judge_quotas, judge_rights
from stream_detector.connectors.kafka.inspection.structure import judge_structure
from stream_detector.errors import ConfigurationError, ConnectorError

_ORDER = {"error": 0, "warning": 1, "not checked": 2}
_DEADLINES = 4
"""Times ``request_timeout`` that an inspection may take in all."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """Result of an inspection: the findings, worst first, and the broker's facts."""

    findings: tuple[Finding, ...]
    facts: Facts


def inspect(config: Config, kafka: KafkaConfig, snapshot_topic: str | None) -> Inspection:
    """Ask everything and judge it, within four times ``kafka.request_timeout``.

    Raises ``ConfigurationError``, ``RefusedError`` or ``ConnectorError`` where no broker lets us
    in: there is nothing to ask then.
    """
    deadline = time.monotonic() + _DEADLINES * kafka.request_timeout
    with admin_client(kafka) as client:
        facts = ask_all(client, config, kafka, wanted_topics(kafka, snapshot_topic), deadline)
    return Inspection(judge(config, kafka, facts), facts)


def told_limits(kafka: KafkaConfig) -> str:
    """The brokers' limits on our timeouts, in words; "" where they are not told in time."""
    deadline = time.monotonic() + kafka.request_timeout
    try:
        with admin_client(kafka) as client:
            told = ask_brokers(client, Inquiry(deadline, kafka.request_timeout), kafka, deadline)
    except (ConfigurationError, ConnectorError):
        return ""
    limits = {
        f"broker {broker.number}: {name}={limit}"
        for broker in told
        for name in LIMITS_ON_TIMEOUTS
        if (limit := broker.limit(name)) is not None
    }
    return f". What the brokers allow: {', '.join(sorted(limits))}" if limits else ""


def judge(config: Config, kafka: KafkaConfig, facts: Facts) -> tuple[Finding, ...]:
    """Every finding that the facts give, each once, worst first."""
    found: Mapping[Finding, None] = dict.fromkeys(
        (
            *judge_structure(config, kafka, facts),
            *judge_rights(kafka, facts),
            *judge_limits(config, kafka, facts),
            *judge_quotas(kafka, facts),
            *judge_policies(config, kafka, facts),
            *judge_group(config, kafka, facts),
            *facts.unanswered,
        )
    )
    return tuple(sorted(found, key=lambda finding: _ORDER[finding.level]))
