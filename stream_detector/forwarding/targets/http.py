"""What targets that are asked by HTTP have alike."""

from __future__ import annotations

from collections.abc import Mapping

from stream_detector.config.models.forward import HttpConfig
from stream_detector.connectors.http_client import Answer, HttpClient, NoAnswerError
from stream_detector.forwarding.outcome import Outcome, judged, no_answer
from stream_detector.forwarding.targets.base import Means, Target


class HttpTarget(Target):
    """A receiver with an address. State: its client's."""

    def __init__(self, config: HttpConfig, means: Means) -> None:
        """Raises ``ConfigurationError``."""
        self._client = HttpClient(means.section, config, means.on_secret)

    def obstacle(self) -> str | None:
        """A host that cannot be found."""
        return self._client.unresolved()

    def _asked(
        self, method: str, body: bytes, headers: Mapping[str, str], path: str = ""
    ) -> Outcome:
        """Send a request, and judge what comes of it."""
        try:
            answer = self._client.request(method, body, headers, path)
        except NoAnswerError as error:
            return no_answer(error)
        self._heard(answer)
        return judged(self._client.host, answer)

    def _heard(self, answer: Answer) -> None:
        """Take note of an answer, whatever it says."""
        del answer

    def close(self) -> None:
        """Disconnect."""
        self._client.close()
