"""The server of metrics and health that runs beside a command."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from stream_detector.config.models.metrics import MetricsConfig
from stream_detector.telemetry.access import Access
from stream_detector.telemetry.logs import fields
from stream_detector.telemetry.server import Health, MetricsServer, Pages, Served

log = logging.getLogger(__name__)


@contextmanager
def metrics_served(
    section: MetricsConfig,
    metrics: Served,
    health: Health,
    *,
    port: int | None = None,
    pages: Callable[[], Pages] | None = None,
) -> Iterator[None]:
    """Serve as long as the block lasts, if the configuration says so.

    Args:
        section: where, and who may read.
        metrics: what is shown.
        health: what is answered from.
        port: another than the section's.
        pages: makes what people see, where there is a server.

    Raises ``ConfigurationError`` where it cannot.
    """
    if not section.enabled:
        yield
        return
    access = Access(section)
    server = MetricsServer(
        metrics,
        health,
        section.host,
        section.port if port is None else port,
        None if pages is None else pages(),
        access=access,
    )
    server.start()
    address = f"{access.scheme}://{section.host}:{server.port}/metrics"
    log.info("metrics at %s", address, extra=fields("metrics", url=address))
    try:
        yield
    finally:
        server.stop()
