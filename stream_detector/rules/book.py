"""All rules of a shard: which hides an event, and which is disabled by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from stream_detector.detectors.stored import read_branch, read_count
from stream_detector.errors import StateMismatchError
from stream_detector.events import State
from stream_detector.rules.acts import RuleAdd, RuleDisable, RuleRemove
from stream_detector.rules.hidden import Hidden, HiddenEvents
from stream_detector.rules.settings import RulesConfig
from stream_detector.rules.standing import Phase, Standing


@dataclass(frozen=True, slots=True)
class Raised:
    """A raised event, or a finding of a monitor, as far as rules ask about it.

    Attributes:
        value_of: its value under the name of a field or feature; None where it has none.
        reasons: gives its reasons, largest share first; asked where a box covers it alone.
        rarity: one in so many is as strange.
        time_ms: event time.
        mark_ms: the stream's watermark.
        rarity_of: rarity of a score as of now; None of a finding.
        monitor: whose finding it is; empty of an event.
    """

    value_of: Callable[[str], Any]
    reasons: Callable[[], list[dict[str, Any]]]
    rarity: float
    time_ms: int
    mark_ms: int
    rarity_of: Callable[[float], float] | None = None
    monitor: str = ""


@dataclass(frozen=True, slots=True)
class Disabling:
    """A rule that disables itself.

    Attributes:
        standing: the rule and what it has hidden; None where it was disabled before, or is gone.
        because: why: ``label``, ``rarer`` or ``flood``.
        event: the hidden event that a label has brought to light; None where an event that was not
            hidden shows it.
    """

    standing: Standing | None
    because: str
    event: Hidden | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rules say of a raised event.

    Attributes:
        hidden_by: id of the rule that hides it, or holds it back after expiry; empty: none does.
        expired: whether that rule had expired.
        note: what its alert is to say of rules; None: nothing.
        disabled: rules that disable themselves because of it.
    """

    hidden_by: str = ""
    expired: bool = False
    note: dict[str, Any] | None = None
    disabled: Sequence[Disabling] = field(default=())


NOTHING = Verdict()
"""No rule has to do with it."""


