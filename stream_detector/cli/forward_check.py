"""What `check` says of the targets of `forward`: nothing is sent, and no address is shown whole."""

from __future__ import annotations

from stream_detector.config import Config
from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.inspection.findings import Finding, warning
from stream_detector.forwarding.service import made_targets
from stream_detector.visible import shown

SECTION = "docs/runbook.md#streamdetectorforwardfailing"


def check_targets(config: Config, kafka: KafkaConfig | None) -> tuple[list[str], list[Finding]]:
    """Return which targets there are, a line each, and what would keep one from getting anything.

    Raises ``ConfigurationError`` where one cannot be used: a file that cannot be read, a template
    that asks for what there is not, incidents where there is no topic of them.
    """
    lines: list[str] = []
    findings: list[Finding] = []
    if config.forward is None or kafka is None:
        return lines, findings
    for name, (settings, target) in made_targets(kafka, config.forward).items():
        topics = ", ".join(map(shown, settings.topics(kafka)))
        lines.append(f"{name}: {settings.kind}, gets {topics}")
        if (why := target.obstacle()) is not None:
            findings.append(warning(f"forward: {name} would get nothing: {why}", SECTION))
    return lines, findings
