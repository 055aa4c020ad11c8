"""The tables of docs/quality.md, made of the results and of nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.blocks import with_blocks

from . import keel, parts, report_fresh
from .data import SETS
from .found import Figures, figures, number, title
from .peers import PEERS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "quality.md"
OURS = next(iter(parts.OURS))


def table(found: Figures, streams: list[str]) -> str:
    """A row for each detector; a mean only where it has every stream."""
    if not found:
        return "Not measured in this run."
    lines = ["| | mean | " + " | ".join(streams) + " |", "|---" * (len(streams) + 2) + "|"]
    for detector, row in found.items():
        whole = all(stream in row for stream in streams)
        mean = number(float(np.mean([row[stream] for stream in streams]))) if whole else ""
        cells = [number(row.get(stream)) for stream in streams]
        name = f"**{OURS}**" if detector == OURS else title(detector)
        lines.append(f"| {name} | {mean} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def by_family(found: Figures) -> Figures:
    """Means over the streams that KEEL's sets were made into, and how many there are."""
    families: dict[str, list[str]] = {}
    for stream in keel.NAMES:
        families.setdefault(keel.family(stream), []).append(stream)
    return {
        detector: {
            f"{family} ({len(streams)})": float(np.mean([row[stream] for stream in streams]))
            for family, streams in families.items()
        }
        for detector, row in found.items()
        if all(stream in row for stream in keel.NAMES)
    }


def by_stream(found: Figures) -> str:
    """The mean over KEEL's streams, and against ours: means apart, and on how many ours leads."""
    ours = found.get(OURS, {})
    if not all(stream in ours for stream in keel.NAMES):
        return "Not measured in this run."
    lines = ["| | mean | ours leads by | ours leads on |", "|---|---|---|---|"]
    for detector, row in found.items():
        if not all(stream in row for stream in keel.NAMES):
            continue  # failures() says why
        mean = float(np.mean([row[stream] for stream in keel.NAMES]))
        ahead = [ours[stream] - row[stream] for stream in keel.NAMES]
        better = sum(each > 0 for each in ahead)
        against = f"{np.mean(ahead):+.3f} | {better} of {len(ahead)}" if detector != OURS else " | "
        lines.append(f"| {title(detector)} | {number(mean)} | {against} |")
    return "\n".join(lines)


def margins(found: Figures, streams: list[str]) -> str:
    """Ours against the mean of peers that have every stream, and against any peer on a stream."""
    peers = {
        name: row
        for name, row in found.items()
        if name in PEERS and all(stream in row for stream in streams)
    }
    ours = found.get(OURS, {})
    if not peers or not all(stream in ours for stream in streams):
        return "Not measured on every stream."
    means = {name: float(np.mean([row[s] for s in streams])) for name, row in peers.items()}
    best = max(means, key=means.__getitem__)
    mean = float(np.mean([ours[stream] for stream in streams]))
    rivals = {name: row for name, row in found.items() if name in PEERS}
    gaps = {s: max(row.get(s, 0.0) for row in rivals.values()) - ours[s] for s in streams}
    worst = max(gaps, key=gaps.__getitem__)
    winner = max(rivals, key=lambda name: rivals[name].get(worst, 0.0))
    lines = [f"Our mean {mean:.3f}. Best peer by its mean: {PEERS[best].title}, {means[best]:.3f};"]
    lines.append(f"margin {mean - means[best]:+.3f}. Worst gap to the best peer on a stream:")
    lines.append(f"{gaps[worst]:+.3f} on {worst} ({PEERS[winner].title}).")
    return "\n".join(lines)


def speeds(results: dict[str, Any]) -> str:
    """Rows over seconds, of all streams of the comparison."""
    totals: dict[str, list[float]] = {}
    for record in results["records"]:
        if record["part"] == "comparison" and "seconds" in record:
            total = totals.setdefault(record["detector"], [0, 0.0])
            total[0] += record["rows"]
            total[1] += record["seconds"]
    lines = ["| | rows | events/s |", "|---|---|---|"]
    for name, (rows, seconds) in totals.items():
        lines.append(f"| {title(name)} | {rows:,} | {rows / max(seconds, 0.01):,.0f} |")
    return "\n".join(lines)


def failures(results: dict[str, Any]) -> str:
    """What could not be measured, and why."""
    found = [
        f"- {record['detector']} on {record['set']}: {record['error']}"
        for record in results["records"]
        if "error" in record
    ]
    return "\n".join(found) or "Every peer ran on every stream that it was given."


def tables(results: dict[str, Any]) -> dict[str, str]:
    """Blocks of the page by name."""
    made = {}
    versions = ", ".join(f"{name} {found}" for name, found in results["versions"].items())
    made["versions"] = f"{results['date']}; {versions}."
    for prefix in ("whole", "30000", "5000"):
        found = figures(results, "comparison", "auc", prefix)
        streams = [s for s in SETS if any(s in row for row in found.values())]
        made[f"auc-{prefix}"] = table(found, streams)
        made[f"margins-{prefix}"] = margins(found, streams)
    made["ap-whole"] = table(figures(results, "comparison", "ap", "whole"), list(SETS))
    made["speed"] = speeds(results)
    made["failures"] = failures(results)
    found = figures(results, "elsewhere", "auc", "whole")
    families = by_family(found)
    made["elsewhere"] = by_stream(found)
    made["elsewhere-families"] = table(families, list(families.get(OURS, {})))
    for part in ("members", "ablation"):
        made[part] = table(figures(results, part, "auc", "whole"), list(SETS))
    warm = figures(results, "warm_up", "auc", "whole")
    made["warm-up"] = table(warm, sorted({s for row in warm.values() for s in row}))
    for kind in ("auc", "ap"):
        found = figures(results, "bursts", kind, "whole")
        streams = list(dict.fromkeys(s for row in found.values() for s in row))
        made[f"bursts-{kind}"] = table(found, streams)
    return made | report_fresh.tables(results)


def filled(text: str, results: dict[str, Any]) -> str:
    """The page with every block between its two comments made anew."""
    return with_blocks(text, tables(results))


def write(results: dict[str, Any]) -> None:
    """Put the tables into the page."""
    PAGE.write_text(filled(PAGE.read_text(), results))
