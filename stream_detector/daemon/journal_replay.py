"""The journal's records that a shard has still to follow before live work begins."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from stream_detector.events import TopicPartition
from stream_detector.journal import JournalAct, JournalRecord, Range
from stream_detector.pipeline import BatchResult, PipelineCore


class JournalReplay:
    """Says which step comes next, and holds each record's end against what came out.

    State: the records that are left, the place in the first of them (steps, ticks, acts), a count.

    Attributes:
        records: to follow, in order.
        mismatches: replayed records whose fingerprint came out differently.
    """

    def __init__(self) -> None:
        self.records: deque[JournalRecord] = deque()
        self.mismatches = 0
        self._next_step = self._next_tick = self._next_act = 0

    def begin(self, records: Iterable[JournalRecord]) -> None:
        """Follow these; maybe none."""
        self.records = deque(records)
        self._next_step = self._next_tick = self._next_act = 0

    @property
    def step(self) -> tuple[Range, ...] | None:
        """The step that comes next; None at the end of a record."""
        steps = self.records[0].steps
        return steps[self._next_step] if self._next_step < len(steps) else None

    @property
    def act(self) -> JournalAct | None:
        """The act that comes before the next step and the next tick; None where none does."""
        acts = self.records[0].acts
        if self._next_act < len(acts):
            act = acts[self._next_act]
            if act.steps <= self._next_step and act.ticks <= self._next_tick:
                return act
        return None

    @property
    def tick_ms(self) -> int | None:
        """The time of the tick that comes before the next step; None where none does."""
        ticks = self.records[0].ticks
        if self._next_tick < len(ticks) and ticks[self._next_tick][0] <= self._next_step:
            return ticks[self._next_tick][1]
        return None

    @property
    def calendars(self) -> str | None:
        """The calendars that are in use from here on; None where they stay as they are."""
        return self._from_here(self.records[0].calendars)

    @property
    def incidents(self) -> str | None:
        """The settings of incidents, likewise."""
        return self._from_here(self.records[0].incidents)

    def _from_here(self, settings: str | None) -> str | None:
        if self._next_step or self._next_tick or self._next_act:
            return None
        # A state that began with none does not go by those that there are now.
        return "" if settings is None and self.records[0].number == 1 else settings

    def act_done(self) -> None:
        """The act was taken in."""
        self._next_act += 1

    def tick_done(self) -> None:
        """Event time has gone on to the tick."""
        self._next_tick += 1

    def step_done(self) -> None:
        """The step was processed."""
        self._next_step += 1

    def end_record(self, sequence: int, fingerprint: str) -> None:
        """The first record is done; the pipeline's number of events and fingerprint there."""
        record = self.records.popleft()
        self._next_step = self._next_tick = self._next_act = 0
        if (record.sequence, record.fingerprint) != (sequence, fingerprint):
            self.mismatches += 1

    def needs(self, source: TopicPartition, fetched: Mapping[TopicPartition, int]) -> bool:
        """Tell whether the step waits for a partition; ``fetched``: positions reached."""
        if not self.records or (step := self.step) is None:
            return False
        return any(each.source == source and fetched[source] < each.end for each in step)


def between_steps(replay: JournalReplay, pipeline: PipelineCore, shard: int) -> BatchResult | None:
    """Do the act, or else the tick, that comes before the next step; None where neither does.

    Where a record begins, other calendars and other settings of incidents may be in use from there.
    """
    if (calendars := replay.calendars) is not None:
        pipeline.monitors.use_calendars(calendars)
    if (settings := replay.incidents) is not None:
        pipeline.decisions.incidents.use(settings)
    if (act := replay.act) is not None:
        replay.act_done()
        return pipeline.act(act.text, act.offset, shard)
    if (tick_ms := replay.tick_ms) is not None:
        replay.tick_done()
        return pipeline.tick(tick_ms, shard)
    return None
