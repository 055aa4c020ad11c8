"""Rules from the status page: shown first, then written, by who has the token alone."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from test_status_page import TOKEN, Serve, ask, labelling, recent, serve

from stream_detector.errors import ConfigurationError, OutputError
from stream_detector.telemetry.status.recent import Recent
from stream_detector.telemetry.status.rule_form import Offer, RuleForm, Wish

__all__ = ["recent", "serve"]  # fixtures

TOLD = {"owner": "<b>Ada</b>", "why": "rent & food", "expires": "30d"}


class Desk:
    """Proposes rules, and notes which are written."""

    def __init__(self) -> None:
        self.asked: list[Wish] = []
        self.written: list[Wish] = []
        self.refused = ""
        self.error: Exception | None = None

    def propose(self, wish: Wish) -> Offer:
        self.asked.append(wish)
        if self.error is not None:
            raise self.error

        def write() -> str:
            self.written.append(wish)
            return "r1"

        return Offer(["covers <script>everything</script>"], self.refused, write)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def port(serve: Serve, recent: Recent, desk: Desk) -> int:
    labels = labelling(recent, [])
    return serve(labelling=labels, rules=RuleForm(labels.guard, recent, desk.propose))


def post(port: int, body: dict[str, str], **changes: str) -> tuple[int, str]:
    headers = {
        "Content_Type": "application/x-www-form-urlencoded",
        "Origin": f"http://127.0.0.1:{port}",
        **changes,
    }
    status, _, text = ask(port, "/rule", "POST", urlencode(body), **headers)
    return status, text


def wish(recent: Recent, **changes: Any) -> dict[str, str]:
    return {"alert": recent.alerts()[0].id, "token": TOKEN, "do": "write", **TOLD, **changes}


def test_without_a_token_in_the_configuration_there_are_no_rules(serve: Serve) -> None:
    port = serve()
    assert "/rule" not in ask(port, "/")[2]
    assert ask(port, "/rule?alert=x")[0] == 404
    assert post(port, {"alert": "x"})[0] == 405


def test_a_rule_is_shown_before_it_is_written(
    port: int,
    recent: Recent,
    desk: Desk,
) -> None:
    assert "/rule?alert=" in ask(port, "/")[2]
    form = ask(port, f"/rule?alert={recent.alerts()[0].id}")[2]
    assert 'action="/rule"' in form
    assert 'value="write"' not in form
    assert desk.asked == [], "who has no token has nothing looked up"
    status, shown = post(port, wish(recent, do="show"))
    assert status == 200
    assert "covers &lt;script&gt;" in shown
    assert "&lt;b&gt;Ada" in shown
    assert 'value="write"' in shown
    assert desk.written == []
    status, said = post(port, wish(recent))
    assert (status, len(desk.written)) == (200, 1)
    assert "r1 is written" in said
    assert desk.written[0].why == "rent & food"


def test_what_covers_a_hit_is_not_written(port: int, recent: Recent, desk: Desk) -> None:
    desk.refused = "it covers <i>a hit</i>"
    status, said = post(port, wish(recent))
    assert status == 200
    assert "Refused: it covers &lt;i&gt;" in said
    assert 'value="write"' not in said
    assert desk.written == []


@pytest.mark.parametrize(
    ("changes", "headers", "status"),
    [
        ({"token": "wrong"}, {}, 403),
        ({"token": ""}, {}, 403),
        ({}, {"Origin": "http://evil.example"}, 403),
        ({}, {"Content_Type": "text/plain"}, 415),
        ({"alert": "gone"}, {}, 404),
        ({"owner": " "}, {}, 400),
        ({"why": ""}, {}, 400),
        ({"expires": ""}, {}, 400),
    ],
)
def test_a_request_that_is_not_right_is_refused(
    port: int,
    recent: Recent,
    desk: Desk,
    changes: dict[str, str],
    headers: dict[str, str],
    status: int,
) -> None:
    assert post(port, wish(recent, **changes), **headers)[0] == status
    assert desk.written == []


@pytest.mark.parametrize(
    ("error", "status"),
    [(ConfigurationError("<no> such rule"), 409), (OutputError(f"away, {TOKEN}"), 502)],
)
def test_what_goes_wrong_is_said_without_markup(
    port: int,
    recent: Recent,
    desk: Desk,
    error: Exception,
    status: int,
) -> None:
    desk.error = error
    found, said = post(port, wish(recent))
    assert found == status
    assert "<no>" not in said
    assert desk.written == []
