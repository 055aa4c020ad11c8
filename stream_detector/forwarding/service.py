"""All targets of a configuration, each on a thread of its own: none waits for another."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial

from stream_detector.config import Config
from stream_detector.config.models.forward import AnyTarget, ForwardConfig, TopicTargetConfig
from stream_detector.config.models.kafka import KafkaConfig
from stream_detector.errors import ConfigurationError, ConnectorError, RefusedError
from stream_detector.forwarding.letters import DeadLetters
from stream_detector.forwarding.outbox import Outbox
from stream_detector.forwarding.reading import Reader, group_of, reading_section
from stream_detector.forwarding.sender import Sender
from stream_detector.forwarding.targets.base import Means, Target
from stream_detector.forwarding.targets.registry import target_of
from stream_detector.forwarding.worker import MOST_BYTES, Worker
from stream_detector.log_fields import fields
from stream_detector.telemetry.forward_metrics import ForwardMetrics
from stream_detector.telemetry.health import HealthState
from stream_detector.telemetry.logs import register_secret

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.2
_PAUSE_SECONDS = 1.0


class Healths:
    """Liveness and readiness of all targets together. State: that of each."""

    def __init__(self, targets: Mapping[str, HealthState]) -> None:
        self._targets = targets

    def alive(self) -> tuple[bool, list[str]]:
        """Tell whether every target's loop turns, and which does not."""
        return self._all(lambda health: health.alive())

    def ready(self) -> tuple[bool, list[str]]:
        """Tell whether every target can be delivered to, and every reason why not."""
        return self._all(lambda health: health.ready())

    def _all(self, ask: Callable[[HealthState], tuple[bool, list[str]]]) -> tuple[bool, list[str]]:
        reasons = [
            f"{name}: {reason}"
            for name, health in self._targets.items()
            for reason in ask(health)[1]
        ]
        return not reasons, reasons

    def set_stopping(self) -> None:
        """The process was asked to stop."""
        for health in self._targets.values():
            health.set_stopping()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Receivers of reports, and who asks to stop."""

    metrics: ForwardMetrics
    health: Mapping[str, HealthState]
    stop: Callable[[], bool]


def made_targets(kafka: KafkaConfig, forward: ForwardConfig) -> dict[str, tuple[AnyTarget, Target]]:
    """Return the targets by name. Raises ``ConfigurationError`` where one cannot be used."""
    made: dict[str, tuple[AnyTarget, Target]] = {}
    ours = {*kafka.input_topics, kafka.alerts, kafka.dead_letters, kafka.incidents}
    for index, config in enumerate(forward.targets):
        section = f"forward.targets[{index}]"
        if not config.topics(kafka):
            raise ConfigurationError(
                f"{section}: {config.name} is to get incidents, and kafka.incidents is not set"
            )
        if isinstance(config, TopicTargetConfig) and config.topic in ours:
            raise ConfigurationError(
                f"{section}.topic: {config.topic} is read or written by the detector itself"
            )
        if len(group := group_of(kafka, forward, config.name)) > 255:  # noqa: PLR2004 - Kafka's
            raise ConfigurationError(f"forward.group: the group {group} has too long a name")
        made[config.name] = (config, target_of(config, Means(kafka, section, register_secret)))
    return made


def forward_all(
    config: Config, kafka: KafkaConfig, forward: ForwardConfig, around: Surroundings
) -> None:
    """Deliver until asked to stop.

    Raises ``ConfigurationError`` where a target cannot be made, ``ConnectorError`` where the broker
    refuses us; then all targets stop.
    """
    targets = made_targets(kafka, forward)
    over = False

    def stopping() -> bool:
        return over or around.stop()

    with ThreadPoolExecutor(len(targets), thread_name_prefix="target") as threads:
        futures = {
            threads.submit(_deliver, config, kafka, forward, pair, around, stopping): name
            for name, pair in targets.items()
        }
        try:
            while not stopping():
                done, _ = wait(futures, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
        finally:
            over = True
    for future in futures:
        future.result()


def _deliver(
    config: Config,
    kafka: KafkaConfig,
    forward: ForwardConfig,
    pair: tuple[AnyTarget, Target],
    around: Surroundings,
    stopping: Callable[[], bool],
) -> None:
    """Deliver to one target, on a thread of its own."""
    target_config, target = pair
    name, metrics = target_config.name, around.metrics
    section = reading_section(kafka, forward, target_config)
    log.info("%s: reads %s as %s", name, ", ".join(section.topics), section.group)
    target.on_evicted(lambda count: metrics.add("forward_evicted_total", name, count=count))
    lost: Callable[[int], None] = partial(_count_lost, metrics, name)
    reader = _reader(config, section, target_config, lost, stopping)
    if reader is None:
        return
    outbox = Outbox(target_config, forward.max_waiting, MOST_BYTES)
    letters = DeadLetters(
        kafka, forward.dead_letters or kafka.dead_letters, f"{config.name}/{name}"
    )
    try:
        worker = Worker(
            target_config,
            target,
            reader,
            outbox,
            Sender(name, target, outbox, letters, metrics),
            metrics,
            around.health[name],
            kafka.give_up_after,
        )
        worker.run(stopping)
    finally:
        letters.close()


def _reader(
    config: Config,
    section: KafkaConfig,
    target: AnyTarget,
    on_lost: Callable[[int], None],
    stopping: Callable[[], bool],
) -> Reader | None:
    """Connect, for ``kafka.wait_for_input`` where the broker is away; None: asked to stop.

    Raises ``ConnectorError`` after that.
    """
    until = time.monotonic() + section.wait_for_input
    while not stopping():
        try:
            return Reader(config, section, target, on_lost)
        except RefusedError:
            raise
        except ConnectorError as error:
            if time.monotonic() >= until:
                raise
            log.warning("waiting: %s", error, extra=fields("waiting", stage="forward"))
            time.sleep(_PAUSE_SECONDS)
    return None


def _count_lost(metrics: ForwardMetrics, name: str, count: int) -> None:
    metrics.add("forward_lost_records_total", name, count=count)
