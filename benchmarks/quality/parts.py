"""What is measured: the comparison, here and elsewhere, seeds, members, warm-up, ablation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from . import data, fresh, keel
from .peers import PEERS, SLOW

Settings = dict[str, Any]

SMALL = ("cardio", "satimage-2", "pendigits", "mammography", "ionosphere", "pima")
SEEDS = (2, 3, 4)
OURS: dict[str, Settings] = {
    "adaptive_ensemble": {"kind": "adaptive_ensemble"},
    "ensemble": {"kind": "ensemble"},
}
"""The default, and what was the default before it."""

WARM_UP_ROWS = 2048
WARM_UP = ("nsl_kdd", "kdd99_flipped", "cover")


@dataclass(frozen=True)
class Task:
    """What to measure.

    Attributes:
        part: the table that it is for.
        detector: what the table calls it.
        stream: a name that ``data.load`` knows.
        settings: sections of our configuration; the rest is left out.
        peer: a name out of ``PEERS`` instead of ours.
        seed: of a peer.
        warm_up: so many normal rows come first, chosen by their label, and are not scored.
        rows: only so many first rows.
        varied: only columns that vary among the warm-up's rows (``data.near_constant``).
    """

    part: str
    detector: str
    stream: str
    settings: Settings | None = None
    peer: str | None = None
    seed: int = 1
    warm_up: int = 0
    rows: int | None = None
    varied: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        return self.part, self.detector, self.stream


def comparison(streams: Sequence[str]) -> Iterator[Task]:
    """The default, the one before it, and every peer."""
    for name, section in OURS.items():
        for stream in streams:
            yield Task("comparison", name, stream, {"detector": section})
    for name in PEERS:
        for stream in streams:
            yield Task("comparison", name, stream, peer=name)


ELSEWHERE = tuple(name for name, peer in PEERS.items() if peer.rows is None or peer.rows >= SLOW)
"""All peers but those that manage about a hundred events a second."""


def elsewhere(_streams: Sequence[str]) -> Iterator[Task]:
    """The default, its members and peers on streams that nobody looked at before."""
    for name, section in MEMBERS.items():
        for stream in keel.NAMES:
            yield Task("elsewhere", name, stream, {"detector": section})
    for name in ELSEWHERE:
        for stream in keel.NAMES:
            yield Task("elsewhere", name, stream, peer=name)


def seeds(streams: Sequence[str]) -> Iterator[Task]:
    """The default and River's trees with other seeds: how far chance alone moves the figures."""
    for seed in SEEDS:
        for name, section in OURS.items():
            for stream in streams:
                seeded = {"detector": {**section, "seed": seed}}
                yield Task("seeds", f"{name}, seed {seed}", stream, seeded)
    for name in ("river-hst", "river-hst-25x10"):
        for seed in SEEDS:
            for stream in streams:
                if stream in SMALL:
                    yield Task("seeds", f"{name}, seed {seed}", stream, peer=name, seed=seed)


MEMBERS: dict[str, Settings] = {
    **OURS,
    "ensemble without neighbours": {"kind": "ensemble", "neighbours": False},
    "half_space_forest": {"kind": "half_space_forest"},
    "loda": {"kind": "loda"},
    "nearest_neighbours": {"kind": "nearest_neighbours"},
    "random_fourier": {"kind": "random_fourier"},
    "autoencoder": {"kind": "autoencoder"},
}
"""The default, the one before it, and their members alone."""


def members(streams: Sequence[str]) -> Iterator[Task]:
    """The members alone, and the ensemble without its autoencoder."""
    sections = {name: section for name, section in MEMBERS.items() if name not in OURS}
    sections["ensemble without autoencoder"] = {"kind": "ensemble", "autoencoder": False}
    for name, section in sections.items():
        for stream in streams:
            yield Task("members", name, stream, {"detector": section})


def adaptive(streams: Sequence[str]) -> Iterator[Task]:
    """The default beside the one before it, with three seeds."""
    for name, section in OURS.items():
        for seed in (0, 1, 2):
            seeded = {"detector": {**section, "seed": seed}}
            for stream in (*streams, *keel.NAMES):
                yield Task("adaptive", f"{name}, seed {seed}", stream, seeded)


FRESH_SEEDS = (1, 2)


def fresh_streams(_streams: Sequence[str]) -> Iterator[Task]:
    """Both ensembles, their members and peers on streams that nobody had looked at."""
    members_alone = {name: MEMBERS[name] for name in MEMBERS if not name.startswith("ensemble")}
    for name, section in (OURS | members_alone).items():
        for stream in fresh.NAMES:
            yield Task("fresh", name, stream, {"detector": section})
    for name in ELSEWHERE:
        for stream in fresh.NAMES:
            yield Task("fresh", name, stream, peer=name)
    for seed in FRESH_SEEDS:
        for kind, section in OURS.items():
            for stream in fresh.NAMES:
                settings = {"detector": {**section, "seed": seed}}
                yield Task("fresh", f"{kind}, seed {seed}", stream, settings)


