"""Which messages a target gets."""

from __future__ import annotations

from stream_detector.alerts import SEVERITIES
from stream_detector.config.models.forward import StatesConfig, TargetConfig
from stream_detector.forwarding.message import Message


class Selection:
    """Tells whether a target gets a message. State: none."""

    def __init__(self, config: TargetConfig) -> None:
        self._least = SEVERITIES.index(config.severity)
        self._kinds = frozenset(config.kinds)
        self._states = frozenset(config.states) if isinstance(config, StatesConfig) else None

    def takes(self, message: Message) -> bool:
        """Tell whether severity, kinds and state are those that are wanted."""
        if SEVERITIES.index(message.severity) < self._least:
            return False
        if self._kinds and not self._kinds & message.kinds:
            return False
        state = message.state
        return state is None or self._states is None or state in self._states
