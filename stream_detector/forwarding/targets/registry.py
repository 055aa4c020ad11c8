"""The targets by the models of their settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stream_detector.config.models.forward import (
    AlertmanagerConfig,
    AnyTarget,
    FileTargetConfig,
    SlackConfig,
    TopicTargetConfig,
    WebhookConfig,
)
from stream_detector.forwarding.targets.alertmanager import AlertmanagerTarget
from stream_detector.forwarding.targets.base import Means, Target
from stream_detector.forwarding.targets.file import FileTarget
from stream_detector.forwarding.targets.slack import SlackTarget
from stream_detector.forwarding.targets.topic import TopicTarget
from stream_detector.forwarding.targets.webhook import WebhookTarget

TARGETS: Mapping[type[Any], Callable[[Any, Means], Target]] = {
    WebhookConfig: WebhookTarget,
    AlertmanagerConfig: AlertmanagerTarget,
    SlackConfig: SlackTarget,
    TopicTargetConfig: TopicTarget,
    FileTargetConfig: FileTarget,
}


def target_of(config: AnyTarget, means: Means) -> Target:
    """Return the target of a section. Raises ``ConfigurationError``."""
    return TARGETS[type(config)](config, means)
