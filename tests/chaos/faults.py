"""Which faults fall, in an order that the seed decides."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from typing import Any

POINTS = (
    "after_poll",
    "mid_produce",
    "after_flush",
    "after_offsets",
    "after_commit",
    "snap_tmp",
    "snap_renamed",
    "in_replay",
    "ticked",
)
"""The failpoints of the daemon, in the order in which a commit passes them; then that of a tick."""

BACKLOG_POINTS = POINTS[:-1]
"""Those that are passed where there is input: a tick wants a stream that has fallen silent."""

COMMIT_POINTS = POINTS[:5]

_KILLS = (("kill_early", 4), ("kill_ready", 12), ("failpoint", 12))
_BROKERS = (
    ("broker_restart", 1),
    ("broker_kill", 2),
    ("broker_kill_at_point", 1),
    ("outage", 1),
    ("leaders_move", 3),
)
_REST = (("terminate", 1), ("freeze", 1))
_OPERATOR = (("partitions_added", 1), ("partitions_added_in_replay", 2), ("offsets_reset", 1))
_SEVERAL = (("join", 5), ("leave_group", 2), ("kill_all", 10))
_LIVE = (("hanging_transaction", 3), ("silence", 4))
_REPLAYS = (("partitions_added_in_replay", 12),)
KINDS = [k for k, _ in (*_KILLS, *_BROKERS, *_REST, *_OPERATOR, *_SEVERAL, *_LIVE)]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        kind: what happens; ``chaos.acts`` has a function of the same name.
        seconds: before it, or for how long, as the kind has it.
        point: failpoint, for the kinds that have one.
        passing: how often the point is passed first.
        lives: how many processes in a row it meets.
        choice: picks one of several workers, brokers, partitions.
    """

    kind: str
    seconds: float = 0.0
    point: str = ""
    passing: int = 1
    lives: int = 1
    choice: int = 0

    def to_json(self) -> dict[str, Any]:
        """Its fields that say something."""
        usual = asdict(Fault(self.kind))
        return {
            name: value
            for name, value in asdict(self).items()
            if name == "kind" or value != usual[name]
        }


def failpoint(point: str, passing: int) -> Fault:
    """A kill at a point; in the replay three in a row, since replay must bear repetition."""
    if point == "in_replay":
        return Fault("failpoint", point=point, passing=1, lives=3)
    return Fault("failpoint", point=point, passing=passing)


def every_failpoint(seed: int) -> list[Fault]:
    """Each failpoint of a backlog once, in an order of the seed's."""
    generator = random.Random(f"{seed} every")
    points = [
        Fault("failpoint", point=point, passing=generator.choice((1, 2)))
        for point in BACKLOG_POINTS
    ]
    generator.shuffle(points)
    return points


def plan(seed: int, phase: str, *, several: bool, without: Collection[str] = ()) -> Iterator[Fault]:
    """Faults without end: each failpoint with several passings, mixed with all the others.

    Kinds are dealt like a pack of cards that is shuffled anew when it is used up, so that each
    comes before any comes too often. ``several`` adds those that need more than one worker; a
    phase named ``live`` gets those of live input, one named ``replay`` more of those that fall
    into a replay; ``without`` leaves kinds out.
    """
    generator = random.Random(f"{seed} {phase}")
    weighted = [*_KILLS, *_BROKERS, *_REST, *_OPERATOR, *(_SEVERAL if several else ())]
    weighted += _LIVE if phase.startswith("live") else ()
    weighted += _REPLAYS if phase.startswith("replay") else ()
    kinds = [kind for kind, weight in weighted if kind not in without for _ in range(weight)]
    points = [failpoint(point, passing) for passing in (1, 2, 5, 13) for point in BACKLOG_POINTS]
    generator.shuffle(points)
    pack: list[str] = []
    while True:
        if not pack:
            pack = list(kinds)
            generator.shuffle(pack)
        kind = pack.pop()
        seconds, choice = round(generator.uniform(0.3, 4), 2), generator.randrange(60)
        if kind == "failpoint":
            yield (
                points.pop()
                if points
                else failpoint(generator.choice(BACKLOG_POINTS), generator.choice((1, 3, 8, 21)))
            )
        elif kind == "silence":
            yield Fault(kind, point="ticked", passing=generator.choice((1, 1, 2)))
        elif kind == "broker_kill_at_point":
            point = generator.choice(COMMIT_POINTS)
            yield Fault(kind, 4.0, point, generator.choice((1, 3)), choice=choice)
        else:
            yield Fault(kind, seconds, choice=choice)
