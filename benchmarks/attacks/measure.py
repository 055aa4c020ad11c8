"""One detector under one case: which of the planted attacks are alerted."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from stream_detector import Pipeline

from . import network, payments
from .detectors import configuration, nsl_columns
from .streams import NOBODY, Case, Stream

PART = 4096


def build(case: Case, seed: int, directory: Path) -> Stream:
    """The stream of a case."""
    if case.stream == "payments":
        return payments.stream(case.attack, case.strength, case.planted, seed)
    nsl = case.stream == "nsl"
    source = network.nsl(directory, nsl_columns()) if nsl else network.http(directory)
    return network.stream(source, case.attack, case.strength, seed)


def measure(case: Case, detector: str, seed: int, directory: Path) -> dict[str, Any]:
    """A record for the results.

    ``alerted``: share of the planted attacks of which an event became an alert, suppression and
    all; ``raised``: share of which an event was above the threshold; ``alerts``: all alerts.
    """
    stream = build(case, seed, directory)
    began = time.process_time()
    pipeline = Pipeline(configuration(case.stream, detector))
    alerted: set[int] = set()
    raised: set[int] = set()
    alerts = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a rejected event would be a mistake of this benchmark
        for first in range(0, len(stream.rows), PART):
            result = pipeline.process(stream.rows[first : first + PART])
            places = [message.offset for message in result.messages]
            alerted |= set(stream.units[places].tolist())
            raised |= set(stream.units[first + np.flatnonzero(result.raised)].tolist())
            alerts += len(places)
    units = int(stream.units.max()) + 1
    return {
        "stream": case.stream,
        "attack": case.name,
        "planted": case.planted,
        "detector": detector,
        "seed": seed,
        "rows": len(stream.rows),
        "added": stream.added,
        "alerted": round(len(alerted - {NOBODY}) / units, 4),
        "raised": round(len(raised - {NOBODY}) / units, 4),
        "alerts": alerts,
        "seconds": round(time.process_time() - began, 1),
    }
