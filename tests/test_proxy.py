"""The proxy does to a connection what it says, and nothing where it was asked for nothing."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest
from kafka_broker.broker import Broker
from kafka_broker.clients import Message, consume_all, create_topic, produce
from kafka_broker.proxy import END_TXN, FETCH, HOST, PRODUCE, Proxy

PATIENCE_SECONDS = 10.0


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """A proxy in front of a server that answers every frame with its correlation id and body."""
    with _echo_server() as port, Proxy() as proxy:
        proxy.forward_to(port)
        yield proxy


@contextlib.contextmanager
def _echo_server() -> Iterator[int]:
    server = socket.create_server((HOST, 0))

    def serve(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError, EOFError):
            while True:
                (length,) = struct.unpack(">i", _exactly(client, 4))
                request = _exactly(client, length)
                client.sendall(struct.pack(">i", length - 4) + request[4:])  # without the api key

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=server.accept()[:1], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def _exactly(source: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        part = source.recv(count - len(found))
        if not part:
            raise EOFError
        found += part
    return found


class Client:
    """Sends one frame after the other and reads the replies."""

    def __init__(self, proxy: Proxy) -> None:
        self.socket = socket.create_connection((HOST, proxy.port), timeout=PATIENCE_SECONDS)

    def send(self, api_key: int, correlation: int, body: bytes = b"") -> None:
        header = struct.pack(">hhi", api_key, 0, correlation)
        self.socket.sendall(struct.pack(">i", len(header + body)) + header + body)

    def receive(self) -> tuple[int, bytes]:
        (length,) = struct.unpack(">i", _exactly(self.socket, 4))
        reply = _exactly(self.socket, length)
        return struct.unpack(">i", reply[:4])[0], reply[4:]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"delay_seconds": 0.05},
        {"single_bytes": True},
        {"bytes_per_second": 20_000.0},
        {"bytes_per_second": 20_000.0, "single_bytes": False, "delay_seconds": 0.02},
    ],
)
def test_every_byte_arrives_in_order_however_slowly(proxy: Proxy, settings: dict) -> None:
    for name, value in settings.items():
        setattr(proxy, name, value)
    client = Client(proxy)
    for correlation in range(5):
        body = bytes(range(256)) * correlation
        client.send(FETCH, correlation, body)
        assert client.receive() == (correlation, body)


def test_delay_and_throttle_take_at_least_the_time_that_they_say(proxy: Proxy) -> None:
    client = Client(proxy)
    proxy.delay_seconds = 0.2
    started = time.monotonic()
    client.send(FETCH, 1)
    client.receive()
    assert time.monotonic() - started >= 0.38  # both ways; a lower bound, which load cannot break
    proxy.delay_seconds, proxy.bytes_per_second = 0.0, 10_000.0
    started = time.monotonic()
    client.send(FETCH, 2, b"x" * 2_000)
    client.receive()
    assert time.monotonic() - started >= 0.38


def test_only_the_replies_to_the_named_request_are_dropped_and_only_so_often(
    proxy: Proxy,
) -> None:
    client = Client(proxy)
    rule = proxy.drop_replies(END_TXN, times=2)
    keys = [FETCH, END_TXN, PRODUCE, END_TXN, END_TXN]
    for correlation, api_key in enumerate(keys):
        client.send(api_key, correlation)
    assert [client.receive()[0] for _ in range(3)] == [0, 2, 4]
    assert rule.wait()
    assert rule.wait()
    assert not rule.wait(timeout=0.01)


def test_a_reply_that_is_held_back_holds_back_what_follows_it(proxy: Proxy) -> None:
    client = Client(proxy)
    proxy.delay_replies(END_TXN, 0.3)
    started = time.monotonic()
    client.send(END_TXN, 1)
    client.send(FETCH, 2)
    assert [client.receive()[0] for _ in range(2)] == [1, 2]
    assert time.monotonic() - started >= 0.28


def test_cut_resets_what_is_open_and_the_next_connection_works(proxy: Proxy) -> None:
    client = Client(proxy)
    client.send(FETCH, 1)
    client.receive()
    assert proxy.connections == 1
    assert proxy.cut() == 1
    with pytest.raises(ConnectionResetError):
        client.receive()
    again = Client(proxy)
    again.send(FETCH, 2)
    assert again.receive() == (2, b"")


def test_half_open_swallows_and_forwards_nothing_later(proxy: Proxy) -> None:
    before = Client(proxy)
    before.send(FETCH, 1)
    before.receive()
    with proxy.half_open():
        during = Client(proxy)
        for client in (before, during):
            client.send(FETCH, 2)
            client.socket.settimeout(0.3)
            with pytest.raises(TimeoutError):
                client.receive()
            client.socket.settimeout(PATIENCE_SECONDS)
    for client in (before, during):
        with pytest.raises(ConnectionResetError):
            client.receive()


def test_a_server_that_is_not_there_is_a_reset() -> None:
    # The reset may already meet the connecting, as the proxy may be the quicker.
    with Proxy() as proxy, pytest.raises(ConnectionError):
        Client(proxy).receive()


def test_close_leaves_no_thread_behind() -> None:
    before = set(threading.enumerate())
    with _echo_server() as port, Proxy() as proxy:
        serving = set(threading.enumerate())
        proxy.forward_to(port)
        client = Client(proxy)
        client.send(FETCH, 1)
        client.receive()
        assert set(threading.enumerate()) - serving
    assert not proxy.connections
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(PATIENCE_SECONDS)
    assert not any(thread.is_alive() for thread in left)


def test_clients_of_a_broker_behind_the_proxy_stay_behind_it(broker_factory) -> None:
    with Proxy() as proxy:
        broker: Broker = broker_factory(proxy_port=proxy.port)
        assert broker.proxied_port is not None
        proxy.forward_to(broker.proxied_port)
        topic = create_topic(proxy.bootstrap, "proxied")
        proxy.single_bytes = True
        produce(proxy.bootstrap, topic, [Message(b"through the proxy")])
        proxy.single_bytes = False
        assert [each.value for each in consume_all(proxy.bootstrap, topic)] == [
            b"through the proxy"
        ]
        rule = proxy.delay_replies(PRODUCE, 0.0)
        produce(broker.bootstrap, topic, [Message(b"past it")])
        assert not rule.wait(timeout=0.01)
        produce(proxy.bootstrap, topic, [Message(b"through it again")])
        assert rule.wait()
