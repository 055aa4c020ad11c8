"""A topic that is worked off by one daemon after the other, each killed at a failpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kafka_broker.clients import Message, produce

from support.process import DaemonProcess

QUICK_SESSION = {"session_timeout_ms": 1500, "heartbeat_interval_ms": 300}
"""The section ``consumer`` of a group that gives a dead worker up soon."""

POINTS = ("after_poll", "after_flush", "after_commit", "in_replay")


def work_off_through_kills(
    directory: Path, settings: Mapping[str, Any], messages: Sequence[Message]
) -> DaemonProcess:
    """Produce a third of the messages before each of three kills, then kill in a replay.

    Each begins with input that the one before has not seen, the one in the replay with a journal
    alone. Returns the last one, which has worked off everything, refused nothing, found its
    replay right and stopped.
    """
    kafka = settings["kafka"]
    step = -(-len(messages) // (len(POINTS) - 1))
    for number, point in enumerate(POINTS):
        if some := messages[number * step : (number + 1) * step]:
            produce(kafka["bootstrap_servers"], kafka["topics"][0], some)
        with DaemonProcess(directory, settings, environment={"FAILPOINT": point}) as daemon:
            assert daemon.wait() < 0, daemon.text()
    with DaemonProcess(directory, settings) as daemon:
        daemon.wait_ready().wait_worked_off()
        assert daemon.metric("replay_mismatches_total") == 0
        assert daemon.metric("rejected_total") == 0
        assert daemon.stop() == 0, daemon.text()
    return daemon
