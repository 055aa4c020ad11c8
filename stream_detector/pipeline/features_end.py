"""When the features take labels in, and forget."""

from __future__ import annotations

from stream_detector.pipeline.chunk import EARLY_CHUNK, EARLY_EVENTS


def features_end(sequence: int, configured: int) -> int:
    """Number of events after which the features next take labels in, and forget.

    It is where chunks end of a model without labels that never began anew. The chunks themselves
    follow the model, and what the features of a stream are must not: many detectors are run over
    features that were extracted once (``evaluation.feature_replay``).
    """
    size = EARLY_CHUNK if sequence < EARLY_EVENTS else configured
    return (sequence // size + 1) * size
