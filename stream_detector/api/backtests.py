"""Back-tests of a configuration on a file or on events at hand."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_detector.api.configuration import configuration_of
from stream_detector.api.records import EventReader, EventSource, RecordCounter
from stream_detector.api.result import rarest
from stream_detector.api.threads import one_thread
from stream_detector.config import Config
from stream_detector.connectors.ahead import open_file
from stream_detector.connectors.base import Source
from stream_detector.evaluation import backtest as evaluation
from stream_detector.evaluation.figures import figures
from stream_detector.evaluation.labelling import with_label
from stream_detector.evaluation.paired_comparison import Comparison, compare
from stream_detector.events import Float64, TopicPartition
from stream_detector.markup import Markup, escape_lines, tag
from stream_detector.report.comparison_table import as_table
from stream_detector.report.rejected_text import table


def backtest(
    config: Config | Mapping[str, Any] | str | PathLike[str],
    source: Any,
    *,
    label: str | None = None,
    label_delay: str | None = None,
    skip: int = 0,
    limit: int | None = None,
    keep_alerts: int = 1000,
    progress: Callable[[int], None] = lambda _events: None,
    acts: Sequence[str] = (),
) -> BacktestResult:
    """Run a configuration over history: every event is scored before it is learnt.

    Args:
        config: a ``Config``, the path of a YAML file, or a dict of what such a file holds.
        source: path of a CSV, JSON Lines or npz file; a frame; dicts or bytes as
            ``Pipeline.process`` takes them; or a ``Source``, which is read to its end.
        label: field of the label, 1 = anomalous, over the configuration's own.
        label_delay: when a label is known, ``"7d"``, over the configuration's own.
        skip: first events that figures leave out (a cold start).
        limit: records to read of a file.
        keep_alerts: how many alerts to keep whole; later ones are counted.
        progress: called with the number of events so far.
        acts: what people have written to the control topic, as JSON: rules, say, which hold from
            the event time on for which they were made.

    Raises:
        ConfigurationError: the configuration has mistakes.
        ConnectorError: the file cannot be read.
        TypeError, FrameError: as ``Pipeline.process``.
    """
    made = with_label(configuration_of(config), label, label_delay)
    with one_thread(), closing(_source(made, source, limit)) as opened:
        scored = evaluation.backtest(
            made, opened, keep_alerts=keep_alerts, progress=progress, acts=acts
        )
    if label is not None and len(scored.labels) and np.isnan(scored.labels).all():
        warnings.warn(
            f"no event has a label in {label!r}: there are scores, and no figures of their quality",
            stacklevel=2,
        )
    return BacktestResult(made, scored, skip)


@dataclass(eq=False)
class BacktestResult:
    """Result of a back-test: figures, every score, the first alerts.

    Attributes:
        config: what was run.
        scored: all columns of the accepted events.
        skip: first events that figures leave out.
    """

    config: Config
    scored: evaluation.Scored
    skip: int = field(default=0)

    def __len__(self) -> int:
        return len(self.scored.scores)

    @property
    def scores(self) -> Float64:
        """(events,) float64 of the accepted events, given before each was learnt."""
        return self.scored.scores

    @property
    def raised(self) -> NDArray[np.bool_]:
        """(events,) which were above the threshold of that moment."""
        return self.scored.raised

    @property
    def labels(self) -> Float64:
        """(events,) 1 anomalous, 0 normal, NaN unknown."""
        return self.scored.labels

    @property
    def rows(self) -> NDArray[np.int64]:
        """(events,) which record each event was, from 0: rejected records are counted."""
        return self.scored.rows

    @property
    def times(self) -> NDArray[np.datetime64]:
        """(events,) event time, UTC."""
        return self.scored.times_ms.astype("datetime64[ms]")

    @cached_property
    def figures(self) -> dict[str, Any]:
        """ROC AUC, precision, recall and what else ``evaluate`` prints; None without labels."""
        return figures(self.scored, skip=self.skip)

    @cached_property
    def alerts(self) -> list[dict[str, Any]]:
        """The first alerts as docs/alerts.md describes them, with ``row``, the record's number."""
        return [
            {"row": message.offset, **msgspec.json.decode(message.value or b"")}
            for message in self.scored.alerts
        ]

    def compare(self, *others: BacktestResult) -> ComparisonResult:
        """Figures with 95 % intervals of this run and others, and the differences of all pairs.

        Only events that all of them scored count. Raises ``ConfigurationError`` where they have
        read different labels.
        """
        runs = (self, *others)
        return ComparisonResult(runs, compare([run.scored for run in runs], skip=self.skip))

    def to_dict(self) -> dict[str, Any]:
        """The columns ``row``, ``time``, ``score``, ``raised``, ``label``: for a frame."""
        return {
            "row": self.rows,
            "time": self.times,
            "score": self.scores,
            "raised": self.raised,
            "label": self.labels,
        }

    def __repr__(self) -> str:
        return "\n".join([*self._lines(), *rarest(self.alerts)])

    def _repr_html_(self) -> Markup:
        """For notebooks; text of events is escaped."""
        return tag("pre", escape_lines(repr(self)))

    def _lines(self) -> list[str]:
        lines = [f"{self.config.name}: {self.config.detector.kind}"]
        for name, value in self.figures.items():
            if value is None or isinstance(value, dict | list):
                continue
            text = f"{value:,.4f}" if isinstance(value, float) else f"{value:,}"
            lines.append(f"{name.replace('_', ' '):<28}{text:>12}")
        rejected = table(self.scored.tally, len(self) + self.scored.tally.records, self.config)
        return [*lines, *rejected.splitlines()]


@dataclass(eq=False, frozen=True)
class ComparisonResult:
    """Several back-tests side by side.

    Attributes:
        runs: the back-tests, in the order given.
        comparison: figures and differences with their intervals.
    """

    runs: tuple[BacktestResult, ...]
    comparison: Comparison

    def __repr__(self) -> str:
        # Nobody has timed them, and the table has a column for it.
        figures = [{"events_per_second": None, **run.figures} for run in self.runs]
        return as_table(self.comparison, self._names(), figures)

    def _names(self) -> list[str]:
        """Tell the runs apart: by their names, else their detectors, else their numbers."""
        for names in (
            [run.config.name for run in self.runs],
            [run.config.detector.kind for run in self.runs],
        ):
            if len(set(names)) == len(names):
                return names
        return [f"run {number}" for number in range(1, len(self.runs) + 1)]

    def _repr_html_(self) -> Markup:
        """For notebooks."""
        return tag("pre", escape_lines(repr(self)))


def _source(config: Config, source: Any, limit: int | None) -> Source:
    if isinstance(source, str | os.PathLike):
        return open_file(config, os.fspath(source), limit, ahead=False)
    if hasattr(source, "poll") and hasattr(source, "exhausted"):
        opened: Source = source
        return opened
    counter = RecordCounter(TopicPartition("events", 0))
    if limit is not None:
        raise TypeError("limit is of files: give the first events only, events[:limit]")
    return EventSource(EventReader(config).read(source), counter)
