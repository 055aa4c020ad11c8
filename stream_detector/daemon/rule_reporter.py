"""Reports the rules of a shard to metrics and log."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

from stream_detector.daemon.shard import Shard
from stream_detector.pipeline import BatchResult
from stream_detector.telemetry.logs import fields
from stream_detector.telemetry.metrics import Metrics

log = logging.getLogger(__name__)


class RuleReporter:
    """Counts what rules hide, and how they stand. State: none of its own."""

    def __init__(self, metrics: Metrics, increase: Callable[[Shard, str, int], int]) -> None:
        """``increase``: growth of a shard's total under a name since it was asked last."""
        self._metrics, self._increase = metrics, increase

    def begin(self, shard: Shard) -> None:
        """Take a restored shard's totals as counted."""
        book = shard.pipeline.decisions.ruling.book
        self._increase(shard, "rules forgotten", book.hidden_events.forgotten)
        self._metrics.rules.add_disabled(shard.number, 0)
        self._metrics.rules.add_hidden({one.rule.id: 0 for one in book.standings})

    def count(self, shard: Shard, outcome: BatchResult) -> None:
        """Count what a batch, or an act, has brought."""
        if outcome.hidden:
            self._metrics.rules.add_hidden(Counter(one.rule for one in outcome.hidden))
        if not outcome.disabled:
            return
        self._metrics.rules.add_disabled(shard.number, len(outcome.disabled))
        for rule in outcome.disabled:
            log.warning(
                "rule %s has disabled itself: what it hid was no false alarm. Its alert says why; "
                "see docs/runbook.md#streamdetectorruledisabled",
                rule,
                extra=fields("rule-disabled", stage="decide", shard=shard.number, rule=rule),
            )

    def observe(self, shard: Shard) -> None:
        """Set how the rules stand as of now."""
        book, number = shard.pipeline.decisions.ruling.book, shard.number
        remembered = book.hidden_events
        phases = book.phases(shard.pipeline.watermark_ms)
        self._metrics.rules.set_held(number, phases, len(remembered))
        forgotten = self._increase(shard, "rules forgotten", remembered.forgotten)
        self._metrics.rules.add_forgotten(number, forgotten)
