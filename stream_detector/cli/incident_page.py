"""Incidents of the status page: acknowledged and snoozed as ``incidents`` does."""

from __future__ import annotations

from collections.abc import Callable

from stream_detector.cli.incident_acts import act_of
from stream_detector.cli.rule_topics import alerts_of, end_of, stream_time_ms
from stream_detector.config import Config
from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.writing.acts import write_act
from stream_detector.telemetry.status.care_form import Care
from stream_detector.visible import shown


def carer(config: Config, kafka: KafkaConfig) -> Callable[[Care], str]:
    """Return what writes what is said of an incident."""

    def now_ms() -> int:
        return stream_time_ms(config, kafka, alerts_of(config, kafka))

    def write(care: Care) -> str:
        until = None
        if care.until:
            until = end_of(care.until, now_ms, f"{shown(care.until)}: a duration (4h)")
        snoozes = care.action == "snooze"
        write_act(kafka, act_of(care.incident, care.owner, care.why, until, snoozes=snoozes))
        return until or ""

    return write
