"""All stages of a batch in one process, through the same bytes: what an engine is held against."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from stream_detector.batches.head import Head
from stream_detector.batches.keyed import FeaturePart, bucket_output
from stream_detector.batches.ordering import CONTROL, PART, Ordering
from stream_detector.batches.packing import pack, pack_events, unpack, unpack_events
from stream_detector.batches.scored import PartScorer
from stream_detector.config.models.config import Config
from stream_detector.events import EventBatch
from stream_detector.pipeline import BatchResult
from stream_detector.pipeline.stage import Stage, untimed


class InProcess:
    """Runs batches one after the other; between two of them every state is bytes.

    State: that of each stage, as an engine keeps it; bounded as theirs.

    Attributes:
        head: learns and decides.
        states: of the order (key "") and of each bucket (key field and number).
    """

    def __init__(self, config: Config, buckets: int, parts: int, stage: Stage = untimed) -> None:
        """``buckets`` of each key field's values; ``parts`` of a batch at most; as ``Ordering``."""
        self._config, self._buckets, self._parts, self._stage = config, buckets, parts, stage
        self._scorer = PartScorer(config)
        self.head = Head(config, stage)
        self.states: dict[tuple[str, int], bytes] = {}

    def process(self, pieces: Sequence[EventBatch]) -> BatchResult:
        """Take a batch: decoded events of partitions, each in pieces, in any order."""
        control, scored = self.scored(pieces, self.head.version())
        return self.head.take(control, scored) if control else BatchResult.empty()

    def scored(self, pieces: Sequence[EventBatch], version: bytes) -> tuple[bytes, list[bytes]]:
        """All stages before the head: what ``Head.take`` takes; nothing where there is no event.

        ``version``: of the model, which the batch is scored with.
        """
        pieces = [unpack_events(unpack(pack(pack_events(piece)))) for piece in pieces]
        with self._stage("order"):
            ordering = Ordering(self._config, self._buckets, self._parts)
            if (known := self.states.get((CONTROL, 0))) is not None:
                ordering.restore(unpack(known))
            handed = list(ordering.take(pieces))
            self.states[CONTROL, 0] = pack(ordering.state())
        control, parts = b"", {}
        halves: defaultdict[int, list[bytes]] = defaultdict(list)
        for one in handed:
            if one.kind == CONTROL:
                control = one.data
            elif one.kind == PART:
                parts[one.number] = one.data
            else:
                with self._stage("features"):
                    for number, half in self._bucket(one.kind, one.number, one.data):
                        halves[number].append(half)
        if not control:
            return b"", []
        with self._stage("score"):
            self._scorer.use(version)
            scored = [self._scorer.score(data, halves[number]) for number, data in parts.items()]
        return control, scored

    def _bucket(self, key: str, number: int, data: bytes) -> list[tuple[int, bytes]]:
        part = FeaturePart(self._config, key)
        if (known := self.states.get((key, number))) is not None:
            part.restore(unpack(known))
        found = bucket_output(part, key, unpack(data))
        self.states[key, number] = pack(part.state())
        return found
