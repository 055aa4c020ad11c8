"""Search for identities: fields whose values return, and have a history. No I/O.

An identity is known by the look of its values (addresses, numbered names, card numbers) and by
their return; a name tips the balance where the values leave it open. A quantity has an order: its
neighbours in time are neighbours in value, it has a fraction, or it is one of several of its kind.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable

import numpy as np

from stream_detector.inference.profiles import Profile


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ENTITY_WORDS = _words(
    "id ip addr address host hostname user username customer client account acct card terminal "
    "device sensor machine pump merchant station name mac imei imsi msisdn iban vehicle session "
    "flow uuid guid patient subject person employee tenant cc pan konto kunde gerät geraet nutzer "
    "maschine karte anlage compte"
)
SUBJECT_WORDS = (
    "customer",
    "account",
    "card",
    "cc",
    "user",
    "client",
    "patient",
    "device",
    "sensor",
    "src",
    "source",
    "orig",
)
_OBJECT_WORDS = _words("dst dest destination resp merchant terminal server")
PASSING_WORDS = _words("flow session transaction uuid guid request trace span")
MEASURE_WORDS = _words(
    "bytes byts count cnt rate pkts pkt len length size duration time amount amt age "
    "balance mean avg std max min tot total level temperature temp speed value pressure "
    "score usage percent pct ratio"
)
_STATE_WORDS = _words(
    "state status type category class kind mode reason code version agent model os country city "
    "gender sex severity proto protocol service method unit currency field"
)
"""What is *of* an entity, and no entity: the state of a flow, the type of a card."""

ID_WORDS = _words("id uid uuid guid key ref reference number num no nr")
_PORT_WORDS = _words("port sport dport ports")
_INDEX_NAME = re.compile(r"(unnamed: ?\d+(\.\d+)?|index|idx|row(_?(id|num|number|no))?|#|nr|no\.?)")

_LEAST_REPEATS = 1.2
_LEAST_RETURNS = 4.0
_MANY_VALUES = 32
_LONG_NUMBER = 10**14
"""Beyond it a number is a name: nobody measures to fifteen digits."""

_FIXED_DIGITS = 8
_LEAST_OF_NUMBERS = 2.0
_ORDERED = 0.3
_SIBLINGS = 3
_MOST_LOOKED_AT = 2000
_UNIFORM = 1.63
"""Kolmogorov's distance times the root of n that chance exceeds once in a hundred."""

_ADDRESS = re.compile(
    r"\d{1,3}(\.\d{1,3}){3}([:/]\d+)?"  # IPv4
    # IPv6, in full or shortened: 00:02:11 is a duration or a time of day.
    r"|(?=.*::|([^:]*:){7})[0-9a-f]{0,4}(:[0-9a-f]{0,4}){2,7}(%\w+)?(/\d+)?"
    r"|[0-9a-f]{2}([:-][0-9a-f]{2}){5}"  # MAC
    r"|[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}"  # UUID
    r"|[\w.+-]+@[\w-]+(\.[\w-]+)+",  # mail
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"(.*?[^\W\d_])[\W_]?0*(\d+)", re.DOTALL)


def is_port(profile: Profile) -> bool:
    """Tell whether a field is the number of a port."""
    words = profile.leaf_words
    if not words & _PORT_WORDS and not ("p" in words and words & {"orig", "resp", "src", "dst"}):
        return False
    return profile.kind == "number" and profile.whole and bool((profile.finite <= 65_535).all())  # noqa: PLR2004 - the largest port


def named_index(profile: Profile) -> bool:
    """Tell whether a field is named as tables name the number of a row."""
    return _INDEX_NAME.fullmatch(profile.name.strip().casefold()) is not None


def is_index(profile: Profile, count: int) -> str | None:
    """Why a field is taken for the number of its row; None where it is not."""
    if profile.kind != "number" or not profile.whole or profile.distinct < 3:  # noqa: PLR2004 - no rows
        return None
    if named_index(profile) and profile.distinct > count / 3:
        return "is the number of its row"
    steps = np.diff(profile.finite)
    if profile.distinct > count / 5 and float(np.mean(steps == 1)) > 0.9:  # noqa: PLR2004 - counts on
        return "counts the rows"
    if profile.distinct == count >= 50 and not profile.grows and _spread_evenly(profile):  # noqa: PLR2004 - else chance
        return "has every number once, evenly spread: the index of a shuffled table"
    return None


def _spread_evenly(profile: Profile) -> bool:
    values = np.sort(profile.finite)
    span = values[-1] - values[0]
    if values[0] < 0 or not len(values) <= span + 1 <= 20 * len(values):
        return False
    even = (np.arange(len(values)) + 0.5) / len(values)
    distance = float(np.abs((values - values[0]) / span - even).max())
    return bool(distance * len(values) ** 0.5 < _UNIFORM)


