"""What monitors see: a section of the status page, and the page of one key's band."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from stream_detector.markup import escape
from stream_detector.monitors.bands import Bands
from stream_detector.telemetry.status.band_chart import band_chart
from stream_detector.telemetry.status.layout import document, name_of, number
from stream_detector.telemetry.status.recent import Recent, RecentAlert
from stream_detector.telemetry.status.watched import SeenMonitor

MONITOR_PATH = "/monitor"
MOST_KEY_CHARACTERS = 1000
_LINKED_KEYS = 5
_REFRESH_SECONDS = 10


def band_link(monitor: str, key: str, text: str) -> str:
    """A link to the page of a key's band; ``text`` is escaped here."""
    query = f"monitor={quote(monitor, safe='')}&amp;key={quote(key, safe='')}"
    return f'<a href="{MONITOR_PATH}?{query}">{escape(text)}</a>'


def monitors_section(recent: Recent, *, shows_keys: bool) -> str:
    """A line a monitor; nothing without any. Keys come from events: ``shows_keys`` says."""
    seen = recent.watched.monitors()
    if not seen:
        return ""
    rows = "".join(_line(name, by_shard, shows_keys) for name, by_shard in seen.items())
    return (
        '<h2>Monitors</h2><div class="card"><table><thead><tr><th>monitor</th><th>keys</th>'
        f"<th>of them judged</th><th>heaviest</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _line(name: str, by_shard: Mapping[int, SeenMonitor], shows_keys: bool) -> str:
    first = next(iter(by_shard.values()))
    of = "" if first.key_field is None else f" by {name_of(first.key_field)}"
    links = ""
    if shows_keys:
        heaviest = list(dict.fromkeys(k for seen in by_shard.values() for k in seen.heaviest))
        links = ", ".join(
            band_link(name, key, key[:40] or "all together") for key in heaviest[:_LINKED_KEYS]
        )
    return (
        f"<tr><td>{name_of(name)} <small>{escape(first.kind)}{of}</small></td>"
        f'<td class="number">{number(sum(s.figures.keys for s in by_shard.values()))}</td>'
        f'<td class="number">{number(sum(s.figures.judged for s in by_shard.values()))}</td>'
        f"<td>{links}</td></tr>"
    )


def monitor_page(name: str, key: str, recent: Recent) -> str | None:
    """The page of one key, which is asked for from now on; None where there is no such monitor."""
    by_shard = recent.watched.monitors().get(name)
    if by_shard is None or len(key) > MOST_KEY_CHARACTERS:
        return None
    recent.watched.want(name, key)
    first = next(iter(by_shard.values()))
    alerts = [alert for alert in recent.alerts() if alert.monitor == (name, key)]
    drawn = [
        _chart(seen.bands, key, alerts, f"shard {shard}" if len(by_shard) > 1 else "")
        for shard, seen in by_shard.items()
        if seen.bands is not None and key in seen.bands.keys
    ]
    known = [
        _known(seen.known[key], f"shard {shard}" if len(by_shard) > 1 else "")
        for shard, seen in by_shard.items()
        if key in seen.known
    ]
    title = name if first.key_field is None else f"{name}: {first.key_field} {key[:80]}"
    body = [
        f"<header><h1>{escape(title)}</h1></header>",
        _form(name, key, by_shard) if first.key_field is not None else "",
        *(drawn or known or [_why_not(first)]),
        "<h2>Its last alerts</h2>" if alerts else "",
        *(f"<p>{escape(alert.severity)}: {escape(alert.sentence)}</p>" for alert in alerts[:10]),
        '<p><a href="/">Back to the status page</a></p>',
    ]
    return document(f"{title} - stream-detector", "".join(body), refresh_seconds=_REFRESH_SECONDS)


def _known(sentences: Sequence[str], where: str) -> str:
    title = f"<h2>{where}</h2>" if where else ""
    return title + "".join(f"<p>{escape(each)}</p>" for each in sentences)


def _why_not(seen: SeenMonitor) -> str:
    if seen.bands is None and seen.kind == "silence":
        return f'<p class="dim">A monitor of the kind {escape(seen.kind)} has no band to draw.</p>'
    return (
        '<p class="dim">Nothing is remembered of this key, or not looked up yet: what is asked for '
        "is there some seconds later. This page reads itself again.</p>"
    )


def _chart(bands: Bands, key: str, alerts: Sequence[RecentAlert], where: str) -> str:
    ends_ms = [alert.time_ms for alert in alerts if alert.time_ms is not None]
    title = f"<h2>{where}</h2>" if where else ""
    return title + band_chart(bands, bands.keys.index(key), ends_ms)


def _form(name: str, key: str, by_shard: Mapping[int, SeenMonitor]) -> str:
    """Ask for another key by its name; the heaviest are offered."""
    heaviest = list(dict.fromkeys(k for seen in by_shard.values() for k in seen.heaviest))
    offered = "".join(f'<option value="{escape(each)}">' for each in heaviest if len(each) < 200)  # noqa: PLR2004 - what fits a line
    return (
        f'<form class="card" method="get" action="{MONITOR_PATH}">'
        f'<input type="hidden" name="monitor" value="{escape(name)}">'
        f'<label>key <input name="key" list="keys" value="{escape(key)}" '
        f'maxlength="{MOST_KEY_CHARACTERS}"></label><datalist id="keys">{offered}</datalist>'
        "<button>Show</button></form>"
    )
