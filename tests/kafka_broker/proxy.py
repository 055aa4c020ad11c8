"""A TCP proxy in front of the broker of the tests, for the faults of a network.

A client goes on to the address that the broker advertises, so that the broker must know the proxy::

    with Proxy() as proxy, Broker(directory, proxy_port=proxy.port) as broker:
        proxy.forward_to(broker.proxied_port)
        KafkaProducer(bootstrap_servers=proxy.bootstrap)

Plain text only: it reads Kafka's frames (length, then the header of the request or the reply).
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Self

from kafka_broker.broker import HOST

PRODUCE = 0
FETCH = 1
INIT_PRODUCER_ID = 22
ADD_PARTITIONS_TO_TXN = 24
ADD_OFFSETS_TO_TXN = 25
END_TXN = 26
TXN_OFFSET_COMMIT = 28

LENGTH = struct.Struct(">i")
REQUEST_HEADER = struct.Struct(">ihhi")  # length, api key, its version, correlation id
REPLY_HEADER = struct.Struct(">ii")  # length, correlation id
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER of zero seconds: close() sends RST
LOOK_AGAIN_SECONDS = 0.05


class ReplyRule:
    """What happens to the replies to the next ``times`` requests of one kind.

    Args:
        times: how many are treated so.
        delay_seconds: how long each is held back, with all that follow it; None drops it.
    """

    def __init__(self, times: int, delay_seconds: float | None) -> None:
        self.times = times
        self.delay_seconds = delay_seconds
        self._treated = threading.Semaphore(0)

    def wait(self, timeout: float = 30.0) -> bool:
        """Wait until one more of the replies came and was treated; False where none did."""
        return self._treated.acquire(timeout=timeout)

    def note(self) -> None:
        """Called for each reply that is treated."""
        self._treated.release()


class Proxy:
    """Forwards connections to one port of the broker, and does to them what a test asks for.

    Its state: the public settings, which hold from the next frame on; the rules for replies; and
    the open connections with two threads each, all gone after ``close``.
    """

    def __init__(self) -> None:
        self._server = socket.create_server((HOST, 0))
        self._server.settimeout(LOOK_AGAIN_SECONDS)
        self.port: int = self._server.getsockname()[1]
        self.delay_seconds = 0.0
        """Of every frame, each way."""
        self.bytes_per_second: float | None = None
        """Of every connection, each way; None: no limit."""
        self.single_bytes = False
        """Whether each byte is written by itself."""
        self._target: int | None = None
        self._rules: dict[int, ReplyRule] = {}
        self._links: list[_Link] = []
        self._lock = threading.Lock()
        self._swallowing = threading.Event()
        self._closed = threading.Event()
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    @property
    def bootstrap(self) -> str:
        """Address for ``bootstrap_servers``."""
        return f"{HOST}:{self.port}"

    @property
    def connections(self) -> int:
        """How many are open."""
        with self._lock:
            return sum(link.alive for link in self._links)

    def forward_to(self, port: int) -> None:
        """Forward new connections there; until then they are reset."""
        self._target = port

    def drop_replies(self, api_key: int, times: int = 1) -> ReplyRule:
        """Let the next requests of this kind reach the broker, and lose its replies."""
        return self._add_rule(api_key, ReplyRule(times, None))

    def delay_replies(self, api_key: int, delay_seconds: float, times: int = 1) -> ReplyRule:
        """Hold back the replies to the next requests of this kind."""
        return self._add_rule(api_key, ReplyRule(times, delay_seconds))

    def cut(self) -> int:
        """Reset every open connection, on both sides. Returns how many there were."""
        with self._lock:
            cut = [link for link in self._links if link.alive]
        for link in cut:
            link.reset.set()
        for link in cut:
            link.join(30)
        return len(cut)

    @contextlib.contextmanager
    def half_open(self) -> Iterator[None]:
        """Inside the ``with`` block: take connections and bytes, and forward nothing.

        At its end every connection is reset, since bytes of it are lost.
        """
        self._swallowing.set()
        try:
            yield
        finally:
            self.cut()
            self._swallowing.clear()

    def close(self) -> None:
        """Take no more connections, reset the open ones, end every thread."""
        self._closed.set()
        self._acceptor.join(30)
        self._server.close()
        self.cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def rule_for(self, api_key: int) -> ReplyRule | None:
        """The rule for the reply to a request of this kind that has just come; uses it up once."""
        with self._lock:
            rule = self._rules.get(api_key)
            if rule is None or rule.times == 0:
                return None
            rule.times -= 1
            return rule

    @property
    def swallows(self) -> bool:
        """Whether nothing is forwarded."""
        return self._swallowing.is_set()

    def _add_rule(self, api_key: int, rule: ReplyRule) -> ReplyRule:
        with self._lock:
            self._rules[api_key] = rule
        return rule

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._server.accept()
            except TimeoutError:
                continue
            try:
                if self._target is None:
                    raise ConnectionRefusedError("forward_to was not called yet")
                broker = socket.create_connection((HOST, self._target), timeout=5)
            except OSError:  # the broker is down, as its client shall notice
                _close(client, reset=True)
                continue
            with self._lock:
                self._links = [link for link in self._links if link.alive]
                self._links.append(_Link(self, client, broker))


class _Link:
    """One client's connection and the broker's end of it, pumped by one thread each way.

    Sockets are closed by their own threads: closing under a thread that reads would not send RST.
    """

    def __init__(self, proxy: Proxy, client: socket.socket, broker: socket.socket) -> None:
        self.reset = threading.Event()
        self._proxy = proxy
        self._sockets = (client, broker)
        self._held: dict[int, ReplyRule] = {}  # by correlation id, requests that a rule was for
        for end in self._sockets:
            end.settimeout(LOOK_AGAIN_SECONDS)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ended = threading.Event()
        self._pumping = threading.Barrier(2, action=self._close_both)
        self._threads = [
            threading.Thread(target=self._pump, args=arguments, daemon=True)
            for arguments in ((client, broker, self._request), (broker, client, self._reply))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> bool:
        """Whether a thread still pumps."""
        return any(thread.is_alive() for thread in self._threads)

    def join(self, timeout: float) -> None:
        """Wait until both sockets are closed."""
        for thread in self._threads:
            thread.join(timeout)

    def _pump(
        self, source: socket.socket, target: socket.socket, pass_on: Callable[[bytes], bool]
    ) -> None:
        try:
            while True:
                frame = self._read_frame(source)
                if not self._proxy.swallows and pass_on(frame):
                    self._write(target, frame)
        except OSError:  # ended by either side, or by reset
            self._ended.set()
        self._pumping.wait(30)

    def _request(self, frame: bytes) -> bool:
        _, api_key, _, correlation = REQUEST_HEADER.unpack_from(frame)
        if (rule := self._proxy.rule_for(api_key)) is not None:
            self._held[correlation] = rule
        return True

    def _reply(self, frame: bytes) -> bool:
        _, correlation = REPLY_HEADER.unpack_from(frame)
        rule = self._held.pop(correlation, None)
        if rule is None:
            return True
        rule.note()
        if rule.delay_seconds is None:
            return False
        self._sleep(rule.delay_seconds)
        return True

    def _read_frame(self, source: socket.socket) -> bytes:
        prefix = self._read(source, LENGTH.size)
        return prefix + self._read(source, LENGTH.unpack(prefix)[0])

    def _read(self, source: socket.socket, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            self._check()
            try:
                part = source.recv(count - len(parts))
            except TimeoutError:
                continue
            if not part:
                raise ConnectionResetError("closed by its owner")
            parts += part
        return bytes(parts)

    def _write(self, target: socket.socket, frame: bytes) -> None:
        self._sleep(self._proxy.delay_seconds)
        rate = self._proxy.bytes_per_second
        size = len(frame)
        if rate is not None:
            size = max(1, int(rate * LOOK_AGAIN_SECONDS))
        if self._proxy.single_bytes:
            size = 1
        for start in range(0, len(frame), size):
            part = memoryview(frame)[start : start + size]
            while part:
                self._check()
                with contextlib.suppress(TimeoutError):
                    part = part[target.send(part) :]
            if rate is not None:
                self._sleep(size / rate)

    def _sleep(self, seconds: float) -> None:
        while seconds > 0:
            self._check()
            self._ended.wait(min(seconds, LOOK_AGAIN_SECONDS))
            seconds -= LOOK_AGAIN_SECONDS

    def _check(self) -> None:
        if self.reset.is_set() or self._ended.is_set():
            raise ConnectionResetError("ended by the proxy")

    def _close_both(self) -> None:
        for end in self._sockets:
            _close(end, reset=self.reset.is_set())


def _close(end: socket.socket, *, reset: bool) -> None:
    if reset:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    end.close()
