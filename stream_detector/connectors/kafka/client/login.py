"""Parts of kafka-python for a connection by hand: addresses and SCRAM's exchange."""

from __future__ import annotations

from kafka.cluster import collect_hosts
from kafka.net.sasl.scram import ScramClient

__all__ = ["ScramClient", "host_and_port"]


def host_and_port(server: str) -> tuple[str, int]:
    """Host and port of a ``host:port``, with IPv6 in brackets, as the clients will read it.

    Raises ``ValueError`` where it has no such form.
    """
    ((host, port, _),) = collect_hosts([server])
    if not host:
        raise ValueError(f"{server!r} has no host")
    return host, port
