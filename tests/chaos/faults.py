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
)
"""The failpoints of the daemon, in the order in which a commit passes them."""

COMMIT_POINTS = POINTS[:5]

_KILLS = (("kill_early", 3), ("kill_ready", 9), ("failpoint", 8))
_BROKER = (("broker_restart", 1), ("broker_kill", 1), ("broker_kill_at_point", 1))
_REST = (("terminate", 1), ("freeze", 1))
_SEVERAL = (("join", 4), ("leave_group", 3))
KINDS = [kind for kind, _ in (*_KILLS, *_BROKER, *_REST, *_SEVERAL)]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        kind: what happens; the methods of ``Run`` of the same name do it.
        seconds: before it, or for how long, as the kind has it.
        point: failpoint, for the kinds that have one.
        passing: how often the point is passed first.
        lives: how many processes in a row it meets.
        choice: picks one of several workers.
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
    """Each failpoint once, in an order of the seed's."""
    generator = random.Random(f"{seed} every")
    points = [
        Fault("failpoint", point=point, passing=generator.choice((1, 2, 4))) for point in POINTS
    ]
    generator.shuffle(points)
    return points


def plan(seed: int, phase: str, *, several: bool, without: Collection[str] = ()) -> Iterator[Fault]:
    """Faults without end: each failpoint with several passings, mixed with all the others.

    ``several`` adds those that need more than one worker; ``without`` leaves kinds out.
    """
    generator = random.Random(f"{seed} {phase}")
    weighted = [*_KILLS, *_BROKER, *_REST, *(_SEVERAL if several else ())]
    kinds = [kind for kind, weight in weighted if kind not in without for _ in range(weight)]
    points = [failpoint(point, passing) for passing in (1, 2, 5, 13) for point in POINTS]
    generator.shuffle(points)
    while True:
        kind = generator.choice(kinds)
        seconds = round(generator.uniform(0.5, 5), 2)
        if kind == "failpoint":
            yield (
                points.pop()
                if points
                else failpoint(generator.choice(POINTS), generator.choice((1, 3, 8, 21)))
            )
        elif kind == "broker_kill_at_point":
            yield Fault(kind, 4.0, generator.choice(COMMIT_POINTS), generator.choice((1, 3)))
        else:
            yield Fault(kind, seconds, choice=generator.randrange(6))
