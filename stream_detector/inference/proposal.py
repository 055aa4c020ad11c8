"""From a sample of events to a proposal for a configuration, each choice with its reason. No I/O.

Everything is a guess that a person can read and change: what is left out says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stream_detector.events import Float64
from stream_detector.inference.choices import (
    FEW_VALUES,
    amount_of,
    category_feature,
    is_money,
    numeric_feature,
    spelling_of,
    unusable_reason,
    window_of,
)
from stream_detector.inference.judgements import (
    CODE_WORDS,
    common_values,
    is_boolean,
    leak_reason,
    missing_rule,
    range_of,
    readable_duration,
    tells,
)
from stream_detector.inference.keys import (
    ID_WORDS,
    could_be_key,
    identity_reason,
    is_index,
    is_port,
    named_index,
    names_entity,
    passes,
    returns,
    subject_rank,
)
from stream_detector.inference.labels import (
    ABOUT_LABEL_WORDS,
    LABEL_WORDS,
    LEAST_SCORE,
    ask,
    guess_label,
    label_score,
)
from stream_detector.inference.monitors import propose_monitors
from stream_detector.inference.parts import Proposal
from stream_detector.inference.profiles import Profile, profiles_of
from stream_detector.inference.times import (
    TimeChoice,
    calendar_part,
    choose_time,
    is_lone_part,
    is_unread_time,
    only_dates,
    shuffled_warning,
)

_DAY_SECONDS = 86_400.0
THIRD_KEY = "is an identity; two windows are enough"
_CYCLES_SEEN = 2


def infer(events: Sequence[Mapping[str, Any]], share: float | None = None) -> Proposal:
    """Propose a configuration.

    Args:
        events: the sample, at least one event, in order.
        share: which part of all of the data it is, where that can be estimated.
    """
    return _Inference(profiles_of(events), len(events)).run(share)


class _Inference:
    """Takes roles away from the fields one after the other; what is left becomes features.

    State: the fields without a role yet, the proposal so far, and what was found for later steps.
    """

    def __init__(self, profiles: list[Profile], count: int) -> None:
        self._open = {profile.name: profile for profile in profiles}
        self._names = tuple(self._open)
        self._count = count
        self._proposal = Proposal(profiles=dict(self._open))
        self._truth: Float64 | None = None
        self._span_seconds = float(count)  # rows of a file without a time count as one a second

    def run(self, share: float | None) -> Proposal:
        """All steps; their order matters. ``share``: of the data that the sample is."""
        self._drop_unreadable()
        self._find_label()
        self._find_time()
        self._drop_leaks()
        self._find_id()
        self._drop_repeated()
        keys = self._find_keys()
        self._make_features()
        self._make_windows(keys)
        self._propose_monitors(share)
        return self._proposal

    def _propose_monitors(self, share: float | None) -> None:
        proposal = self._proposal
        names = [str(window["key"]) for window, _ in proposal.windows]
        names += [
            str(entry["categorical"]) for entry, _ in proposal.features if "categorical" in entry
        ]
        names += [name for name, reason in proposal.left_out if reason == THIRD_KEY]
        proposal.monitors = propose_monitors(
            proposal.profiles,
            list(dict.fromkeys(names)),
            proposal.time,
            proposal.event.get("time", {}).get("zone"),
            self._span_seconds / share / _DAY_SECONDS if share else None,
            [str(f["numeric"]) for f, _ in proposal.features if "numeric" in f],
        )

    def _leave_out(self, name: str, reason: str) -> None:
        del self._open[name]
        self._proposal.left_out.append((name, reason))

    def _drop_unreadable(self) -> None:
        for name, profile in list(self._open.items()):
            if (reason := unusable_reason(profile, self._open)) is not None:
                del self._open[name]
                self._proposal.left_out.append((name[:200], reason))

    # --- roles --------------------------------------------------------------------------------

    def _find_label(self) -> None:
        scores = {name: label_score(profile) for name, profile in self._open.items()}
        # Of several the last one: a label is what was added to the data.
        best = max(reversed(scores), key=scores.__getitem__, default=None)
        if best is None or scores[best] < LEAST_SCORE:
            return
        guess = guess_label(self._open[best])
        if guess is None:
            self._proposal.warnings.append(f"{best} {ask(self._open[best])}")
            self._leave_out(best, ask(self._open[best]))
            return
        self._truth, self._proposal.label = guess.truth, guess
        self._proposal.labels = guess.labels
        if not guess.sure:
            self._proposal.warnings.append(
                f"{best}: the rarer of its two values, {guess.told}, was taken for anomalous; if "
                "it is the other one, change `labels`"
            )
        del self._open[best]

    def _find_time(self) -> None:
        choice, rejected = choose_time(list(self._open.values()))
        for name, reason in rejected.items():
            self._leave_out(name, reason)
        if warning := shuffled_warning(rejected):
            self._proposal.warnings.append(warning)
        if choice is not None:
            self._take_time(choice)
        for name, profile in list(self._open.items()):
            if is_unread_time(profile):
                self._leave_out(name, "is named like a time but holds none that can be read")
            elif is_lone_part(profile):
                self._leave_out(
                    name,
                    "is a part of the calendar, which is new at the first midnight or month: "
                    "`time: hour_of_day` waits until the stream has been through a day",
                )

    def _take_time(self, choice: TimeChoice) -> None:
        named: dict[str, Any] = {"fields": list(choice.fields)}
        if len(choice.fields) == 1:
            named = {"field": choice.fields[0]}
        self._proposal.event["time"] = named | choice.column.format.as_config()
        self._proposal.time = choice
        self._proposal.warnings += choice.warnings
        if choice.max_behind_days is not None:
            self._proposal.event["max_behind"] = f"{choice.max_behind_days}d"
        times = choice.times
        self._span_seconds = max(1.0, float(times.max() - times.min()) / 1000)
        for name in choice.fields:
            self._open.pop(name, None)
        whole = " and ".join(choice.fields)
        for name in choice.others:
            if name in self._open:
                self._leave_out(name, f"is another time; {whole} is taken")
        for name, profile in list(self._open.items()):
            if (part := calendar_part(profile, choice)) is not None:
                self._leave_out(name, f"is the {part} of {whole}, and new at the first change")

    def _drop_leaks(self) -> None:
        if self._truth is None:
            return
        for name, profile in list(self._open.items()):
            about = profile.words & LABEL_WORDS or profile.words <= ABOUT_LABEL_WORDS - CODE_WORDS
            if about:
                self._leave_out(name, "is named like the label: it may tell the answer")
            elif reason := leak_reason(profile, self._truth):
                self._leave_out(name, reason)
            elif profile.kind == "number" and tells(profile, self._truth):
                self._proposal.warnings.append(
                    f"{name} alone nearly gives the label; if it is known only afterwards, take it "
                    "out of `features`"
                )

    def _find_id(self) -> None:
        unique = [
            profile
            for profile in self._open.values()
            if profile.distinct == self._count > 1 and (profile.kind == "text" or profile.whole)
        ]
        named = [
            profile
            for profile in unique
            if profile.words & ID_WORDS
            and (profile.kind == "text" or profile.integers)
            and not named_index(profile)
        ]
        for profile in unique:
            if named and profile is named[0]:
                self._proposal.event["id"] = profile.name
                del self._open[profile.name]
            elif is_index(profile, self._count) is None and (
                profile.kind == "text"
                or names_entity(profile)
                or identity_reason(profile, self._names) is not None
            ):
                self._leave_out(profile.name, "differs in every event")
        for name, profile in list(self._open.items()):
            if reason := is_index(profile, self._count):
                self._leave_out(name, reason)

    def _drop_repeated(self) -> None:
        seen: dict[tuple[Any, ...], str] = {}
        for name, profile in list(self._open.items()):
            first = seen.setdefault(tuple(profile.values), name)
            if first != name and profile.distinct > 1:
                self._leave_out(name, f"always equals {first} in the sample")
            elif profile.kind == "number" and profile.grows:
                self._leave_out(name, "only ever grows: it counts, and tells the model the date")

    def _find_keys(self) -> list[Profile]:
        """Fields whose values have a history; at most two, subjects before objects."""
        keys = []
        for name, profile in list(self._open.items()):
            if is_port(profile):
                self._leave_out(name, "is a port: it tells who talks to whom, not how")
                continue
            reason = identity_reason(profile, self._names)
            if reason is None:
                continue
            if not returns(profile):
                self._leave_out(name, f"{reason}, and hardly ever repeats in the sample")
            elif passes(profile):
                self._leave_out(name, f"{reason}, of something that is soon over")
            elif not profile.complete:
                self._leave_out(name, f"{reason}, and sometimes missing, which no key may be")
            else:
                keys.append(profile)
                del self._open[name]
        keys.sort(key=subject_rank)
        for profile in keys[2:]:
            self._proposal.left_out.append((profile.name, THIRD_KEY))
        if not keys:
            keys = self._key_by_return()
        return keys[:2]

    def _key_by_return(self) -> list[Profile]:
        """Without any sign of an identity: the text with the most values that return, if any.

        It stays a category, too.
        """
        fit = [profile for profile in self._open.values() if could_be_key(profile)]
        fit.sort(key=lambda profile: -profile.distinct)
        return fit[:1]

    # --- features and windows -----------------------------------------------------------------

    def _make_features(self) -> None:
        constant = {name for name, profile in self._open.items() if profile.distinct == 1}
        for name in [*(n for n in self._open if n not in constant), *constant]:
            profile = self._open[name]
            code = profile.words & CODE_WORDS and profile.integers
            few = profile.distinct <= FEW_VALUES
            if is_boolean(profile):
                feature = {"boolean": name} | missing_rule(profile)
                self._proposal.features.append((feature, common_values(profile)))
            elif profile.kind == "number" and not (code and few and name not in constant):
                self._proposal.features.append((numeric_feature(profile), range_of(profile)))
            else:
                self._add_category(profile)
            if name not in constant:
                self._proposal.varying = len(self._proposal.features)
        self._add_cycles()

    def _add_cycles(self) -> None:
        """Hours and days only where the sample has been through two of their cycles."""
        if "time" not in self._proposal.event:
            return
        dated = self._proposal.time is not None and only_dates(self._proposal.time.times)
        for part, days in (("hour_of_day", 1), ("day_of_week", 7)):
            if dated and part == "hour_of_day":
                self._proposal.left_out.append((part, "the times are dates without an hour"))
                continue
            if self._span_seconds >= _CYCLES_SEEN * days * _DAY_SECONDS:
                self._proposal.features.append(({"time": part}, "UTC; see utc_offset"))
                continue
            whole = "a day" if days == 1 else "a week"
            reason = (
                f"the sample covers {readable_duration(self._span_seconds)}, less than twice "
                f"{whole}; where it matters add `- {{ time: {part} }}`, which waits until the "
                f"stream has been through {whole}"
            )
            self._proposal.left_out.append((part, reason))

    def _add_category(self, profile: Profile) -> None:
        feature = category_feature(profile)
        if isinstance(feature, str):
            self._leave_out(profile.name, feature)
        else:
            self._proposal.features.append((feature, common_values(profile)))

    def _make_windows(self, keys: list[Profile]) -> None:
        numeric = [str(f["numeric"]) for f, _ in self._proposal.features if "numeric" in f]
        profiles = [self._open[name] for name in numeric]
        amount = amount_of([each for each in profiles if each.complete and each.distinct > 1])
        for profile in keys:
            seconds = self._span_seconds * profile.distinct / self._count
            # Whose money it is has a level of his own; where it is spent is everybody's.
            slow = profile is keys[0] and amount is not None and is_money(self._open[amount])
            self._proposal.windows.append(window_of(profile, amount, seconds, slow=slow))
        if keys:
            self._proposal.suppression = {"key": keys[0].name, "period": "1h"}
        self._proposal.event |= spelling_of(profiles)
