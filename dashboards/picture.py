"""Draws the dashboards from a Prometheus' answers: ``python -m dashboards.picture ADDRESS``.

Not what Grafana draws: a likeness for the documents, of the same panels at the same places with the
real results of their queries. ``docs/dashboard-*.svg`` come from it.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from dashboards.__main__ import DASHBOARDS
from dashboards.answers import POINTS, Point, Prometheus, Series
from dashboards.parts import Json

COLUMN, ROW, GAP, HEAD = 58, 27, 6, 64
DOCUMENTS = Path(__file__).resolve().parents[1] / "docs"
COLOURS = ("#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#705da0")
INK = {"green": "#73bf69", "orange": "#ff9830", "red": "#f2495c", "blue": "#5794f2"}
STYLE = (
    "svg{background:#111217;font-family:Inter,Helvetica,Arial,sans-serif}"
    "text{fill:#ccccdc;font-size:10px}.t{font-size:12px;font-weight:600}.h{font-size:17px}"
    ".q{fill:#9a9aa5}.p{fill:#181b1f;stroke:#2a2d33}.g{stroke:#2a2d33}.e{text-anchor:end}"
    ".m{text-anchor:middle}.l{fill:none;stroke-width:1.3}.b{font-size:24px;text-anchor:middle}"
)
LEGEND_SHOWN = 7


def number(value: float, unit: str) -> str:
    """A value as people read it; ``unit`` as Grafana calls it."""
    if unit == "percentunit":
        digits = 0 if abs(value) >= 0.1 else 2 if abs(value) >= 0.001 or not value else 3  # noqa: PLR2004
        return f"{value:.{digits}%}"
    if unit == "s":
        for size, name in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms")):
            if abs(value) >= size:
                return f"{value / size:.3g} {name}"
        return f"{value * 1e6:.3g} µs" if value else "0 s"
    base = 1024 if unit == "bytes" else 1000
    power = 0
    while abs(value) >= base and power < 3:  # noqa: PLR2004
        value, power = value / base, power + 1
    prefix = ("", "k", "M", "G")[power]
    suffix = {"bytes": " B", "cps": "/s", "cpm": "/min"}.get(unit, "")
    joined = f" {prefix}i" if base == 1024 and prefix else prefix  # noqa: PLR2004
    return f"{value:.3g}{joined}{suffix.strip() if base == 1024 and prefix else suffix}"  # noqa: PLR2004


class Frame:
    """The plot area of a panel: from time and value to pixels."""

    def __init__(
        self, box: tuple[float, float, float, float], times: tuple[float, float], scale: Scale
    ) -> None:
        """``box``: x, y, width and height in pixels."""
        self.x, self.y, self.width, self.height = box
        self.start, self.end = times
        self.scale = scale

    def at(self, when: float, value: float) -> tuple[float, float]:
        """Where a point lies."""
        part = (when - self.start) / (self.end - self.start)
        return self.x + part * self.width, self.y + self.height * (1 - self.scale.place(value))

    def axes(self, unit: str) -> Iterator[str]:
        """Lines and labels."""
        for value in self.scale.ticks(unit):
            _, y = self.at(self.start, value)
            yield f'<path class="g" d="M{self.x} {y:.1f}h{self.width:.0f}"/>'
            yield f'<text class="q e" x="{self.x - 4}" y="{y + 3:.1f}">{number(value, unit)}</text>'
        for part in (0.1, 0.5, 0.9):
            moment = datetime.fromtimestamp(self.start + part * (self.end - self.start), UTC)
            x, y = self.x + part * self.width, self.y + self.height + 12
            yield f'<text class="q m" x="{x:.0f}" y="{y:.0f}">{moment:%H:%M}</text>'


class Scale:
    """An axis of values, linear or logarithmic."""

    def __init__(self, low: float, high: float, *, logarithmic: bool = False) -> None:
        self.logarithmic = logarithmic
        if logarithmic:
            low, high = max(low, 1e-9), max(high, 1e-8)
        self.low, self.high = low, high if high > low else low + 1

    def place(self, value: float) -> float:
        """0 at the bottom to 1 at the top."""
        if self.logarithmic:
            span = math.log(self.high / self.low)
            return min(max(math.log(max(value, self.low) / self.low) / span, 0.0), 1.0)
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)

    def ticks(self, unit: str) -> list[float]:
        """Values that are round in the unit, about four."""
        if self.logarithmic:
            powers = range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)
            return [10.0**power for power in powers]
        whole = self.high - self.low
        of_unit = 1.0
        if unit == "bytes":
            of_unit = 1024.0 ** max(math.floor(math.log(whole, 1024)), 0)
        elif unit == "s":
            of_unit = next((size for size in (3600.0, 60.0) if whole > 2 * size), 1.0)
        rough = whole / of_unit / 4
        size = 10.0 ** math.floor(math.log10(rough))
        step = of_unit * next(size * m for m in (1, 2, 5, 10) if size * m >= rough)
        first = math.ceil(self.low / step - 1e-9)
        return [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]


def stacked(series: Sequence[Series]) -> list[tuple[Series, list[Point], list[Point]]]:
    """Each series with its lower and upper edge."""
    height: dict[float, float] = {}
    found = []
    for each in series:
        lower = [(when, height.get(when, 0.0)) for when, _ in each.points]
        for when, value in each.points:
            height[when] = height.get(when, 0.0) + value
        found.append((each, lower, [(when, height[when]) for when, _ in each.points]))
    return found


def draw_lines(panel: Json, series: list[Series], frame: Callable[[Scale], Frame]) -> Iterator[str]:
    """A panel of kind ``timeseries``."""
    defaults = panel["fieldConfig"]["defaults"]
    custom, unit = defaults["custom"], defaults["unit"]
    on_top = custom["stacking"]["mode"] == "normal"
    edges = stacked(series) if on_top else [(each, [], each.points) for each in series]
    values = [value for _, _, points in edges for _, value in points]
    logarithmic = custom.get("scaleDistribution", {}).get("type") == "log"
    low = defaults.get("min", min(values))
    plot = frame(Scale(low, max([*values, low]) * 1.05, logarithmic=logarithmic))
    yield from plot.axes(unit)
    for place, (_, lower, upper) in enumerate(edges):
        colour = COLOURS[place % len(COLOURS)]
        line = _path(plot, upper)
        if lower:
            back = _path(plot, lower[::-1]).replace("M", "L")
            edge = f"M{line[1:].replace('M', 'L')}"
            yield f'<path d="{edge}{back}Z" fill="{colour}" fill-opacity=".4"/>'
        yield f'<path class="l" stroke="{colour}" d="{line}"/>'
    if custom["thresholdsStyle"]["mode"] == "dashed":
        limit = defaults["thresholds"]["steps"][-1]["value"]
        if plot.scale.low < limit < plot.scale.high:
            _, y = plot.at(plot.start, limit)
            yield (
                f'<path d="M{plot.x} {y:.1f}h{plot.width:.0f}" stroke="{INK["red"]}" '
                'stroke-dasharray="6 4"/>'
            )


def _path(plot: Frame, points: Sequence[Point]) -> str:
    """A line with a gap where there was no data."""
    longest = 1.5 * (plot.end - plot.start) / POINTS
    drawn: list[str] = []
    for place, (when, value) in enumerate(points):
        joined = place > 0 and abs(when - points[place - 1][0]) <= longest
        drawn.append("{}{:.0f} {:.1f}".format("L" if joined else "M", *plot.at(when, value)))
    return "".join(drawn)


def draw_heatmap(series: list[Series], frame: Callable[[Scale], Frame]) -> Iterator[str]:
    """Cumulative buckets as cells, darker to brighter by the root of the rate."""
    buckets = sorted(series, key=lambda each: float(each.labels["le"]))
    plot = frame(Scale(0, len(buckets)))
    below: dict[float, float] = {}
    cells: list[tuple[float, int, float]] = []
    for row, bucket in enumerate(buckets):
        for when, value in bucket.points:
            cells.append((when, row, value - below.get(when, 0.0)))
            below[when] = value
    most = max(rate for _, _, rate in cells)
    step = min(b - a for a, b in zip(sorted(below), sorted(below)[1:], strict=False))
    width = plot.width * step / (plot.end - plot.start)
    height = plot.height / len(buckets)
    for when, row, rate in cells:
        if rate > most * 1e-6:
            x, y = plot.at(when, row + 1)
            strength = (rate / most) ** 0.5
            yield (
                f'<rect x="{x - width:.1f}" y="{y:.1f}" width="{width:.1f}" '
                f'height="{height - 0.5:.1f}" fill="#ff780a" fill-opacity="{strength:.2f}"/>'
            )
    for row, bucket in enumerate(buckets):
        if row % 3 == 0:
            _, y = plot.at(plot.start, row + 1)
            yield f'<text class="q e" x="{plot.x - 4}" y="{y + 3:.1f}">{bucket.labels["le"]}</text>'


def draw_stat(
    panel: Json, series: list[Series], box: tuple[float, float, float, float]
) -> Iterator[str]:
    """One number, or the series' name."""
    x, y, width, height = box
    defaults = panel["fieldConfig"]["defaults"]
    value = series[0].points[-1][1]
    if panel["options"]["textMode"] == "name":
        text = ", ".join(each.name for each in series)
    else:
        words = defaults["mappings"][0]["options"] if defaults["mappings"] else {}
        text = words.get(f"{value:g}", {}).get("text") or number(value, defaults["unit"])
    steps = defaults["thresholds"]["steps"]
    colour = [each["color"] for each in steps if each["value"] is None or value >= each["value"]]
    yield (
        f'<text class="b" x="{x + width / 2:.0f}" y="{y + height / 2 + 14:.0f}" '
        f'style="fill:{INK.get(colour[-1], "#ccccdc")}">{escape(text)}</text>'
    )


