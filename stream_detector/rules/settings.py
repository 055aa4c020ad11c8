"""The section `rules`: how many rules there may be, and what is remembered of them."""

from __future__ import annotations

from pydantic import Field

from stream_detector.parameters import Model, human
from stream_detector.units import Duration


class RulesConfig(Model):
    """Rules of `kafka.rules`: how many at once, and what is remembered of what they hide."""

    max_rules: int = Field(
        200,
        ge=1,
        le=10_000,
        description="Rules at once. A further one is refused, unless one has ended that may go.",
    )
    max_hidden: int = Field(
        5_000,
        ge=0,
        le=1_000_000,
        description="Hidden events remembered (some 2 kB each), so that a label can disable their "
        "rule; the oldest go first.",
    )
    after_expiry: Duration = Field(
        human("1d"),
        description="Once a rule has expired, what it covered alerts once in this time, for as "
        "long as the rule was in force.",
    )
