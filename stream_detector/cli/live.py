"""A live view of what the daemon does: a table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

from stream_detector.cli.alerts import readable
from stream_detector.pipeline import Outcome
from stream_detector.telemetry.metrics import Metrics

_REFRESH_SECONDS = 0.25
_LINE_SECONDS = 5.0


class LiveView:
    """Shows throughput and the last alerts. State: counters and the last five alerts."""

    def __init__(self) -> None:
        self._events = self._alerts = self._rejected = 0
        self._last: list[str] = []
        self._started = self._shown = time.monotonic()
        self._shown_events = 0
        self._live: Any = None

    def __enter__(self) -> Self:
        if sys.stdout.isatty():
            try:
                from rich.live import Live  # noqa: PLC0415 - an extra
            except ImportError:
                return self
            self._live = Live(transient=True, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, events: int, outcome: Outcome, _metrics: Metrics) -> None:
        """Take a processed batch in, and show what is due."""
        self._events += events
        self._alerts += len(outcome.alerts)
        self._rejected += len(outcome.rejections)
        if outcome.alerts:
            shown = [readable(alert.value or b"") for alert in outcome.alerts[-5:]]
            self._last = [*self._last, *shown][-5:]
        now = time.monotonic()
        every = _REFRESH_SECONDS if self._live is not None else _LINE_SECONDS
        if now - self._shown < every:
            return
        rate = (self._events - self._shown_events) / (now - self._shown)
        self._shown, self._shown_events = now, self._events
        line = (
            f"{self._events:>9,} events  {rate:>8,.0f} a second  {self._alerts:>6,} alerts  "
            f"{self._rejected:>5,} rejected"
        )
        if self._live is None:
            print(line, flush=True)
            if self._last:
                print("  last alert: " + self._last[-1].replace("\n", "\n  "), flush=True)
        else:
            self._live.update(self._table(line), refresh=True)

    def _table(self, line: str) -> Any:
        from rich.console import Group  # noqa: PLC0415 - there once Live was
        from rich.panel import Panel  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        body = "\n".join(self._last) or "no alert yet"
        # Text, not a string: what an event contains must not be read as markup.
        return Group(Panel(Text(line), title="stream-detector"), Panel(Text(body), title="alerts"))
