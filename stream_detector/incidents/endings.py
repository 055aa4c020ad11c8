"""When an incident is opened, and when it is over."""

from __future__ import annotations

import math

from stream_detector.config.models.incidents import IncidentsConfig
from stream_detector.events import NO_TIMESTAMP
from stream_detector.incidents.incident import Care, Incident

HELD_OPENS = 8
"""So many signals that were all held back open an incident, although no alert is there to see."""

_STILL_GOING = 0.05
"""Chance that is left that an incident goes on, when its events have been ordinary so often."""

_MOST_ORDINARY = 1000

_GAPS = 2
"""A single alert waits for so many of the usual times between two events of its scope, for one that
is ordinary: six of seven keys that come by chance have come by then."""


class Endings:
    """The rules by which incidents begin, and end. Pure."""

    def __init__(self, settings: IncidentsConfig) -> None:
        self.wait_ms = _ms(settings.group_wait)
        self.quiet_ms = _ms(settings.quiet)
        self.longest_quiet_ms = _ms(settings.longest_quiet)
        self._longest_ongoing_ms = _ms(settings.longest_ongoing)

    def due_ms(self, incident: Incident) -> int:
        """The watermark at which something becomes of an incident that has not ended."""
        if not incident.is_open:
            if incident.wait_ms != NO_TIMESTAMP:
                return incident.wait_ms
            return incident.active_ms + self.quiet_ms
        cares = (incident.acknowledged, incident.snoozed)
        ends = [one.until_ms for one in cares if one is not None and one.until_ms >= 0]
        return min([self.over_ms(incident), *ends])

    def over_ms(self, incident: Incident) -> int:
        """The watermark at which an open incident is over, as far as is known now.

        Where monitors wait for keys: not before these are back. Else the quiet period after its
        last signal, or longer of a scope that comes seldom, until an ordinary event of it; where
        events had been raised more than once, so many of its scope must have been ordinary since
        then as would hardly be if it went on, and ``longest_quiet`` is enough.
        """
        if incident.ongoing:
            return incident.active_ms + self._longest_ongoing_ms
        if incident.of_events > 1 and self.may_go_on(incident):
            return incident.active_ms + self.longest_quiet_ms
        return incident.active_ms + max(self.quiet_ms, self._awaited_ms(incident))

    def _awaited_ms(self, incident: Incident) -> int:
        """How long an event that would show that it is over may take; 0 where none is awaited."""
        if not incident.of_events or incident.ordinary:
            return 0
        awaited_ms = _GAPS * incident.gap_ms
        # A key that hardly ever comes shows nothing by not coming.
        return awaited_ms if awaited_ms <= self.longest_quiet_ms else 0

    @staticmethod
    def may_go_on(incident: Incident) -> bool:
        """Tell whether so few events of its scope since the last signal could still be chance.

        Of the events in an incident a share h was raised; n ordinary ones in a row come by chance
        with a probability of (1 - h) to the n. h by Jeffreys' prior, as both are few.
        """
        if not incident.of_events:
            return False
        ours = max(incident.events - incident.ordinary, incident.of_events)
        raised = (incident.of_events + 0.5) / (ours + 1)
        needed = math.log(_STILL_GOING) / math.log(1 - raised)
        return incident.ordinary < min(needed, _MOST_ORDINARY)

    @staticmethod
    def is_worth(incident: Incident) -> bool:
        """Tell whether there is anything to be seen of one that was not opened."""
        return incident.alerts > 0 or incident.held >= HELD_OPENS or incident.reopened > 0


def is_over(care: Care | None, mark_ms: int) -> bool:
    """Tell whether somebody's word has come to its end."""
    return care is not None and care.until_ms != NO_TIMESTAMP and care.until_ms <= mark_ms


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
