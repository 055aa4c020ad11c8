"""Routing of requests to the pages of the status site."""

from __future__ import annotations

import ipaddress
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit
from wsgiref.types import WSGIEnvironment

from stream_detector.telemetry.health import HealthState
from stream_detector.telemetry.metrics import Metrics
from stream_detector.telemetry.responses import Response, text
from stream_detector.telemetry.status.care_form import CareForm
from stream_detector.telemetry.status.figures import figures
from stream_detector.telemetry.status.labelling import Labelling
from stream_detector.telemetry.status.monitors import MONITOR_PATH, monitor_page
from stream_detector.telemetry.status.page import Running, help_page, status_page
from stream_detector.telemetry.status.recent import Recent
from stream_detector.telemetry.status.rule_form import RuleForm

LABEL_PATH = "/label"
RULE_PATH = "/rule"
CARE_PATH = "/incident"


class StatusPages:
    """The pages for people. State: none of its own; ``recent`` and ``metrics`` are live.

    Args:
        metrics: where the figures come from.
        health: whether all is well.
        recent: alerts and the recent past.
        running: what this process runs.
        shows_alerts: whether readers may see alerts, which quote events. None: where the address
            they asked for is a number or ``localhost``. (A name might be one that a hostile site
            has bound to this machine, to read the page through its reader's browser.)
        labelling: takes labels; None: nobody can give any.
        rules: offers rules; None: there are none from the page.
        care: takes what is said of incidents; None: nothing can be.
    """

    def __init__(
        self,
        metrics: Metrics,
        health: HealthState,
        recent: Recent | None = None,
        running: Running | None = None,
        *,
        shows_alerts: bool | None = None,
        labelling: Labelling | None = None,
        rules: RuleForm | None = None,
        care: CareForm | None = None,
    ) -> None:
        self._metrics, self._health = metrics, health
        self._recent, self._running = recent or Recent(), running or Running()
        self._shows_alerts, self._labelling = shows_alerts, labelling
        self._forms: dict[str, Labelling | RuleForm | CareForm] = {}
        if labelling is not None:
            self._forms[LABEL_PATH] = labelling
        if rules is not None:
            self._forms[RULE_PATH] = rules
        if care is not None:
            self._forms[CARE_PATH] = care

    def get(self, environ: WSGIEnvironment) -> Response | None:
        """The answer to a GET; None where there is no such page."""
        path = environ["PATH_INFO"]
        if path == "/":
            return self._page(HTTPStatus.OK, self._status(environ))
        if path == "/help":
            return self._page(HTTPStatus.OK, help_page(self._running))
        if path == MONITOR_PATH and self._may_see(environ):
            return self._monitor(environ)
        if (form := self._forms.get(path)) is not None and self._may_see(environ):
            query = _query(environ)
            if query is None:
                return text(HTTPStatus.BAD_REQUEST, "the query has too many fields\n")
            return self._page(*form.form(query.get(form.asks, [""])[0]))
        return None

    def _monitor(self, environ: WSGIEnvironment) -> Response | None:
        """The page of a key's band; None where there is no such monitor."""
        query = _query(environ)
        if query is None:
            return text(HTTPStatus.BAD_REQUEST, "the query has too many fields\n")
        name, key = (query.get(each, [""])[0] for each in ("monitor", "key"))
        page = monitor_page(name, key, self._recent)
        return None if page is None else self._page(HTTPStatus.OK, page)

    def post(self, environ: WSGIEnvironment) -> Response | None:
        """The answer to a POST; None where none is taken."""
        form = self._forms.get(environ["PATH_INFO"])
        return None if form is None else self._page(*form.submit(environ))

    def _status(self, environ: WSGIEnvironment) -> str:
        return status_page(
            self._running,
            figures(self._metrics),
            self._recent,
            self._health,
            shows_alerts=self._may_see(environ),
            labelled=self._labelling.given if self._labelling is not None else None,
            offers_rules=RULE_PATH in self._forms,
            offers_care=CARE_PATH in self._forms,
        )

    def _may_see(self, environ: WSGIEnvironment) -> bool:
        if self._shows_alerts is not None:
            return self._shows_alerts
        return _is_address(environ.get("HTTP_HOST", ""))

    @staticmethod
    def _page(status: HTTPStatus, body: str) -> Response:
        return text(status, body, "text/html")


def _query(environ: WSGIEnvironment) -> dict[str, list[str]] | None:
    try:
        return parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True, max_num_fields=10)
    except ValueError:
        return None


def _is_address(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        ipaddress.ip_address(name)
    except ValueError:
        return host.partition(":")[0].lower() == "localhost"
    return True