class RuleBook:
    """Rules in the order in which they came.

    State: at most ``max_rules`` rules with their counts, and the events remembered of what they
    hid (``HiddenEvents``). A rule that comes when the book is full takes the place of the oldest
    that is disabled or over; where none is, it is refused: an alert too many, never one too few.
    """

    def __init__(self, settings: RulesConfig) -> None:
        self._most = settings.max_rules
        self._period_ms = int(settings.after_expiry * 1000)
        self._standings: dict[str, Standing] = {}
        self.hidden_events = HiddenEvents(settings.max_hidden)

    def __bool__(self) -> bool:
        return bool(self._standings)

    @property
    def standings(self) -> list[Standing]:
        """All rules, the oldest first."""
        return list(self._standings.values())

    def phases(self, mark_ms: int) -> Counter[Phase]:
        """Count the rules by how they stand."""
        return Counter(one.phase(mark_ms) for one in self._standings.values())

    # --- acts ---

    def add(self, act: RuleAdd, mark_ms: int) -> str:
        """Take a rule in. Returns ``taken``, ``known`` or ``full``.

        One of an id that is there changes nothing: what was disabled stays so.
        """
        rule = act.rule
        if rule.id in self._standings:
            return "known"
        if len(self._standings) >= self._most and not self._make_room(mark_ms):
            return "full"
        self._standings[rule.id] = Standing(rule)
        return "taken"

    def _make_room(self, mark_ms: int) -> bool:
        for phase in ("over", "disabled"):
            for name, standing in self._standings.items():
                if standing.phase(mark_ms) == phase:
                    self._forget(name)
                    return True
        return False

    def remove(self, act: RuleRemove) -> str:
        """Take a rule out. Returns ``taken``, or ``unknown`` where there is none of this id."""
        return "taken" if self._forget(act.rule) else "unknown"

    def disable(self, act: RuleDisable) -> str:
        """Another shard has disabled a rule. Returns ``taken``, ``known`` or ``unknown``."""
        standing = self._standings.get(act.rule)
        if standing is None:
            return "unknown"
        if standing.disabled:
            return "known"
        standing.disabled = "elsewhere"
        return "taken"

    def _forget(self, name: str) -> bool:
        # What it hid stays remembered: a label may still bring that to light.
        return self._standings.pop(name, None) is not None

    # --- events ---

    def judge(self, raised: Raised) -> Verdict:
        """Say whether a raised event is hidden, and which rules it disables.

        A rule has to do with what lies in its box and is strange for the reasons that the rule was
        made from. Where such an event disables one, it alerts, whatever others say.
        """
        covering = [one for one in self._standings.values() if self._covers(one, raised)]
        if not covering:
            return NOTHING
        beaten = [
            one for one in covering if raised.rarity >= one.rule.stranger_from(raised.rarity_of)
        ]
        if beaten:
            note = {"id": beaten[0].rule.id, "disabled": "rarer"}
            disabled = [self._disabled(one, "rarer") for one in beaten]
            return Verdict(note=note, disabled=disabled)
        # One that holds hides; only where none does, one that has expired says so.
        covering.sort(key=lambda one: one.phase(raised.mark_ms) == "expired")
        first, name = covering[0], covering[0].rule.id
        if first.phase(raised.mark_ms) == "expired":
            held = first.hold(raised.mark_ms, self._period_ms)
            if held is None:
                return Verdict(name, expired=True)
            return Verdict(note={"id": name, "expired": first.rule.expires, "held": held})
        if first.hide(raised.time_ms, raised.mark_ms):
            return Verdict(name)
        disabling = self._disabled(first, "flood")
        return Verdict(note={"id": name, "disabled": "flood"}, disabled=[disabling])

    def _covers(self, standing: Standing, raised: Raised) -> bool:
        rule = standing.rule
        return (
            rule.monitor == raised.monitor
            and standing.phase(raised.mark_ms) in ("active", "expired")
            and rule.box.covers(raised.value_of)
            and rule.explains(raised.reasons())
        )

    @staticmethod
    def _disabled(standing: Standing, because: str, event: Hidden | None = None) -> Disabling:
        standing.disabled = because
        return Disabling(standing, because, event)

    def remember(self, event: Hidden) -> None:
        """Remember what was hidden."""
        self.hidden_events.add(event)

    def take_labels(
        self, identities: Sequence[int], labels: Sequence[float]
    ) -> list[tuple[int, Disabling]]:
        """Labels came by the ids of events: a rule that hid a positive one is disabled.

        Returns:
            Every positive event that was hidden, with which of the labels said so; also those of a
            rule that is disabled already, or gone.
        """
        if not len(self.hidden_events):
            return []
        found = self.hidden_events.take(identities, labels)
        return [(row, self._shown(event)) for row, event in found]

    def mature(self, now_ms: int) -> list[Disabling]:
        """Likewise of labels that lie inside the events, and may be known at ``now_ms``."""
        return [self._shown(event) for event in self.hidden_events.mature(now_ms)]

    def _shown(self, event: Hidden) -> Disabling:
        standing = self._standings.get(event.rule)
        if standing is None or standing.disabled:
            return Disabling(None, "label", event)
        return self._disabled(standing, "label", event)

    def go_back(self, mark_ms: int, latest_due_ms: int) -> None:
        """The watermark was wrong and is ``mark_ms``; labels are due by ``latest_due_ms``."""
        for standing in self._standings.values():
            standing.go_back(mark_ms, self._period_ms)
        self.hidden_events.go_back(latest_due_ms)

    # --- state ---

    def state(self) -> State:
        """Rules and remembered events."""
        return {
            "rules": [standing.state() for standing in self._standings.values()],
            **self.hidden_events.state(),
        }

    def restore(self, state: State) -> None:
        """Take ``state`` in. Raises ``StateMismatchError`` where it is none."""
        rules, events = state["rules"], state["events"]
        if not isinstance(rules, list) or not isinstance(events, list):
            raise StateMismatchError("the rules of the state are no list")
        found = [Standing.of(read_branch({"rule": one}, "rule")) for one in rules]
        self._standings = {one.rule.id: one for one in found}
        if len(self._standings) != len(found):
            raise StateMismatchError("the state has two rules of one id")
        self.hidden_events.restore(events, read_count(state, "forgotten"))
