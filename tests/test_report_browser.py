"""The report in a real browser: on a desk, on a phone, in the dark, on paper."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from support.browser import Browser, browser, chromium
from support.commands import run
from support.streams import SETTINGS, records

HOSTILE = "<img src=https://evil.invalid onerror=alert(1)><script>alert(2)</script>"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on events some of which would like to be markup."""
    directory = tmp_path_factory.mktemp("browser")
    config, data = directory / "config.yaml", directory / "<b>events<b>.jsonl"
    labels = {"labels": {"field": "label", "delay": "1h"}}
    config.write_text(yaml.safe_dump({**SETTINGS, **labels}))
    lines = []
    for record in records(5000):
        event = json.loads(record.value or b"")
        if event["label"]:
            event |= {"id": HOSTILE + event["id"], "kind": HOSTILE}
        lines.append(json.dumps(event))
    data.write_text("\n".join(lines))
    output = directory / "report.html"
    done = run("evaluate", str(config), "--data", str(data), "--report", str(output))
    assert done.returncode == 0, done.stderr
    return output


@pytest.fixture(scope="module")
def page(report: Path):
    programme = chromium()
    if programme is None:
        pytest.skip("chromium is not installed: the report was NOT opened in a browser")
    with browser(programme) as opened:
        yield opened


VISIBLE = """
[...document.querySelectorAll('figure svg[role=img]')].filter(each => each.checkVisibility())
"""


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1200, 390])
def test_the_report_opens_without_a_complaint_and_fits_its_window(
    page: Browser, report: Path, width: int, dark: bool
) -> None:
    page.open(report.as_uri(), width=width, dark=dark)
    assert page.complaints == []
    # Nothing but the file itself; the empty icon is part of it.
    assert {each for each in page.requests if each != "data:,"} == {report.as_uri()}
    assert page.value("document.documentElement.scrollWidth") == width
    assert page.value("document.body.scrollWidth") <= width
    red, green, blue = page.value(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
    )
    assert max(red, green, blue) < 60 if dark else min(red, green, blue) > 240


@pytest.mark.parametrize("width", [1200, 390])
def test_every_chart_is_drawn_at_a_size_that_can_be_read(
    page: Browser, report: Path, width: int
) -> None:
    page.open(report.as_uri(), width=width)
    shown = page.value(f"{VISIBLE}.map(each => each.getBoundingClientRect().width)")
    assert len(shown) == 9
    assert all(300 < each < width for each in shown)
    # A text's height on the screen is its size in units times how much the picture is scaled.
    heights = page.value(
        f"{VISIBLE}.flatMap(each => [...each.querySelectorAll('text')])"
        ".map(each => each.getBoundingClientRect().height)"
    )
    assert len(heights) > 50
    assert min(heights) > 11
    # No two labels of one axis lie on each other.
    overlapping = page.value(f"""
        {VISIBLE}.flatMap(each => {{
            const boxes = [...each.querySelectorAll('text')].map(t => t.getBoundingClientRect());
            return boxes.flatMap((a, i) => boxes.slice(i + 1).filter(b =>
                a.left < b.right - 1 && b.left < a.right - 1 &&
                a.top < b.bottom - 4 && b.top < a.bottom - 4));
        }}).length""")
    assert overlapping == 0


def test_no_text_runs_out_of_its_picture(page: Browser, report: Path) -> None:
    for width in (1200, 390):
        page.open(report.as_uri(), width=width)
        outside = page.value(f"""
            {VISIBLE}.flatMap(each => {{
                const frame = each.getBoundingClientRect();
                return [...each.querySelectorAll('text')].filter(t => {{
                    const box = t.getBoundingClientRect();
                    return box.left < frame.left - 2 || box.right > frame.right + 2;
                }}).map(t => t.textContent);
            }})""")
        assert outside == []


def test_hostile_events_are_shown_as_text(page: Browser, report: Path) -> None:
    page.open(report.as_uri())
    assert page.value("document.scripts.length") == 0
    assert page.value("document.images.length") == 0
    assert HOSTILE in page.value("document.body.textContent")
    assert "<b>events<b>.jsonl" in page.value("document.body.textContent")


def test_links_lead_to_their_sections(page: Browser, report: Path) -> None:
    page.open(report.as_uri())
    lost = page.value(
        "[...document.querySelectorAll('nav a')].filter(a => !document.querySelector("
        "a.getAttribute('href'))).length"
    )
    assert lost == 0
    assert page.value("document.querySelectorAll('nav a').length") == 9


def test_the_report_can_be_printed(page: Browser, report: Path, tmp_path: Path) -> None:
    page.open(report.as_uri(), dark=True)
    printed = page.pdf()
    assert printed.startswith(b"%PDF-")
    assert printed.rstrip().endswith(b"%%EOF")
    assert 3 <= printed.count(b"/Type /Page\n") <= 20
    # Paper is white, whatever the screen was.
    page.call("Emulation.setEmulatedMedia", media="print")
    ground = "getComputedStyle(document.documentElement).getPropertyValue('--ground')"
    assert page.value(ground).strip() == "#fff"
    assert page.value("getComputedStyle(document.querySelector('nav')).display") == "none"
    page.call("Emulation.setEmulatedMedia", media="")
