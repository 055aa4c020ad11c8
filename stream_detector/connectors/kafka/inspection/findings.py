"""Findings of an inspection: how bad, in words that lead on, and where the runbook has more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

GROUP = "docs/runbook.md#the-group-is-somebody-elses"
LEADERS = "docs/runbook.md#a-partition-without-a-leader"
LIMITS = "docs/runbook.md#limits-of-the-broker"
LISTENERS = "docs/runbook.md#advertised-listeners"
OFFSETS = "docs/runbook.md#offsets-that-do-not-fit"
OPEN_TRANSACTION = "docs/runbook.md#an-open-transaction-on-the-input"
POLICIES = "docs/runbook.md#cleanup-policies-and-retention"
QUOTAS = "docs/runbook.md#quotas"
REPLICAS = "docs/runbook.md#replicas"
RIGHTS = "docs/runbook.md#rights-that-are-missing"
SIZES = "docs/runbook.md#messages-that-are-too-large"
TIMESTAMPS = "docs/runbook.md#timestamps-that-the-broker-refuses"
TOPICS = "docs/runbook.md#topics-that-are-missing"
VERSIONS = "docs/runbook.md#brokers-without-transactions"

CLUSTER_RIGHT = "DescribeConfigs on the cluster"
"""What it takes to be told a broker's settings and quotas."""

Level = Literal["error", "warning", "not checked"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Fact that would stop or stall the daemon, may do so, or could not be looked at.

    Attributes:
        level: ``error``: it stops or stalls the daemon, now or as soon as the input asks for it;
            ``warning``: it does so in a situation that may not come; ``not checked``: the broker
            did not say, so nobody knows.
        message: the setting, its value, the broker's limit, and what to do.
        section: of the runbook.
    """

    level: Level
    message: str
    section: str

    def __str__(self) -> str:
        return f"{self.message} (see {self.section})"


def error(message: str, section: str) -> Finding:
    """A finding that stops or stalls the daemon."""
    return Finding("error", message, section)


def warning(message: str, section: str) -> Finding:
    """A finding that stops or stalls the daemon in a situation that may not come."""
    return Finding("warning", message, section)


def not_checked(message: str, section: str) -> Finding:
    """Something that the broker did not tell."""
    return Finding("not checked", message, section)


def seconds(milliseconds: float) -> str:
    """``1,500 ms`` as people read it: ``1.5 s``, ``20 s``, ``2 h``, ``30 d``."""
    count = milliseconds / 1000
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if count >= 2 * size or count == size:
            return f"{count / size:.4g} {unit}"
    return f"{count:.4g} s"
