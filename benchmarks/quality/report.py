"""The tables of docs/quality.md, written out of the results between its marks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import data
from .peers import PEERS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "quality.md"
OURS = "ensemble"
PREFIXES = {
    "whole": "Whole streams",
    "30000": "The first 30,000 rows of each",
    "5000": "The first 5,000 rows of each",
}

Records = Sequence[dict[str, Any]]


def tables(results: dict[str, Any]) -> dict[str, str]:
    """Markdown by the name of the mark that it goes behind; only what there are records for."""
    records = results.get("records", [])
    found = {
        f"comparison-{prefix}": text
        for prefix, title in PREFIXES.items()
        if (text := comparison(_of(records, "comparison"), prefix, title))
    }
    for part in ("members", "seeds", "warm_up", "ablation"):
        if text := by_set(_of(records, part)):
            found[part] = text
    if failures := _failures(records):
        found["failures"] = failures
    if found:
        libraries = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
        found["versions"] = f"Measured {results['date']} with {libraries}."
    return found


def write(results: dict[str, Any]) -> None:
    """Put the tables into the page. Raises ``ValueError`` where a mark is missing."""
    text = PAGE.read_text()
    for name, table in tables(results).items():
        mark = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
        text, count = mark.subn(lambda match, t=table: f"{match[1]}\n{t}\n\n{match[2]}", text)
        if count != 1:
            raise ValueError(f"docs/quality.md has {count} marks {name}")
    PAGE.write_text(text)


def comparison(records: Records, prefix: str, title: str) -> str:
    """ROC AUC of every detector that has scored the rows of a prefix on every stream of it.

    A stream counts where our detector has both classes in the prefix; a peer counts where it has
    figures for all of these streams, so that the means are of the same rows.
    """
    auc = _figures(records, "auc", prefix)
    precision = _figures(records, "ap", prefix)
    streams = [name for name in data.SETS if name in auc.get(OURS, {})]
    names = [name for name in auc if streams and set(streams) <= set(auc[name])]
    if len(names) < 2:
        return ""
    lines = [f"{title}: ROC AUC, means with average precision beside.", ""]
    lines += _head(["stream", *map(_title, names)])
    for stream in streams:
        best = max(auc[name][stream] for name in names)
        cells = [_bold(auc[name][stream], best) for name in names]
        lines.append(f"| {stream} | " + " | ".join(cells) + " |")
    means = {name: _mean(auc[name], streams) for name in names}
    for label, values in (
        ("mean", means),
        ("mean AP", {n: _mean(precision[n], streams) for n in names}),
    ):
        lines.append(f"| **{label}** | " + " | ".join(f"{values[n]:.3f}" for n in names) + " |")
    peers = [name for name in names if name != OURS]
    best_peer = max(peers, key=means.__getitem__)
    gaps = {s: auc[OURS][s] - max(auc[name][s] for name in peers) for s in streams}
    worst = min(gaps, key=gaps.__getitem__)
    margin = means[OURS] - means[best_peer]
    verdict = (
        f"Ours is {margin:+.3f} from the best peer's mean ({_title(best_peer)}); the worst gap to "
        f"the best peer on one stream is {gaps[worst]:+.3f} ({worst})."
    )
    lines += ["", verdict]
    return "\n".join(lines)


def by_set(records: Records) -> str:
    """ROC AUC over whole streams, a row for each detector or setting."""
    auc = _figures(records, "auc", "whole")
    streams = list(dict.fromkeys(r["set"] for r in records if "auc" in r))
    if not auc:
        return ""
    lines = _head(["", *streams, "mean"])
    for name, values in auc.items():
        cells = [f"{values[s]:.3f}" if s in values else "\u2013" for s in streams]
        mean = f"{_mean(values, streams):.3f}" if set(streams) <= set(values) else "\u2013"
        lines.append(f"| {_title(name)} | " + " | ".join([*cells, mean]) + " |")
    return "\n".join(lines)


def _failures(records: Records) -> str:
    """What did not run, so that nothing is left out in silence."""
    found: dict[tuple[str, str], list[str]] = {}
    for record in records:
        if "error" in record:
            found.setdefault((record["detector"], record["error"]), []).append(record["set"])
    return "\n".join(
        f"- {_title(name)} on {', '.join(streams)}: `{error}`"
        for (name, error), streams in found.items()
    )


def _of(records: Records, part: str) -> Records:
    return [record for record in records if record["part"] == part]


def _figures(records: Records, figure: str, prefix: str) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for record in records:
        if prefix in record.get(figure, {}):
            found.setdefault(record["detector"], {})[record["set"]] = record[figure][prefix]
    return found


def _mean(values: dict[str, float], streams: Sequence[str]) -> float:
    return sum(values[stream] for stream in streams) / len(streams)


def _title(name: str) -> str:
    if name == OURS:
        return "stream-detector, default"
    return PEERS[name].title if name in PEERS else name


def _head(cells: Sequence[str]) -> list[str]:
    return ["| " + " | ".join(cells) + " |", "|---" * len(cells) + "|"]


def _bold(value: float, best: float) -> str:
    return f"**{value:.3f}**" if value == best else f"{value:.3f}"