def is_code(profile: Profile) -> str | None:
    """Why the values look like names and not like numbers or words; None where they do not."""
    texts = list(profile.counts)[:_MOST_LOOKED_AT]
    if not texts:
        return None
    if profile.kind == "number":
        return _is_number_name(profile)
    if _nearly_all(_ADDRESS.fullmatch(text.strip()) is not None for text in texts):
        return "holds addresses"
    if len(texts) < _SIBLINGS:
        return None
    matches = [_NUMBERED.fullmatch(text.strip()) for text in texts]
    starts = Counter(match[1] for match in matches if match is not None)
    if starts and max(starts.values()) >= 0.95 * len(texts):
        return f"holds numbered names ({texts[0][:20]}, {texts[1][:20]}, ...)"
    return None


def _is_number_name(profile: Profile) -> str | None:
    if not profile.whole or not len(profile.finite):
        return None
    sizes = np.abs(profile.finite)
    if float(np.mean(sizes >= _LONG_NUMBER)) > 0.5:  # noqa: PLR2004 - most of them
        return "holds numbers of so many digits that they are names"
    lengths = {len(text) if text.isdigit() else 0 for text in profile.counts}
    # Quantities of one length hardly ever come back to the last digit.
    if min(lengths) == max(lengths) >= _FIXED_DIGITS and profile.repeats >= _LEAST_OF_NUMBERS:
        return f"holds numbers of {max(lengths)} digits each, which return"
    zeros = [text for text in profile.counts if len(text) > 1 and text[0] == "0" and text.isdigit()]
    if len(zeros) > 0.01 * profile.distinct:
        return "holds numbers with leading zeros"
    return None


def is_ordered(profile: Profile) -> bool:
    """Tell whether neighbours in time are neighbours in value, as those of a measurement are."""
    values = profile.finite[: 2 * _MOST_LOOKED_AT]
    values = values[np.append(True, np.diff(values) != 0)] if len(values) else values
    if len(values) < 20:  # noqa: PLR2004 - else chance
        return False
    ranks = np.argsort(np.argsort(values)).astype(np.float64)
    if ranks.std() == 0:
        return False
    return float(np.corrcoef(ranks[:-1], ranks[1:])[0, 1]) > _ORDERED


def one_of_several(profile: Profile, names: Collection[str]) -> bool:
    """Tell whether its name differs from others only by a number: sensor_1, sensor_2, sensor_3."""
    stem = re.sub(r"\d+", "#", profile.name)
    return "#" in stem and sum(re.sub(r"\d+", "#", name) == stem for name in names) >= _SIBLINGS


def _nearly_all(found: Iterable[bool]) -> bool:
    found = list(found)
    return sum(found) >= 0.95 * len(found)


def names_entity(profile: Profile) -> bool:
    """Tell whether the name says that the field is somebody or something."""
    words = profile.leaf_words
    return bool(words & ENTITY_WORDS) and not words & (MEASURE_WORDS | _STATE_WORDS)


def identity_reason(profile: Profile, names: Collection[str]) -> str | None:
    """Why a field is an identity, by its values first; None where it is not one."""
    if profile.kind == "list" or profile.distinct < 2:  # noqa: PLR2004 - nobody to tell apart
        return None
    if (found := is_code(profile)) is not None and not profile.leaf_words & _STATE_WORDS:
        return found
    if not names_entity(profile):
        return None
    if profile.kind == "number" and (
        not profile.whole or one_of_several(profile, names) or is_ordered(profile)
    ):
        return None
    return "is named like an identity"


def returns(profile: Profile) -> bool:
    """Tell whether enough of its values come again for them to have a history."""
    return profile.repeats >= _LEAST_REPEATS


def passes(profile: Profile) -> bool:
    """Tell whether an identity is of something that is soon over: a flow, a session."""
    return bool(profile.leaf_words & PASSING_WORDS)


def could_be_key(profile: Profile) -> bool:
    """Tell whether a text without other signs has enough returning values to be a key."""
    return (
        profile.kind == "text"
        and profile.complete
        and profile.distinct >= _MANY_VALUES
        and profile.repeats >= _LEAST_RETURNS
    )


def subject_rank(profile: Profile) -> tuple[int, int]:
    """Smaller for whoever acts (a customer) than for what is acted on (a terminal)."""
    ranks = [rank for rank, word in enumerate(SUBJECT_WORDS) if word in profile.words]
    behind = bool(profile.words & _OBJECT_WORDS)
    return min(ranks, default=len(SUBJECT_WORDS)), int(behind)
