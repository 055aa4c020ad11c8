"""From a sample of events to a proposal for a configuration. Pure: no I/O, no clock."""

from stream_detector.inference.proposal import Entry, Proposal, infer

__all__ = ["Entry", "Proposal", "infer"]
