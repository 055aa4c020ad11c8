"""Incidents: what alerts and monitors' findings have in common, since when, and whether it is over.

Signals go in, one for each event or finding that was raised; what changed comes out, as the bodies
of messages.
"""

from stream_detector.config.models.incidents import IncidentsConfig
from stream_detector.incidents.signals import CHANGES, Change, Returned, Signal
from stream_detector.incidents.tracker import IncidentTracker

__all__ = ["CHANGES", "Change", "IncidentTracker", "IncidentsConfig", "Returned", "Signal"]
