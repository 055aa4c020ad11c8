"""Rules from the status page: shown first, then written; guarded as labels are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from wsgiref.types import WSGIEnvironment

from stream_detector.errors import ConnectorError
from stream_detector.markup import escape
from stream_detector.telemetry.logs import fields
from stream_detector.telemetry.requests import RefusedRequestError
from stream_detector.telemetry.status.forms import LOGIN_FIELDS, WritingForm, message, typed
from stream_detector.telemetry.status.guard import Guard
from stream_detector.telemetry.status.labelling import gone
from stream_detector.telemetry.status.layout import document
from stream_detector.telemetry.status.page import alert_card
from stream_detector.telemetry.status.recent import Recent, RecentAlert

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants to hide.

    Attributes:
        alert: id of the alert.
        expires: a duration or a time.
        owner: who answers for it.
        why: what it is about.
    """

    alert: str
    expires: str
    owner: str
    why: str


@dataclass(frozen=True, slots=True)
class Offer:
    """A rule as it is proposed.

    Attributes:
        lines: the rule, and what it covers of history, for people.
        refused: why it is not written; empty where it may be.
        write: writes it, and returns its id once that is safe.
    """

    lines: Sequence[str]
    refused: str
    write: Callable[[], str]


Propose = Callable[[Wish], Offer]
"""Proposes a rule. Raises ``ConfigurationError`` where none can be made, ``ConnectorError``."""


class RuleForm(WritingForm):
    """Offers rules around the alerts on the page. State: none of its own.

    Args:
        guard: reads what those send who have the token.
        recent: the alerts on the page.
        propose: makes a rule of a wish.
    """

    asks = "alert"

    def __init__(self, guard: Guard, recent: Recent, propose: Propose) -> None:
        self._guard, self._recent, self._propose = guard, recent, propose

    def form(self, alert_id: str) -> tuple[HTTPStatus, str]:
        """The page that asks what to hide; nothing is looked up for who has no token."""
        alert = self._recent.find(alert_id)
        if alert is None:
            return HTTPStatus.NOT_FOUND, message("Not here any more", gone(alert_id), good=False)
        return HTTPStatus.OK, _page(alert, Wish(alert.id, "30d", "", ""), "")

    def _log_failure(self, error: ConnectorError) -> None:
        _log.warning(
            "a rule could not be written: %s",
            error,
            extra=fields("rule-failed", stage="rules"),
        )

    def _follow(self, environ: WSGIEnvironment) -> tuple[HTTPStatus, str]:
        form = self._guard.read(environ)
        alert = self._recent.find(form.get("alert", ""))
        if alert is None:
            raise RefusedRequestError(HTTPStatus.NOT_FOUND, gone(form.get("alert", "")))
        values = typed(form, "expires", "owner", "why")
        if not all(values):
            raise RefusedRequestError(
                HTTPStatus.BAD_REQUEST, "a rule needs an end, an owner and a reason"
            )
        wish = Wish(alert.id, *values)
        offer = self._propose(wish)
        if form.get("do") != "write" or offer.refused:
            refused = (
                f'<p class="bad">Refused: {escape(offer.refused)}</p>' if offer.refused else ""
            )
            shown = f"<pre>{escape(chr(10).join(offer.lines))}</pre>{refused}"
            return HTTPStatus.OK, _page(alert, wish, shown, may_write=not offer.refused)
        rule = offer.write()
        _log.info("a rule was written from the status page", extra=fields("rule", rule=rule))
        return HTTPStatus.OK, message("Written", f"The rule {rule} is written.", good=True)


def _page(alert: RecentAlert, wish: Wish, shown: str, *, may_write: bool = False) -> str:
    """The form; ``shown``: the rule, as HTML."""
    hint = "" if shown else "<p>First the rule is shown, with what it would have hidden.</p>"
    write = '<button name="do" value="write">Write this rule</button> ' if may_write else ""
    body = (
        "<header><h1>Hide what is no alarm</h1></header>"
        f"{alert_card(alert)}"
        f'<div class="card">{shown}{hint}</div>'
        '<form class="card" method="post" action="/rule">'
        f'<input type="hidden" name="alert" value="{escape(alert.id)}">'
        f'<p><label>until <input name="expires" required value="{escape(wish.expires)}"></label> '
        "a duration, or a time with its zone</p>"
        f'<p><label>owner <input name="owner" required value="{escape(wish.owner)}"></label></p>'
        f'<p><label>why <input name="why" required value="{escape(wish.why)}"></label></p>'
        f"{LOGIN_FIELDS}"
        f'<p>{write}<button name="do" value="show">Show the rule</button> <a href="/">back</a></p>'
        "</form>"
    )
    return document("rule - stream-detector", body)