def draw_bars(
    panel: Json, series: list[Series], box: tuple[float, float, float, float]
) -> Iterator[str]:
    """A horizontal bar a series, the longest on top."""
    x, y, width, height = box
    ordered = sorted(series, key=lambda each: -each.points[-1][1])
    most = ordered[0].points[-1][1] or 1.0
    line = min(height / len(ordered), 22)
    for place, each in enumerate(ordered):
        top, value = y + place * line, each.points[-1][1]
        long = (width - 320) * value / most
        yield f'<text x="{x}" y="{top + line / 2 + 3:.1f}">{escape(each.name)}</text>'
        yield (
            f'<rect x="{x + 230}" y="{top + 2:.1f}" width="{long:.1f}" height="{line - 4:.1f}" '
            'fill="#8f7ee7"/>'
            f'<text x="{x + 236 + long:.1f}" y="{top + line / 2 + 3:.1f}">'
            f"{number(value, panel['fieldConfig']['defaults']['unit'])}</text>"
        )


def draw_table(
    panel: Json, series: list[Series], box: tuple[float, float, float, float]
) -> Iterator[str]:
    """The labels and the value of each series."""
    x, y, width, _ = box
    columns = panel["transformations"][0]["options"]["renameByName"]
    rows = [list(columns.values())]
    for each in sorted(series, key=lambda one: sorted(one.labels.items())):
        cells = {**each.labels, "Value": number(each.points[-1][1], "short")}
        rows.append([cells[label] for label in columns])
    for place, row in enumerate(rows):
        for column, cell in enumerate(row):
            left = x + column * width / len(columns)
            style = "t" if not place else ""
            top = y + 14 + 22 * place
            yield f'<text class="{style}" x="{left:.0f}" y="{top:.0f}">{escape(cell)}</text>'


