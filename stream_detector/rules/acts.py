"""Acts of people on the control topic: rules, and the word for incidents."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from stream_detector.errors import ActError
from stream_detector.rules.box import Text
from stream_detector.rules.rule import Moment, Owner, Rule, RuleId, Words, check_rule, time_ms_of

LARGEST_ACT_BYTES = 16 * 1024
"""An act stands in the journal, whose records brokers take up to a size."""


class _Act(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="act"):
    """What all acts have."""

    version: Literal[1]


class RuleAdd(_Act, frozen=True, tag="rule-add"):
    """A rule is to hold."""

    rule: Rule


class RuleRemove(_Act, frozen=True, tag="rule-remove"):
    """A rule is to hold no more."""

    rule: RuleId
    owner: Owner
    why: Words


class RuleDisable(_Act, frozen=True, tag="rule-disable"):
    """A rule has disabled itself in a shard, and is to hold in no other.

    Attributes:
        rule: its id.
        because: what it ran into.
        alert: the alert that says so.
    """

    rule: RuleId
    because: Moment
    alert: Text


class Acknowledge(_Act, frozen=True, tag="acknowledge"):
    """Somebody sees to an incident. ``until``: event time, None for as long as it is open."""

    incident: Text
    owner: Owner
    why: Words
    until: Moment | None = None


class Snooze(_Act, frozen=True, tag="snooze"):
    """Nothing is to be heard of an incident ``until`` an event time."""

    incident: Text
    owner: Owner
    why: Words
    until: Moment


IncidentAct: TypeAlias = Acknowledge | Snooze

Act: TypeAlias = RuleAdd | RuleRemove | RuleDisable | Acknowledge | Snooze

_DECODER = msgspec.json.Decoder(Annotated[Act, msgspec.Meta()])


def read_act(text: bytes | str) -> Act:
    """The act that a record's value holds. Raises ``ActError`` where it is none."""
    data = text.encode() if isinstance(text, str) else text
    if len(data) > LARGEST_ACT_BYTES:
        raise ActError(f"an act has at most {LARGEST_ACT_BYTES:,} bytes, not {len(data):,}")
    try:
        act: Act = _DECODER.decode(data)
        if isinstance(act, RuleAdd):
            check_rule(act.rule)
        elif isinstance(act, Acknowledge | Snooze) and act.until is not None:
            time_ms_of(act.until)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise ActError(f"no act: {error}") from error
    return act


def kind_of(act: Act) -> str:
    """Return what an act calls itself."""
    return str(type(act).__struct_config__.tag)


def key_of(act: Act) -> str:
    """Key of its record: a later act on the same thing takes its place when the topic is compacted.

    What makes incidents quiet has a key of its own for each, since one does not undo another.
    """
    match act:
        case RuleAdd():
            return f"rule:{act.rule.id}"
        case RuleRemove() | RuleDisable():
            return f"rule:{act.rule}"
        case Acknowledge():
            return f"incident:{act.incident}:acknowledge"
        case Snooze():
            return f"incident:{act.incident}:snooze"


def written_act(act: Act) -> tuple[bytes, bytes]:
    """Key and value of its record. Raises ``ActError`` where it could not be read again."""
    value = msgspec.json.encode(act)
    read_act(value)
    return key_of(act).encode(), value
