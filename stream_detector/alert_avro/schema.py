"""The Avro schema of alerts. ``python -m stream_detector.alert_avro.schema`` prints it.

Fields are typed where every alert has them; whatever else a kind of alert says goes into ``more``
of its record, each value as JSON text. So a kind that is new needs no new schema. A later schema
may add fields with a default, and change or drop none: then each reads what another has written.
"""

from __future__ import annotations

from typing import Any

import msgspec

MORE = "more"
"""Field of each record: by name, as JSON text, what the schema does not name or type so."""

NAMESPACE = "io.stream_detector"
_MOMENT = {"type": "long", "logicalType": "timestamp-millis"}


def _field(name: str, kind: Any, doc: str) -> dict[str, Any]:
    return {"name": name, "type": kind, "doc": doc}


def _optional(name: str, kind: Any, doc: str) -> dict[str, Any]:
    kinds = kind if isinstance(kind, list) else [kind]
    return {"name": name, "type": ["null", *kinds], "default": None, "doc": doc}


def _record(name: str, doc: str, *fields: dict[str, Any]) -> dict[str, Any]:
    more = {
        "name": MORE,
        "type": {"type": "map", "values": "string"},
        "default": {},
        "doc": "Further fields, each as JSON text: what later versions and kinds of alerts say.",
    }
    return {"type": "record", "name": name, "doc": doc, "fields": [*fields, more]}


_SUPPRESSION = _record(
    "Suppression",
    "What was held back.",
    _field("key", "string", "What alerts are grouped by."),
    _field("suppressed", "long", "Alerts of this key held back since its last one."),
    _optional("rarer_than", "double", "Rarity of the key's last alert, within its period."),
)
_REASON = _record(
    "Reason",
    "A feature's part in the score.",
    _field("feature", "string", "A field, or KEY.STATISTIC_HALFLIFE of a window."),
    _optional("value", ["boolean", "double", "string"], "Its value; null where it is missing."),
    _field("share", "double", "Its part, 0 to 1, in what is explained."),
    _optional("deviations", "double", "Standard deviations from the running mean."),
    _optional("usual", {"type": "array", "items": "double"}, "Lower and upper end."),
)
_CHANGE = _record(
    "Change",
    "A feature as it would have been ordinary: one value, or a range.",
    _field("feature", "string", "As in a reason."),
    _optional("equals", ["boolean", "double", "string"], "The value; null where there is a range."),
    _optional("at_least", "double", "Lower end; null where it goes on to what was seen."),
    _optional("at_most", "double", "Upper end, likewise."),
)
_ORDINARY = _record(
    "Ordinary",
    "What would have made the event ordinary.",
    _field("changes", {"type": "array", "items": _CHANGE}, "At most three, all of them together."),
    _field("score", "double", "What the event has with them, below the threshold."),
)
_RULE = _record(
    "Rule",
    "A rule that has to do with it: it has expired or disabled itself.",
    _field("id", "string", "Its id."),
    _optional("disabled", "string", "Why it has disabled itself: label, rarer or flood."),
    _optional("expired", "string", "When it has expired."),
    _optional("held", "long", "Held back since the last such alert."),
    _optional("alert", "string", "Id of the alert that it ran into."),
    _optional("owner", "string", "Who answers for it."),
    _optional("why", "string", "What it was made for."),
    _optional("made", "string", "Event time from which on it held."),
    _optional("expires", "string", "Event time up to which it was to hold."),
    _optional("covers", "string", "What it covered, in words."),
    _optional("hidden", "long", "How many events or findings it has hidden."),
    _optional("first_hidden", "string", "Event time of the first of them."),
    _optional("last_hidden", "string", "Event time of the last."),
)
_MONITOR = _record(
    "Monitor",
    "What a monitor has found.",
    _field("name", "string", "The monitor."),
    _optional("field", "string", "Field that events are counted by; null: all together."),
    _optional("key", "string", "The key that it is about; empty without a field."),
    _optional("start", _MOMENT, "Beginning of the buckets looked at."),
    _optional("end", _MOMENT, "Their end."),
    _optional("actual", "double", "What was there, events as a rule."),
    _optional("expected", "double", "What was to be expected."),
)
_RECEIPT = _record(
    "Receipt",
    "What is needed to compute the alert again.",
    _optional("topic", "string", "Topic of the input record; null where a tick has shown it."),
    _optional("partition", "int", "Its partition."),
    _optional("offset", "long", "Its offset."),
    _optional("tick", _MOMENT, "Time that had gone on without an event."),
    _optional("shard", "int", "The shard whose tick it is."),
    _field("configuration", "string", "Fingerprint of the configuration."),
    _field("sequence", "long", "Accepted events of the shard before this one."),
    _field("chunk", "long", "Chunks that the model had learnt."),
    _field("state", "string", "Running hash over all scores of the chunks learnt."),
    _field("features", {"type": "array", "items": "double"}, "What the model was given."),
)
ALERT = {
    **_record(
        "Alert",
        "An alert of stream-detector. docs/alerts.md says what the fields mean.",
        _field("id", "string", "TOPIC-PARTITION-OFFSET; of a monitor KIND:MONITOR:KEY:END."),
        _optional("kind", "string", "Of a monitor, or rule; null where it is about one event."),
        _field("detector", "string", "Name of the configuration."),
        _optional("event_id", "string", "Content of the field that event.id names."),
        _field("event_time", _MOMENT, "The event's own time; of a monitor its buckets' end."),
        _optional("rule", _RULE, "Only where a rule has to do with it."),
        _optional("suppression", _SUPPRESSION, "Only where suppression is configured."),
        _field("score", "double", "Higher is stranger."),
        _field("threshold", "double", "What the score had to exceed."),
        _field("rarity", "double", "One event in how many has such a score."),
        _field("severity", "string", "low, medium, high or critical."),
        _field("model", "string", "Kind of the detector, or of the monitor."),
        _field("reasons", {"type": "array", "items": _REASON}, "Largest share first."),
        _optional("ordinary", _ORDINARY, "Only where some change holds that was tried."),
        _optional("monitor", _MONITOR, "Only in alerts of a monitor."),
        _field("receipt", _RECEIPT, "Where the event lies and what scored it."),
        _optional("event", "string", "The original event as JSON text; null of a monitor."),
    ),
    "namespace": NAMESPACE,
}

ALERT_SCHEMA = msgspec.json.encode(ALERT).decode()
"""The schema as it is registered."""

if __name__ == "__main__":
    print(msgspec.json.format(ALERT_SCHEMA, indent=2))  # noqa: T201 - what this is called for
