"""An incident's message."""

from __future__ import annotations

from stream_detector.alerts import SEVERITIES, iso_time
from stream_detector.events import NO_TIMESTAMP
from stream_detector.explanation import short_number
from stream_detector.incidents.attribution import (
    condition,
    ranked,
    told_attributes,
    told_reasons,
)
from stream_detector.incidents.incident import Incident, Told
from stream_detector.incidents.signals import Change

OPENED = frozenset({"opened", "reopened"})
"""Changes with which an incident is open that was not before."""


def body_of(
    incident: Incident, change: str, detector: str, fingerprint: str, reasons: dict[str, int]
) -> Change:
    """Body of the message that says what has changed; ``reasons`` are those of all signals.

    Holds no time but the stream's: of the same log the same bytes.
    """
    each = ranked(incident.tally, incident.scope)
    resolved = incident.resolved_ms != NO_TIMESTAMP
    state = "resolved" if resolved else ("open" if change in OPENED else "updated")
    return {
        "id": incident.id,
        "state": state,
        "revision": incident.revision,
        "change": change,
        "detector": detector,
        "scope": {"field": incident.scope[0], "value": incident.scope[1]},
        "severity": SEVERITIES[incident.severity],
        "opened": iso_time(incident.opened_ms),
        "first_seen": iso_time(incident.first.time_ms),
        "last_seen": iso_time(incident.last.time_ms),
        "resolved": iso_time(incident.resolved_ms) if resolved else None,
        "alerts": incident.alerts,
        "held": incident.held,
        "hidden": incident.hidden,
        "kinds": dict(incident.kinds),
        "hidden_by": dict(incident.hidden_by),
        "peak": {
            "time": iso_time(incident.peak.time_ms),
            "rarity": short_number(incident.peak.rarity),
            "alert": incident.peak.alert,
        },
        "first": _placed(incident.first),
        "last": _placed(incident.last),
        "alert_ids": list(incident.ids),
        "attributes": told_attributes(each),
        "reasons": told_reasons(incident.reasons, incident.tally.signals),
        "condition": condition(each, incident.tally, incident.reasons, reasons),
        "reopened": incident.reopened,
        "merged_into": incident.merged_into,
        "acknowledged": None if incident.acknowledged is None else incident.acknowledged.told(),
        "snoozed": None if incident.snoozed is None else incident.snoozed.told(),
        "receipt": {"configuration": fingerprint},
    }


def _placed(told: Told) -> dict[str, object]:
    return {"alert": told.alert, **told.place}
