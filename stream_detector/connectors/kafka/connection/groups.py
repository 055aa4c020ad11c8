"""Members of a consumer group."""

from __future__ import annotations

import time
from typing import Any

from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.client.admin import Admin
from stream_detector.connectors.kafka.client.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
)
from stream_detector.connectors.kafka.connection.admin import admin_client
from stream_detector.connectors.kafka.connection.settings import clear_cause
from stream_detector.errors import RefusedError

_PAUSE_SECONDS = 0.2


def active_members(kafka: KafkaConfig) -> list[str]:
    """The members of ``kafka.group``, as client id and host; a group that nobody knows has none.

    One that died without leaving counts until its session timeout has passed. Raises
    ``ConnectorError`` where the broker does not answer within ``request_timeout``.
    """
    with admin_client(kafka) as client, clear_cause(f"ask about the group {kafka.group}", kafka):
        try:
            group = _describe(client, kafka.group, time.monotonic() + kafka.request_timeout)
        except GroupAuthorizationFailedError as error:
            raise RefusedError(f"not authorised to describe the group {kafka.group}") from error
    members = group.get("members") or ()
    return [f"{member.get('client_id')} at {member.get('client_host')}" for member in members]


def _describe(client: Admin, group: str, deadline: float) -> dict[str, Any]:
    """Ask; again where the coordinator is not there yet, as in a broker that has just started."""
    while True:
        try:
            return client.describe_group(group)
        except KafkaError as error:
            if not error.retriable or time.monotonic() + _PAUSE_SECONDS > deadline:
                raise
        time.sleep(_PAUSE_SECONDS)
