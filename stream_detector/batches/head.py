"""The one place that learns: decides a batch that was scored, and makes the next version."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stream_detector.batches.packing import pack, unpack, unpack_events
from stream_detector.config.derived.fingerprint import state_fingerprint
from stream_detector.config.models.config import Config
from stream_detector.detectors.stored import read_branch
from stream_detector.errors import StateError
from stream_detector.events import NO_TIMESTAMP, EventBatch, Float64, State
from stream_detector.pipeline import BatchResult, PipelineCore
from stream_detector.pipeline.scoring import ScoredRows
from stream_detector.pipeline.stage import Stage, untimed
from stream_detector.stream_time import Shift


def _nowhere(batch: EventBatch) -> Float64:
    raise AssertionError(f"{len(batch)} events were to be extracted where no key is known")


class Head:
    """Threshold, suppression, alerts, monitors, incidents and all learning, in the stream's order.

    State: the pipeline's, whose windows are empty: they lie with the buckets of keys.
    """

    def __init__(self, config: Config, stage: Stage = untimed) -> None:
        """``stage``: times the stages."""
        self.core = PipelineCore(config, state_fingerprint(config), stage, extract=_nowhere)
        self.core.monitors.use_own_calendars()
        self.core.decisions.incidents.use_own()

    def restore(self, state: State) -> None:
        """Take the state of a ``core`` in.

        Raises ``StateError`` where it makes no sense.
        """
        self.core.restore(state, lagging=True)

    def version(self) -> bytes:
        """What the next batch is to be scored with."""
        return pack(self.core.scoring.version())

    def take(self, control: bytes, parts: Sequence[bytes]) -> BatchResult:
        """Decide a batch and learn it.

        Args:
            control: what ``Ordering`` says of the whole batch.
            parts: it was cut into, as ``PartScorer`` gives them, in any order.

        Raises ``StateError`` where a part is missing, or the batch is not the next one.
        """
        said = unpack(control)
        found = sorted((unpack(part) for part in parts), key=lambda part: int(part["sequence"]))
        self._check(said, found)
        events = [unpack_events(read_branch(part, "events")) for part in found]
        rejected = unpack_events(read_branch(said, "rejected"))
        batch = _whole(events, rejected, said)
        shifts = [Shift(row, before_ms, after_ms) for row, before_ms, after_ms in said["shifts"]]
        return self.core.take_scored(batch, shifts, self._scored(found))

    def _check(self, said: State, found: Sequence[State]) -> None:
        sequence = self.core.sequence
        if said["sequence"] != sequence or len(found) != said["parts"]:
            raise StateError(
                f"a batch of {said['parts']} parts after {said['sequence']} events; the model has "
                f"seen {sequence}, and {len(found)} parts came"
            )
        for part in found:
            if part["sequence"] != sequence:
                raise StateError(f"the part of a batch after {sequence} events is missing")
            sequence += len(part["scores"])

    def _scored(self, found: Sequence[State]) -> ScoredRows:
        """All parts in one; prepared before anything is learnt, so just as they were scored."""
        width = len(self.core.features.names)
        raw = np.concatenate([np.empty((0, width)), *(part["raw"] for part in found)])
        scores = np.concatenate([np.empty(0), *(part["scores"] for part in found)])
        raised = np.concatenate([np.zeros(0, dtype=bool), *(part["raised"] for part in found)])
        scale = found[0]["score_scale"] if found else self.core.champion.score_scale
        return ScoredRows(raw, self.core.scoring.prepare(raw), scores, raised, scale)


def _whole(events: list[EventBatch], rejected: EventBatch, said: State) -> EventBatch:
    """The batch in its order: accepted events, and between them the rejected ones."""
    pieces = [one for one in (*events, rejected) if len(one)]
    if not pieces:
        return rejected
    whole = EventBatch.concatenate(pieces)
    marks = [one.mark_ms for one in pieces if one.mark_ms is not None]
    # It leaves watermarks out, which it cannot know.
    whole.mark_ms = np.concatenate(marks)
    count = said["events"]
    late = np.zeros(count, dtype=bool)
    late[said["rejected_rows"]] = True
    places = np.empty(count, dtype=np.intp)
    places[~late] = np.arange(count - len(rejected))
    places[late] = np.arange(count - len(rejected), count)
    whole = whole.take(places)
    if (
        count
        and int(whole.mark_ms[-1] if whole.mark_ms is not None else NO_TIMESTAMP) != said["mark_ms"]
    ):
        raise StateError("the parts of a batch end at another time than the batch")
    return whole