def draw_panel(panel: Json, prometheus: Prometheus) -> Iterator[str]:
    """A card with its title, what it shows, and its legend."""
    grid = panel["gridPos"]
    x, y = grid["x"] * COLUMN + GAP, grid["y"] * ROW + HEAD
    width, height = grid["w"] * COLUMN - GAP, grid["h"] * ROW - GAP
    if panel["type"] == "row":
        yield f'<text class="t" x="{x}" y="{y + 16}">▾ {escape(panel["title"])}</text>'
        return
    yield f'<rect class="p" x="{x}" y="{y}" width="{width}" height="{height}" rx="2"/>'
    yield f'<text class="t" x="{x + 8}" y="{y + 17}">{escape(panel["title"])}</text>'
    series = prometheus.answer(panel)
    if not series:
        yield f'<text class="q m" x="{x + width / 2}" y="{y + height / 2}">No data</text>'
        return
    inner = (x + 12.0, y + 28.0, width - 24.0, height - 36.0)

    def frame(scale: Scale) -> Frame:
        box = (x + 58.0, y + 30.0, width - 70.0, height - 66.0)
        return Frame(box, (prometheus.start, prometheus.end), scale)

    match panel["type"]:
        case "stat":
            yield from draw_stat(panel, series, inner)
        case "bargauge":
            yield from draw_bars(panel, series, inner)
        case "table":
            yield from draw_table(panel, series, inner)
        case "heatmap":
            yield from draw_heatmap(series, frame)
        case _:
            yield from draw_lines(panel, series, frame)
            yield from _legend(series, x + 10, y + height - 9, width - 20)


