"""What the forms of the status page have alike: where the token is typed, and what is answered."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from http import HTTPStatus
from wsgiref.types import WSGIEnvironment

from stream_detector.errors import ConfigurationError, ConnectorError
from stream_detector.markup import escape
from stream_detector.telemetry.logs import redact
from stream_detector.telemetry.requests import RefusedRequestError
from stream_detector.telemetry.status.layout import document

LOGIN_FIELDS = (
    # Password managers keep a token under a name.
    '<input type="text" name="username" value="labels" autocomplete="username" hidden>'
    '<p><label>token <input type="password" name="token" required '
    'autocomplete="current-password"></label></p>'
)


_LONGEST = 1000
"""Of what is typed into a field."""


class WritingForm(ABC):
    """A form whose answers are written to the broker, or refused with the reason."""

    def submit(self, environ: WSGIEnvironment) -> tuple[HTTPStatus, str]:
        """Follow a POST, or say why not."""
        try:
            return self._follow(environ)
        except (RefusedRequestError, ConfigurationError) as error:
            return unwritten(error)
        except ConnectorError as error:
            self._log_failure(error)
            return unwritten(error)

    @abstractmethod
    def _follow(self, environ: WSGIEnvironment) -> tuple[HTTPStatus, str]:
        """Do what was sent. Raises what ``submit`` answers."""

    @abstractmethod
    def _log_failure(self, error: ConnectorError) -> None:
        """Say in the log what could not be written."""


def typed(form: Mapping[str, str], *names: str) -> list[str]:
    """What was typed into fields, without blanks around it, cut."""
    return [form.get(name, "").strip()[:_LONGEST] for name in names]


def unwritten(
    error: RefusedRequestError | ConfigurationError | ConnectorError,
) -> tuple[HTTPStatus, str]:
    """Say that nothing was written, and why."""
    if isinstance(error, RefusedRequestError):
        return error.status, message("Not written", str(error), good=False)
    status = HTTPStatus.BAD_GATEWAY
    if isinstance(error, ConfigurationError):
        status = HTTPStatus.CONFLICT
    return status, message("Not written", redact(str(error)), good=False)


def message(title: str, what: str, *, good: bool) -> str:
    """A page that says one thing."""
    kind = "good" if good else "bad"
    body = (
        f'<header><h1 class="{kind}">{escape(title)}</h1></header><p>{escape(what)}</p>'
        '<p><a href="/">Back to the status page</a></p>'
    )
    return document(f"{title} - stream-detector", body)
