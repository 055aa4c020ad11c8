"""Rules of people that hide what turned out to be false alarms, and that cannot hide an attack."""

from stream_detector.rules.acts import (
    LARGEST_ACT_BYTES,
    Acknowledge,
    Act,
    IncidentAct,
    RuleAdd,
    RuleDisable,
    RuleRemove,
    Snooze,
    key_of,
    kind_of,
    read_act,
    written_act,
)
from stream_detector.rules.book import (
    NOTHING,
    Disabling,
    Raised,
    RuleBook,
    Verdict,
)
from stream_detector.rules.box import Box, OneOf, Within
from stream_detector.rules.hidden import Hidden
from stream_detector.rules.rule import Rule, check_rule, time_ms_of
from stream_detector.rules.settings import RulesConfig

__all__ = [
    "LARGEST_ACT_BYTES",
    "NOTHING",
    "Acknowledge",
    "Act",
    "Box",
    "Disabling",
    "Hidden",
    "IncidentAct",
    "OneOf",
    "Raised",
    "Rule",
    "RuleAdd",
    "RuleBook",
    "RuleDisable",
    "RuleRemove",
    "RulesConfig",
    "Snooze",
    "Verdict",
    "Within",
    "check_rule",
    "key_of",
    "kind_of",
    "read_act",
    "time_ms_of",
    "written_act",
]