def _legend(series: list[Series], x: float, y: float, width: float) -> Iterator[str]:
    end = x + width
    for place, each in enumerate(series):
        long = 20 + 5.9 * len(each.name)
        if x + long > end - 40 or place == LEGEND_SHOWN:
            yield f'<text class="q" x="{x:.0f}" y="{y}">+{len(series) - place}</text>'
            return
        colour = COLOURS[place % len(COLOURS)]
        yield f'<path d="M{x:.0f} {y - 3}h10" stroke="{colour}" stroke-width="3"/>'
        yield f'<text class="q" x="{x + 13:.0f}" y="{y}">{escape(each.name)}</text>'
        x += long


def picture(dashboard: Json, prometheus: Prometheus) -> str:
    """The whole dashboard as SVG."""
    grids = [panel["gridPos"] for panel in dashboard["panels"]]
    width = 24 * COLUMN + GAP
    height = max(grid["y"] + grid["h"] for grid in grids) * ROW + HEAD
    drawn = [line for panel in dashboard["panels"] for line in draw_panel(panel, prometheus)]
    moments = (datetime.fromtimestamp(each, UTC) for each in (prometheus.start, prometheus.end))
    first, last = (f"{moment:%Y-%m-%d %H:%M}" for moment in moments)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}"><style>{STYLE}</style>'
        f'<rect width="{width}" height="{height}" fill="#111217"/>'
        f'<text class="h" x="{GAP}" y="26">{escape(dashboard["title"])}</text>'
        f'<text class="q" x="{GAP}" y="46">Not a screenshot of Grafana: drawn by '
        "dashboards/picture.py from what Prometheus answered to the panels' own queries, "
        f"{first} to {last} UTC</text>"
    )
    return "\n".join([head, *drawn, "</svg>\n"])


def main() -> None:
    """Draw both dashboards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", help="of a Prometheus, as http://localhost:9090")
    parser.add_argument("--minutes", type=float, default=60.0, help="that are shown (60)")
    parser.add_argument("--output", type=Path, default=DOCUMENTS, help="directory (docs)")
    arguments = parser.parse_args()
    end = time.time()
    prometheus = Prometheus(arguments.address, end - 60 * arguments.minutes, end)
    for name, make in DASHBOARDS.items():
        text = picture(make(), prometheus)
        (arguments.output / f"dashboard-{name}.svg").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
