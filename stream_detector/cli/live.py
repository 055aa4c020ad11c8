"""A live view of what the daemon does: panels on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TextIO, cast

from stream_detector.cli.terminal import say
from stream_detector.telemetry.health import HealthState
from stream_detector.telemetry.metrics import Metrics
from stream_detector.telemetry.status.figures import Figures, figures
from stream_detector.telemetry.status.layout import duration, number, share
from stream_detector.telemetry.status.recent import STEP_SECONDS, Recent, RecentAlert
from stream_detector.visible import shown, visible

_REFRESHES_A_SECOND = 2
_LINE_SECONDS = 5.0
_ALERTS_A_LINE = 3
_REASONS = 3
_SHIFTS = 6
_WIDE = 100
_BARS = "▁▂▃▄▅▆▇█"
_COLOURS = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "cyan"}


class LiveView:
    """Shows how it goes until it is left: throughput, lag, alert rate, last alerts, what moves.

    On a terminal with rich it draws panels, from a thread of rich's own; elsewhere it prints a line
    every five seconds and the new alerts with their reasons, from a thread too, so that it speaks
    also while nothing comes.

    State: which alerts have been printed.
    """

    def __init__(
        self, name: str, metrics: Metrics, health: HealthState, recent: Recent, *, keep: bool
    ) -> None:
        """``keep``: leave the last picture on the terminal."""
        self._name, self._metrics, self._health = name, metrics, health
        self._recent, self._keep = recent, keep
        self._live: Any = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._printed = ""

    def __enter__(self) -> Self:
        self._live = _live(self) if _is_terminal() else None
        if self._live is not None:
            self._live.start(refresh=True)
        else:
            self._thread = threading.Thread(target=self._print, name="live-view", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._live is not None:
            self._live.stop()
        elif self._thread is not None:
            self._thread.join()

    @property
    def keep(self) -> bool:
        """Tell whether the last picture stays."""
        return self._keep

    @property
    def log_stream(self) -> TextIO | None:
        """Return where log lines go to stand above the panels; None for where they went before.

        A line on standard error would tear the picture if both are the same terminal.
        """
        if self._live is None or not sys.stderr.isatty():
            return None
        return cast("TextIO", _LinesAbove(self._live.console))

    # --- without a terminal ---

    def _print(self) -> None:
        while not self._ended.wait(_LINE_SECONDS):
            for line in self.lines():
                say(line)
        for line in self.lines():
            say(line)

    def lines(self) -> Iterator[str]:
        """A line of figures, then the newest alerts that were not there the last time."""
        now = figures(self._metrics)
        yield (
            f"{now.events:>9,} events  {number(now.throughput):>8} a second  "
            f"lag {_known(now.lag_records, '0')}  {sum(now.alerts.values()):>6,} alerts "
            f"({share(now.alert_ratio)})  {sum(now.rejected.values()):>5,} rejected"
        )
        fresh: list[RecentAlert] = []
        for alert in self._recent.alerts():
            if alert.id == self._printed:
                break
            fresh.append(alert)
        if fresh:
            self._printed = fresh[0].id
        for alert in reversed(fresh[:_ALERTS_A_LINE]):
            yield from (f"  {line}" for line in alert_lines(alert))

    # --- on a terminal ---

    def render(self, width: int = 110, height: int = 40) -> Any:
        """Render for rich within so many columns and lines."""
        from rich.console import Group  # noqa: PLC0415 - an extra
        from rich.panel import Panel  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        now, shifts = figures(self._metrics), self._recent.shifts()[:_SHIFTS]
        ready, reasons = self._health.ready()
        state = "ready" if ready else "; ".join(reasons)
        title = Text(shown(f"{self._name} - {state}"))
        top = Panel(
            self._figures(now, width), title=title, title_align="left", border_style=_border(ready)
        )
        frames = 2 * (3 if shifts else 2) + (4 if width >= _WIDE else 8) + len(shifts) + 1
        room = height - frames
        alerts = Panel(self._alerts(room), title="last alerts", title_align="left")
        panels = [top, alerts]
        if shifts:
            panels.append(
                Panel(_shifts(shifts), title="moved in the last minutes", title_align="left")
            )
        return Group(*panels)

    def _figures(self, now: Figures, width: int) -> Any:
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        cells = list(self._cells(now))
        beside = 2 if width >= _WIDE else 1
        table = Table.grid(padding=(0, 2))
        for _ in range(beside):
            for style in ("dim", "bold", ""):
                table.add_column(style=style, no_wrap=True)
        half = -(-len(cells) // beside)
        for row in range(half):
            row_cells = [cell for each in cells[row::half] for cell in each]
            # Text, not a string: what comes from outside must not be read as markup.
            table.add_row(*(Text(shown(cell)) for cell in row_cells))
        return table

    def _cells(self, now: Figures) -> Iterator[tuple[str, str, str]]:
        """Name, value and what stands beside it; rows of the left half, then of the right."""
        steps = self._recent.steps()
        scores = [step.highest for step in steps]
        highest = max((score for score in scores if math.isfinite(score)), default=math.nan)
        rates = [step.events / STEP_SECONDS for step in steps[:-1]]  # the last is not over
        budget = f"of {share(now.budget_ratio)}" if now.budget_ratio > 0 else ""
        yield "events a second", number(now.throughput), _bars(rates)
        yield "lag", _known(now.lag_records, "0"), duration(now.lag_seconds)
        yield "alert rate", share(now.alert_ratio), budget
        yield "alerts", f"{sum(now.alerts.values()):,}", _most(now.alerts)
        yield "events", f"{now.events:,}", duration(time.monotonic() - self._recent.began)
        yield "highest score", number(highest), _bars(scores)
        yield "threshold", number(now.threshold), ""
        yield "rejected", f"{sum(now.rejected.values()):,}", _most(now.rejected)

    def _alerts(self, room: int) -> Any:
        from rich.text import Text  # noqa: PLC0415

        body, used = Text(no_wrap=True, overflow="ellipsis"), 0
        for alert in self._recent.alerts():
            lines = alert_lines(alert)
            if used + len(lines) > max(room, len(lines)):
                break
            used += len(lines)
            body.append(lines[0] + "\n", style=_COLOURS.get(alert.severity, ""))
            body.append("".join(line + "\n" for line in lines[1:]))
        body.rstrip()
        return body if used else Text("no alert yet", style="dim")


def alert_lines(alert: RecentAlert) -> list[str]:
    """An alert and its first reasons, a line each; nothing in it can steer a terminal."""
    event = "" if alert.event_id is None else f"  event {shown(alert.event_id)}"
    level = shown(alert.severity).upper()
    score = f"score {alert.score:.2f} ({alert.threshold:.2f})  1 in {alert.rarity:,.0f}"
    lines = [f"{shown(alert.event_time)}  {level:<8}  {shown(alert.id)}{event}  {score}"]
    if alert.sentence:
        return [*lines, f"  {visible(alert.sentence)}"]
    for reason in alert.reasons[:_REASONS]:
        beside = f"  usual {shown(reason.usual)}" if reason.usual else ""
        value = shown(reason.value)
        lines.append(f"  {reason.share:>4.0%}  {shown(reason.feature)} = {value}{beside}")
    if alert.ordinary:
        lines.append(f"        {visible(alert.ordinary)}")
    return lines


def _shifts(shifts: Sequence[Any]) -> Any:
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table.grid(padding=(0, 2))
    for shift in shifts:
        colour = "red" if abs(shift.deviations) > 1 else ""
        table.add_row(
            Text(shown(shift.feature)),
            Text(f"{shift.deviations:+.2f} deviations", style=colour, justify="right"),
            Text(f"mean {number(shift.now, 4)}, was {number(shift.before, 4)}", style="dim"),
        )
    return table


class _LinesAbove:
    """A stream whose lines rich prints above the panels. State: a line not yet ended."""

    def __init__(self, console: Any) -> None:
        self._console, self._rest = console, ""

    def write(self, text: str) -> int:
        from rich.text import Text  # noqa: PLC0415

        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._console.print(Text(visible(line)), soft_wrap=True)
        return len(text)

    def flush(self) -> None:
        """Lines go out as they end."""


def _live(view: LiveView) -> Any:
    """Rich's, None where rich is not installed."""
    try:
        from rich.console import Console  # noqa: PLC0415 - an extra
        from rich.live import Live  # noqa: PLC0415
    except ImportError:
        return None
    console = Console()
    return Live(
        console=console,
        get_renderable=lambda: view.render(console.size.width, console.size.height),
        refresh_per_second=_REFRESHES_A_SECOND,
        transient=not view.keep,
        redirect_stdout=False,
        redirect_stderr=False,
    )


def _is_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def _border(ready: bool) -> str:
    return "green" if ready else "red"


def _most(counts: Mapping[str, int]) -> str:
    """The two largest, and how many more there are."""
    largest = sorted(((n, name) for name, n in counts.items() if n), reverse=True)
    shown = ", ".join(f"{n:,} {name}" for n, name in largest[:2])
    return shown + (f" + {len(largest) - 2}" if len(largest) > 2 else "")  # noqa: PLR2004


def _known(value: float, unknown: str) -> str:
    return f"{value:,.0f}" if math.isfinite(value) else unknown


def _bars(values: Sequence[float], width: int = 24) -> str:
    """The last ``width`` values as blocks; a blank where there is none."""
    shown = values[-width:]
    known = [value for value in shown if math.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=0.0)
    span = high - low or 1.0
    return "".join(
        _BARS[round((value - low) / span * (len(_BARS) - 1))] if math.isfinite(value) else " "
        for value in shown
    )
