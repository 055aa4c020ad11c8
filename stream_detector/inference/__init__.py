"""From a sample of events to a proposal for a configuration. Pure: no I/O, no clock."""

from stream_detector.inference.parts import Entry, Proposal
from stream_detector.inference.proposal import infer

__all__ = ["Entry", "Proposal", "infer"]