def warm_up(streams: Sequence[str]) -> Iterator[Task]:
    """Normal rows first, as MemStream is evaluated; then learning goes on, or ends."""
    plain = {"detector": {"kind": "ensemble"}}
    frozen = {**plain, "processing": {"freeze_after": WARM_UP_ROWS}}
    short = {"detector": {"kind": "ensemble", "half_life": 1000}}
    without = {**frozen, "detector": {"kind": "ensemble", "autoencoder": False}}
    for name, settings, rows, varied in (
        ("no warm-up", plain, 0, False),
        ("goes on learning", plain, WARM_UP_ROWS, False),
        ("goes on learning, half-life 1,000", short, WARM_UP_ROWS, False),
        ("learns no more", frozen, WARM_UP_ROWS, False),
        ("learns no more, no autoencoder", without, WARM_UP_ROWS, False),
        ("the same, near-constant columns left out", without, WARM_UP_ROWS, True),
    ):
        for stream in WARM_UP:
            if stream in streams or stream == "kdd99_flipped":
                yield Task("warm_up", name, stream, settings, warm_up=rows, varied=varied)


BURSTS: dict[str, Settings] = {
    "ensemble": {},
    "half-life 20,000": {"half_life": 20_000},
    "half-life 5,000": {"half_life": 5_000},
    "half-life 1,000": {"half_life": 1_000},
    "autoencoder alone": {"kind": "autoencoder"},
    "autoencoder alone, refuses nothing": {"kind": "autoencoder", "refuse_share": 0.0},
}
"""What is to keep a burst of similar anomalies from becoming the crowd."""


def bursts(streams: Sequence[str]) -> Iterator[Task]:
    """The streams whose anomalies come in bursts, and one without the rates that it brings."""
    for name, change in BURSTS.items():
        section = {"detector": {"kind": "ensemble", **change}}
        for stream in ("kdd_http", "kdd_smtp", "kdd99_thinned", "kdd99_without_rates"):
            if stream in streams or stream == "kdd99_without_rates":
                yield Task("bursts", name, stream, section)


ABLATION: dict[str, Settings] = {
    "default": {},
    "alpha 0": {"alpha": 0.0},
    "alpha .001": {"alpha": 0.001},
    "alpha .01": {"alpha": 0.01},
    "alpha .1": {"alpha": 0.1},
    "hidden 4": {"hidden": [4]},
    "hidden 32, 8, 32": {"hidden": [32, 8, 32]},
    "hidden 64, 32, 64": {"hidden": [64, 32, 64]},
    "learning rate .0003": {"learning_rate": 0.0003},
    "learning rate .003": {"learning_rate": 0.003},
    "3 passes": {"passes": 3},
    "input dropout .1": {"input_dropout": 0.1},
    "input dropout .3": {"input_dropout": 0.3},
    "refuse nothing": {"refuse_share": 0.0},
    "refuse 10 %": {"refuse_share": 0.1},
    "refuse 20 %": {"refuse_share": 0.2},
}
"""Changes to the defaults of the autoencoder, one at a time."""


def ablation(streams: Sequence[str]) -> Iterator[Task]:
    """The autoencoder alone, so that what a setting does is not hidden by the other members."""
    for name, change in ABLATION.items():
        section = {"detector": {"kind": "autoencoder", **change}}
        for stream in streams:
            yield Task("ablation", name, stream, section)


PARTS: dict[str, Callable[[Sequence[str]], Iterator[Task]]] = {
    "comparison": comparison,
    "elsewhere": elsewhere,
    "seeds": seeds,
    "members": members,
    "adaptive": adaptive,
    "fresh": fresh_streams,
    "warm_up": warm_up,
    "bursts": bursts,
    "ablation": ablation,
}


def tasks(
    parts: Sequence[str], detectors: Sequence[str] | None, streams: Sequence[str]
) -> list[Task]:
    """All tasks of some parts; of the comparison only some detectors, where they are named.

    Raises ``SystemExit`` for a name that does not exist.
    """
    for given, known in (
        (parts, list(PARTS)),
        (detectors or (), [*OURS, *PEERS]),
        (streams, list(data.SETS)),
    ):
        unknown = [name for name in given if name not in known]
        if unknown:
            raise SystemExit(f"no {', '.join(unknown)}; there are {', '.join(known)}")
    return [
        task
        for part in parts
        for task in PARTS[part](streams)
        if part != "comparison" or detectors is None or task.detector in detectors
    ]


def every_task() -> list[Task]:
    """All there are, in the order of the results, whichever of them a run measures."""
    return tasks(list(PARTS), None, list(data.SETS))
