"""A finding of a monitor of places, and how it is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stream_detector.monitors.base import Finding
from stream_detector.monitors.surprise import as_deviations


@dataclass(frozen=True, slots=True)
class StrangePlace(Finding):
    """An event at a place where it is strange that its key is.

    Attributes:
        latitude: of it, in degrees.
        longitude: of it.
        distance_km: to the nearest place where the key was seen.
        travelled_km: from its last event.
        hours: since that.
        speed: in km/h.
        limit: what nobody has.
        radius_km: what belongs to a place.
        is_jump: whether it is the speed that is alerted, rather than the distance.
        events: of the key before.
        places: where it was seen.
        chance: share of the key's events that are as strange, as estimated.
    """

    latitude: float
    longitude: float
    distance_km: float
    travelled_km: float
    hours: float
    speed: float
    limit: float
    radius_km: float
    is_jump: bool
    events: int
    places: int
    chance: float

    def reasons(self) -> list[dict[str, Any]]:
        """One: the speed, or the distance."""
        often = f"1 event in {max(round(1 / self.chance), 1):,} of {self.key or 'the stream'}"
        if self.is_jump:
            text = (
                f"{self.travelled_km:,.0f} km from the event before, {_span(self.hours)} apart: at "
                f"least {self.speed:,.0f} km/h; {often} is as fast"
            )
            feature, value, most = "speed_kmh", self.speed, self.limit
        else:
            text = (
                f"{self.distance_km:,.0f} km from the nearest of {self.places} places where it was "
                f"seen in {self.events:,} events; {often} is as far from all"
            )
            feature, value, most = "distance_km", self.distance_km, self.radius_km
        deviations = as_deviations(self.score)
        reason = {"feature": feature, "value": value, "share": 1.0, "deviations": deviations}
        return [{**reason, "usual": [0.0, most], "text": text}]

    def details(self) -> dict[str, Any]:
        """Where, how far from what, and how fast."""
        return {
            "value": f"{self.latitude:.4f}, {self.longitude:.4f}",
            "actual": self.speed if self.is_jump else self.distance_km,
            "expected": self.chance,
            "events": self.events,
            "places": self.places,
            "distance_km": self.distance_km,
            "travelled_km": self.travelled_km,
            "speed_kmh": self.speed,
        }


def _span(hours: float) -> str:
    minutes = hours * 60
    if minutes < 1:
        return f"{minutes * 60:.0f} s"
    return f"{minutes:.0f} min" if hours < 2 else f"{hours:.1f} h"  # noqa: PLR2004
