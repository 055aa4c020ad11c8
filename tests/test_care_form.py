"""Incidents acknowledged and snoozed on the status page, by who has the token alone."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import pytest
from test_status_page import TOKEN, Serve, ask, labelling, recent, serve

from stream_detector.errors import ConfigurationError, OutputError
from stream_detector.telemetry.status.care_form import Care, CareForm
from stream_detector.telemetry.status.recent import Recent

__all__ = ["recent", "serve"]  # fixtures

ID = "cards:events-0-1<&"
TOLD = {"owner": "<b>Ada</b>", "why": "bank & police", "until": "4h"}


def body(**changes: Any) -> dict[str, Any]:
    return {
        "id": ID,
        "state": "open",
        "severity": "high",
        "opened": "2018-04-01T00:00:31.000Z",
        "last_seen": "2018-04-01T01:00:31.000Z",
        "scope": {"field": "card", "value": "<i>7</i>"},
        "kinds": {"event": 3},
        "alerts": 3,
        "held": 0,
        "hidden": 0,
        "hidden_by": {},
        "attributes": [],
        "reasons": [],
        "condition": None,
        "reopened": 0,
        "acknowledged": None,
        "snoozed": None,
        **changes,
    }


class Desk:
    """Notes what is written."""

    def __init__(self) -> None:
        self.written: list[Care] = []
        self.error: Exception | None = None

    def write(self, care: Care) -> str:
        if self.error is not None:
            raise self.error
        self.written.append(care)
        return care.until and "2018-04-01T05:00:31.000Z"


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def port(serve: Serve, recent: Recent, desk: Desk) -> int:
    recent.incidents.put(0, [body()])
    labels = labelling(recent, [])
    return serve(labelling=labels, care=CareForm(labels.guard, recent.incidents, desk.write))


def post(port: int, given: dict[str, str], **changes: str) -> tuple[int, str]:
    headers = {
        "Content_Type": "application/x-www-form-urlencoded",
        "Origin": f"http://127.0.0.1:{port}",
        **changes,
    }
    status, _, text = ask(port, "/incident", "POST", urlencode(given), **headers)
    return status, text


def wish(**changes: str) -> dict[str, str]:
    return {"incident": ID, "token": TOKEN, "do": "acknowledge", **TOLD, **changes}


def test_without_a_token_in_the_configuration_nobody_can(serve: Serve, recent: Recent) -> None:
    recent.incidents.put(0, [body()])
    port = serve()
    assert "/incident" not in ask(port, "/")[2]
    assert ask(port, f"/incident?incident={quote(ID)}")[0] == 404
    assert post(port, wish())[0] == 405


def test_the_page_leads_to_a_form_that_is_written(port: int, desk: Desk) -> None:
    page = ask(port, "/")[2]
    address = f"/incident?incident={quote(ID, safe='')}"
    assert f'href="{address}"' in page
    form = ask(port, address)[2]
    assert "&lt;i&gt;7" in form
    assert "<i>7" not in form
    for action in ("acknowledge", "snooze"):
        assert f'value="{action}"' in form
        status, said = post(port, wish(do=action))
        assert status == 200
        assert "until 2018-04-01T05:00:31.000Z" in said
        assert "<i>7" not in said
    assert desk.written == [
        Care(ID, action, "4h", "<b>Ada</b>", "bank & police")
        for action in ("acknowledge", "snooze")
    ]
    assert post(port, wish(until=""))[0] == 200, "an acknowledgement needs no end"


def test_an_incident_that_is_over_is_not_seen_to(port: int, recent: Recent, desk: Desk) -> None:
    recent.incidents.put(0, [])
    assert ask(port, f"/incident?incident={quote(ID)}")[0] == 404
    status, said = post(port, wish())
    assert (status, desk.written) == (404, [])
    assert "events-0-1&lt;&amp;" in said


@pytest.mark.parametrize(
    ("changes", "headers", "status"),
    [
        ({"token": "wrong"}, {}, 403),
        ({"token": ""}, {}, 403),
        ({}, {"Origin": "http://evil.example"}, 403),
        ({}, {"Content_Type": "text/plain"}, 415),
        ({"incident": "gone"}, {}, 404),
        ({"owner": " "}, {}, 400),
        ({"why": ""}, {}, 400),
        ({"do": "delete"}, {}, 400),
        ({"do": "snooze", "until": ""}, {}, 400),
    ],
)
def test_a_request_that_is_not_right_is_refused(
    port: int, desk: Desk, changes: dict[str, str], headers: dict[str, str], status: int
) -> None:
    assert post(port, wish(**changes), **headers)[0] == status
    assert desk.written == []


@pytest.mark.parametrize(
    ("error", "status"),
    [(ConfigurationError("<no> end"), 409), (OutputError(f"away, {TOKEN}"), 502)],
)
def test_what_goes_wrong_is_said_without_markup(
    port: int, desk: Desk, error: Exception, status: int
) -> None:
    desk.error = error
    found, said = post(port, wish())
    assert found == status
    assert "<no>" not in said
    assert desk.written == []
