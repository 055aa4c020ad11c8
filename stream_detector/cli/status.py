"""The status page of a configuration: what it says, who sees alerts, who may label them."""

from __future__ import annotations

import ipaddress
import logging
from pathlib import Path

from stream_detector.cli.incident_page import carer
from stream_detector.cli.rule_page import proposer
from stream_detector.config import Config
from stream_detector.config.models.config import KafkaConfig
from stream_detector.config.models.metrics import LEAST_TOKEN_CHARACTERS, MetricsConfig
from stream_detector.connectors.kafka.writing.labels import write_label
from stream_detector.decoding.label_words import label_words
from stream_detector.errors import ConfigurationError
from stream_detector.telemetry import metrics as telemetry
from stream_detector.telemetry.health import HealthState
from stream_detector.telemetry.logs import fields, register_secret
from stream_detector.telemetry.status.care_form import CareForm
from stream_detector.telemetry.status.labelling import Labelling
from stream_detector.telemetry.status.page import Running
from stream_detector.telemetry.status.pages import StatusPages
from stream_detector.telemetry.status.recent import Recent, RecentAlert
from stream_detector.telemetry.status.rule_form import RuleForm

_CALL_SECONDS = 2.5
"""Deadline of a call to the broker for a label: a request has ten seconds in all."""

log = logging.getLogger(__name__)


def running_of(config: Config, kafka: KafkaConfig | None) -> Running:
    """Return what the page says of the configuration; nothing of how the broker is reached."""
    facts: list[tuple[str, str]] = [("detector", config.detector.kind)]
    if config.challenger is not None:
        facts.append(("challenger", config.challenger.detector.kind))
    if kafka is not None:
        facts += [
            ("reads", ", ".join(kafka.topics)),
            ("alerts to", kafka.alerts),
            ("group", kafka.group),
            ("delivery", kafka.delivery.replace("_", " ")),
        ]
    return Running(config.name, tuple(facts))


def status_pages(
    config: Config,
    kafka: KafkaConfig,
    metrics: telemetry.Metrics,
    health: HealthState,
    recent: Recent,
) -> StatusPages:
    """The pages of ``run``. Raises ``ConfigurationError`` where the token's file cannot be used."""
    labelling, rules, care = _labelling(config, kafka, metrics, recent), None, None
    if labelling is not None and kafka.rules is not None:
        quick = _quick(kafka)
        rules = RuleForm(labelling.guard, recent, proposer(config, quick))
        if kafka.incidents is not None:
            care = CareForm(labelling.guard, recent.incidents, carer(config, quick))
    return StatusPages(
        metrics,
        health,
        recent,
        running_of(config, kafka),
        shows_alerts=shows_alerts(config.metrics),
        labelling=labelling,
        rules=rules,
        care=care,
    )


def _quick(kafka: KafkaConfig) -> KafkaConfig:
    """The section with calls that a request can wait for."""
    return kafka.model_copy(update={"request_timeout": min(kafka.request_timeout, _CALL_SECONDS)})


def shows_alerts(section: MetricsConfig) -> bool | None:
    """Tell whether the page shows alerts; None: it depends on the address that is asked for."""
    if section.show_alerts is not None:
        return section.show_alerts
    if section.username is not None or section.client_ca_file is not None:
        return True
    return None if _is_own(section.host) else False


def _is_own(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _labelling(
    config: Config, kafka: KafkaConfig, metrics: telemetry.Metrics, recent: Recent
) -> Labelling | None:
    section, labels = config.metrics, config.labels
    if not section.labels_alerts or labels is None:
        return None
    token = _token(section)
    register_secret(token)
    if section.certificate_file is None and not _is_own(section.host):
        log.warning(
            "the token for labels travels in plain text: set metrics.certificate_file and key_file",
            extra=fields("token-in-plain-text", stage="configuration"),
        )
    quick = _quick(kafka)

    def write(alert: RecentAlert, word: str) -> None:
        assert alert.event_id is not None
        assert alert.partition is not None
        write_label(
            quick,
            alert.event_id,
            word,
            partition=alert.partition,
            shards=config.processing.shards,
        )

    return Labelling(
        token, label_words(labels), recent, write, count_refused=metrics.http.add_refused
    )


def _token(section: MetricsConfig) -> str:
    if section.label_token is not None:
        return section.label_token.get_secret_value()
    path = str(section.label_token_file)
    try:
        token = Path(path).read_bytes().decode("utf-8").rstrip("\r\n")
    except OSError as error:
        raise ConfigurationError(
            f"metrics.label_token_file: {path}: {error.strerror or error}"
        ) from error
    except UnicodeDecodeError:
        # Not the error itself: it carries the bytes.
        raise ConfigurationError(f"metrics.label_token_file: {path} is not UTF-8") from None
    if len(token) < LEAST_TOKEN_CHARACTERS:
        raise ConfigurationError(
            f"metrics.label_token_file: {path} holds fewer than {LEAST_TOKEN_CHARACTERS} characters"
        )
    return token
