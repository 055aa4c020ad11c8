"""Slack's incoming webhook.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks

What comes from events is escaped as Slack asks for it, and ``verbatim`` keeps Slack from making
links and mentions of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from stream_detector.config.models.forward import SlackConfig
from stream_detector.forwarding.message import Message
from stream_detector.forwarding.outcome import Outcome
from stream_detector.forwarding.targets.base import Means
from stream_detector.forwarding.targets.http import HttpTarget
from stream_detector.forwarding.wording import text_of, title_of

MOST_CHARACTERS = 3000
"""Of a section's text; of a message 40,000."""

_SIGNS = {
    "low": ":white_circle:",
    "medium": ":large_yellow_circle:",
    "high": ":large_orange_circle:",
    "critical": ":red_circle:",
}
_OVER = ":white_check_mark:"
_LONGEST_TITLE = 1000


class SlackTarget(HttpTarget):
    """Sends to a channel. State: its client's."""

    def __init__(self, config: SlackConfig, means: Means) -> None:
        """Raises ``ConfigurationError``."""
        super().__init__(config, means)
        self._link = config.link

    def deliver(self, messages: Sequence[Message]) -> list[Outcome]:
        """Send each message by a request of its own."""
        return [self._sent(message) for message in messages]

    def _sent(self, message: Message) -> Outcome:
        headers = {"Content-Type": "application/json", "Idempotency-Key": message.key}
        return self._asked("POST", self._body(message), headers)

    def _body(self, message: Message) -> bytes:
        title = escaped(title_of(message), _LONGEST_TITLE)
        sign = _OVER if message.state == "resolved" else _SIGNS[message.severity]
        head = f"<{self._link}|{title}>" if self._link is not None else f"*{title}*"
        head = f"{sign} {head}\n"
        text = head + escaped(text_of(message), MOST_CHARACTERS - len(head))
        section = {"type": "mrkdwn", "verbatim": True, "text": text}
        return msgspec.json.encode(
            {
                "text": f"{sign} {title}",
                "blocks": [{"type": "section", "text": section}],
                "unfurl_links": False,
                "unfurl_media": False,
            }
        )


def escaped(text: str, longest: int) -> str:
    """Return a text in which nothing is Slack's syntax for links and mentions, cut to a length.

    >>> escaped("<!channel> & more", 23)
    '&lt;!channel&gt; &amp;…'
    """
    made: list[str] = []
    left = longest - 1
    for character in text:
        piece = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}.get(character, character)
        if len(piece) > left:
            made.append("…")
            break
        made.append(piece)
        left -= len(piece)
    return "".join(made)
