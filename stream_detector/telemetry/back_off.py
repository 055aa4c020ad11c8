"""A brake on guessing passwords and tokens, by the address that guesses.

The right secret always passes, or who guesses from an address could lock out who works there (a
proxy, a shared network). So after a few wrong ones every answer to that address is held back, right
or wrong, before the secret is looked at: a guess that is not waited for says nothing.
"""

from __future__ import annotations

import ipaddress
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TypeAlias

from stream_detector.telemetry.logs import fields

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

FREE_ATTEMPTS = 5
"""Wrong secrets of an address before it is held back: people mistype, old settings retry."""

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.25, 2.0
"""The longest is well below the ten seconds that Prometheus waits for a scrape by default."""

HALF_LIFE_SECONDS = 60.0
MAX_ADDRESSES = 4096
MAX_HELD = 8
"""Requests held back at a time: half of the connections, so that others find one free."""

_NETWORK_BITS = 64  # of IPv6, what one customer is given at least

_log = logging.getLogger(__name__)


class BackOff:
    """Pauses of the addresses that guessed; thread-safe. One for each secret.

    State: at most ``MAX_ADDRESSES`` addresses with the count of wrong secrets, halved every minute;
    the one that was wrong longest ago goes first.

    Args:
        what: the secret, as the log calls it.
        monotonic: monotonic clock, seconds.
        sleep: waits, seconds.
    """

    def __init__(
        self,
        what: str,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._what, self._monotonic, self._sleep = what, monotonic, sleep
        self._wrong: OrderedDict[str, tuple[float, float]] = OrderedDict()  # count, as of when
        self._held = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Count the addresses that are remembered."""
        return len(self._wrong)

    def admit(self, address: str) -> bool:
        """Hold a request back as its address has deserved; False: too many are being held.

        To be called before a secret is looked at.
        """
        with self._lock:
            pause = self.pause(address)
            if not pause:
                return True
            if self._held >= MAX_HELD:
                return False
            self._held += 1
        try:
            self._sleep(pause)
        finally:
            with self._lock:
                self._held -= 1
        return True

    def pause(self, address: str) -> float:
        """Seconds by which the next answer to ``address`` is held back."""
        wrong = self._count(address)
        if wrong < FREE_ATTEMPTS:
            return 0.0
        pause: float = FIRST_PAUSE_SECONDS * 2.0 ** (wrong - FREE_ATTEMPTS)
        return min(pause, LONGEST_PAUSE_SECONDS)

    def wrong(self, address: str) -> None:
        """Count a wrong secret; the log hears of it when an address is first held back."""
        with self._lock:
            before = self._count(address)
            # A bound, so that an hour's guessing is forgotten within ten minutes.
            count = min(before + 1, 2.0 * FREE_ATTEMPTS)
            self._wrong[address] = (count, self._monotonic())
            self._wrong.move_to_end(address)
            while len(self._wrong) > MAX_ADDRESSES:
                self._wrong.popitem(last=False)
        if before < FREE_ATTEMPTS <= count:
            _log.warning(
                "several wrong %ss came from one address: its requests are answered slowly",
                self._what,
                extra=fields("guessing", stage="http", client=address),
            )

    def _count(self, address: str) -> float:
        count, moment = self._wrong.get(address, (0.0, 0.0))
        left: float = 0.5 ** ((self._monotonic() - moment) / HALF_LIFE_SECONDS)
        return count * left


def client_address(peer: str, forwarded: str | None, proxies: Sequence[Network]) -> str:
    """The address that a request is counted under; of IPv6 the network of 64 bits.

    ``X-Forwarded-For`` can be written by anybody. So it counts only where the peer is a proxy that
    the configuration names, and of it the last address that is not such a proxy itself.

    >>> client_address("192.0.2.7", "198.51.100.1", [])
    '192.0.2.7'
    >>> proxies = [ipaddress.ip_network("192.0.2.0/24")]
    >>> client_address("192.0.2.7", "203.0.113.9, 198.51.100.1, 192.0.2.8", proxies)
    '198.51.100.1'
    >>> client_address("2001:db8::1:2:3:4", None, [])
    '2001:db8::/64'
    """
    address = _parsed(peer)
    if address is None:
        return peer
    for hop in reversed((forwarded or "").split(",")):
        if not any(address in proxy for proxy in proxies):
            break
        if (next_one := _parsed(hop.strip())) is None:
            break
        address = next_one
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((address, _NETWORK_BITS), strict=False))


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])  # without the interface
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
