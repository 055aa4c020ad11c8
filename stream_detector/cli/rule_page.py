"""Rules of the status page: proposed and held against history as ``rule add`` does."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import msgspec

from stream_detector.cli.rule_making import origins_of, per_day, proposed
from stream_detector.cli.rule_text import coverage_lines, refusal, rule_lines
from stream_detector.cli.rule_topics import alerts_of, labels_of, stream_time_ms
from stream_detector.config import Config
from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.writing.acts import write_act
from stream_detector.evaluation.rule_history import AlertReader, coverage
from stream_detector.rules import RuleAdd
from stream_detector.telemetry.status.rule_form import Offer, Wish

_ALERTS_READ = 2000
"""Of each partition: a browser waits."""


def proposer(config: Config, kafka: KafkaConfig) -> Callable[[Wish], Offer]:
    """Return what makes a rule of a wish."""

    def propose(wish: Wish) -> Offer:
        reader = AlertReader(config)
        bodies = alerts_of(config, kafka, _ALERTS_READ)
        history = [reader.seen(body) for body in bodies]
        origins = origins_of([wish.alert], bodies, files=False)
        given = argparse.Namespace(
            feature=[],
            field=[],
            any=[],
            id=None,
            owner=wish.owner,
            why=wish.why,
            expires=wish.expires,
        )
        now_ms = stream_time_ms(config, kafka, bodies)
        rule = proposed(given, config, reader, origins, history, now_ms)
        found = coverage(rule, history, labels_of(config, kafka))
        rule = msgspec.structs.replace(rule, most_per_day=per_day(found))
        lines = [*rule_lines(rule), "", *coverage_lines(found)]
        refused = refusal(found.positive) if found.positive else ""

        def write() -> str:
            write_act(kafka, RuleAdd(1, rule))
            return rule.id

        return Offer(lines, refused, write)

    return propose
