"""Connections of one network: what is normal there, and what each planted attack looks like.

The services, flags and attacks are those of KDD Cup 1999; sizes and rates follow what its records
show of them. Everything is drawn from the generator that comes in.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from stream_detector.simulation.traffic import NO_ATTACK

CONTENT_FIELDS = (
    "wrong_fragment",
    "hot",
    "num_failed_logins",
    "logged_in",
    "num_compromised",
    "root_shell",
    "su_attempted",
    "num_root",
    "num_file_creations",
    "num_shells",
    "num_access_files",
    "is_guest_login",
)
ROW = np.dtype(
    [
        ("time", "i8"),
        ("attack", "i8"),
        ("source", "i8"),
        ("destination", "i8"),
        ("service", "i8"),
        ("flag", "i8"),
        ("duration", "i8"),
        ("src_bytes", "i8"),
        ("dst_bytes", "i8"),
        *((name, "i8") for name in CONTENT_FIELDS),
    ]
)
Rows = NDArray[np.void]


class Service(NamedTuple):
    """Normal use of a service: sizes are log-normal, by median and sigma of the log."""

    name: str
    protocol: str
    share: float
    src_bytes: float
    src_sigma: float
    dst_bytes: float
    dst_sigma: float
    mean_duration: float
    logged_in: float


SERVICES = (
    Service("http", "tcp", 0.50, 230, 0.3, 1500, 1.3, 0.3, 0.97),
    Service("domain_u", "udp", 0.17, 42, 0.2, 90, 0.5, 0, 0),
    Service("smtp", "tcp", 0.11, 950, 0.6, 330, 0.1, 1.5, 0.97),
    Service("ftp_data", "tcp", 0.05, 2500, 1.9, 0, 0, 2, 0.7),
    Service("private", "udp", 0.04, 105, 0.1, 120, 0.3, 0, 0),
    Service("ecr_i", "icmp", 0.025, 64, 0.5, 0, 0, 0, 0),
    Service("ntp_u", "udp", 0.025, 48, 0.01, 48, 0.01, 0, 0),
    Service("ftp", "tcp", 0.02, 120, 0.7, 400, 0.9, 12, 0.8),
    Service("pop_3", "tcp", 0.02, 30, 0.2, 250, 1.2, 1, 0.95),
    Service("finger", "tcp", 0.015, 8, 0.4, 140, 0.5, 0.5, 0),
    Service("telnet", "tcp", 0.012, 260, 0.9, 1800, 1.2, 90, 0.85),
    Service("eco_i", "icmp", 0.008, 30, 0.3, 0, 0, 0, 0),
    Service("auth", "tcp", 0.005, 9, 0.1, 20, 0.3, 0, 0),
)
FLAGS = ("SF", "S0", "REJ", "RSTO", "RSTR", "S1", "SH")
SYN_ERRORS = np.array([flag in ("S0", "S1") for flag in FLAGS])
REJECTIONS = np.array([flag in ("REJ", "RSTO", "RSTR") for flag in FLAGS])

SERVERS = 30
CLIENTS = 400
STRANGERS = 4000
HOST_NAMES = [
    *(f"10.0.0.{number + 1}" for number in range(SERVERS)),
    *(f"10.0.{number // 250 + 1}.{number % 250 + 1}" for number in range(CLIENTS)),
    *(f"198.18.{number // 250}.{number % 250 + 1}" for number in range(STRANGERS)),
]
"""Servers, clients, then strangers, in the address space kept for benchmarks (RFC 2544)."""

_PLACE = {service.name: index for index, service in enumerate(SERVICES)}
_FLAG = {flag: index for index, flag in enumerate(FLAGS)}
_TCP = np.array([service.protocol == "tcp" for service in SERVICES])
_NORMAL_FLAG_SHARES = (0.955, 0.004, 0.022, 0.01, 0.004, 0.004, 0.001)


def normal_rows(random: Generator, time_ms: NDArray[np.int64]) -> Rows:
    """Everyday connections at these moments."""
    count = len(time_ms)
    rows = np.zeros(count, dtype=ROW)
    rows["time"] = time_ms
    rows["attack"] = NO_ATTACK
    shares = np.array([service.share for service in SERVICES])
    service = random.choice(len(SERVICES), count, p=shares / shares.sum())
    rows["service"] = service
    inside = random.random(count) < 0.7  # noqa: PLR2004 - a share
    # A few clients are far busier than the others.
    busy = (CLIENTS * random.random(count) ** 2).astype(np.int64)
    rows["source"] = np.where(
        inside, SERVERS + busy, SERVERS + CLIENTS + random.integers(0, STRANGERS, count)
    )
    # Each service lives on five servers, the first of them most used.
    rows["destination"] = (service * 3 + (5 * random.random(count) ** 1.5).astype(int)) % SERVERS
    rows["flag"] = np.where(
        _TCP[service], random.choice(len(FLAGS), count, p=_NORMAL_FLAG_SHARES), 0
    )
    complete = rows["flag"] == _FLAG["SF"]
    sizes = np.array([(s.src_bytes, s.src_sigma, s.dst_bytes, s.dst_sigma) for s in SERVICES]).T
    src, src_sigma, dst, dst_sigma = sizes[:, service]
    rows["src_bytes"] = complete * src * np.exp(src_sigma * random.standard_normal(count))
    rows["dst_bytes"] = complete * dst * np.exp(dst_sigma * random.standard_normal(count))
    means = np.array([s.mean_duration for s in SERVICES])[service]
    rows["duration"] = random.exponential(means) * complete
    logged_in = np.array([s.logged_in for s in SERVICES])[service]
    rows["logged_in"] = complete & (random.random(count) < logged_in)
    session = (rows["logged_in"] == 1) & np.isin(service, [_PLACE["telnet"], _PLACE["ftp"]])
    rows["hot"] = session * random.poisson(0.4, count)
    rows["num_failed_logins"] = session * (random.random(count) < 0.04)  # noqa: PLR2004 - typos
    rows["num_file_creations"] = session * random.poisson(0.15, count)
    rows["num_access_files"] = session * (random.random(count) < 0.08)  # noqa: PLR2004
    rows["num_root"] = session * (random.random(count) < 0.03) * random.integers(1, 4, count)  # noqa: PLR2004
    rows["is_guest_login"] = session * (random.random(count) < 0.2) * (service == _PLACE["ftp"])  # noqa: PLR2004
    return rows


class Kind(NamedTuple):
    """An attack: its share of all attacks, and bounds of its number of events."""

    share: float
    low: int
    high: int


KINDS = {
    "neptune": Kind(0.06, 150, 450),
    "smurf": Kind(0.04, 100, 300),
    "portsweep": Kind(0.12, 40, 120),
    "ipsweep": Kind(0.10, 25, 75),
    "guess_passwd": Kind(0.15, 10, 30),
    "back": Kind(0.08, 20, 60),
    "warezclient": Kind(0.20, 5, 15),
    "buffer_overflow": Kind(0.25, 1, 3),
}
MEAN_EVENTS = sum(kind.share * (kind.low + kind.high) / 2 for kind in KINDS.values())


def attack_rows(random: Generator, kind: str, begin_ms: int) -> tuple[Rows, str]:
    """The connections of one attack that begins at ``begin_ms``, and whom it concerns."""
    count = int(random.integers(KINDS[kind].low, KINDS[kind].high + 1))
    rows = np.zeros(count, dtype=ROW)
    stranger = SERVERS + CLIENTS + int(random.integers(0, STRANGERS))
    rows["source"] = stranger
    rows["destination"] = random.integers(0, SERVERS)
    mean_gap_ms = _FILL[kind](random, rows)
    gaps = random.exponential(mean_gap_ms, count)
    rows["time"] = begin_ms + np.cumsum(gaps).astype(np.int64)
    if kind == "ipsweep":
        return rows, f"from {HOST_NAMES[stranger]}"
    return rows, f"on {HOST_NAMES[rows['destination'][0]]}"


# Each fills the columns of its rows in and returns the mean gap between two, in milliseconds.


def _neptune(random: Generator, rows: Rows) -> float:
    """A SYN flood: half-open connections from made-up addresses."""
    rows["source"] = SERVERS + CLIENTS + random.integers(0, STRANGERS, len(rows))
    rows["service"] = _PLACE[str(random.choice(["http", "smtp", "telnet", "ftp"]))]
    rows["flag"] = _FLAG["S0"]
    return float(random.uniform(15, 60))


def _smurf(random: Generator, rows: Rows) -> float:
    """Echo replies from everywhere."""
    rows["source"] = SERVERS + CLIENTS + random.integers(0, STRANGERS, len(rows))
    rows["service"] = _PLACE["ecr_i"]
    rows["src_bytes"] = random.choice([520, 1032])
    return float(random.uniform(15, 60))


def _portsweep(random: Generator, rows: Rows) -> float:
    """Generate a stranger that tries every service of one host."""
    tcp = np.flatnonzero(_TCP)
    rows["service"] = tcp[np.arange(len(rows)) % len(tcp)]
    flags = [_FLAG["REJ"], _FLAG["RSTR"], _FLAG["SF"]]
    rows["flag"] = random.choice(flags, len(rows), p=[0.7, 0.2, 0.1])
    return float(random.uniform(200, 1500))


def _ipsweep(random: Generator, rows: Rows) -> float:
    """Generate a stranger that pings host after host."""
    rows["destination"] = (int(rows["destination"][0]) + np.arange(len(rows))) % SERVERS
    rows["service"] = _PLACE["eco_i"]
    rows["src_bytes"] = random.choice([8, 18])
    return float(random.uniform(200, 1500))


def _guess_passwd(random: Generator, rows: Rows) -> float:
    """Log-ins that fail, one after the other."""
    rows["service"] = _PLACE[str(random.choice(["telnet", "pop_3", "ftp"]))]
    rows["flag"] = random.choice([_FLAG["SF"], _FLAG["RSTO"]], len(rows), p=[0.4, 0.6])
    rows["duration"] = random.integers(0, 5, len(rows))
    rows["src_bytes"] = random.integers(28, 130, len(rows))
    rows["dst_bytes"] = random.integers(90, 260, len(rows))
    rows["num_failed_logins"] = random.choice([0, 1, 2, 3], len(rows), p=[0.2, 0.5, 0.2, 0.1])
    return float(random.uniform(1500, 6000))


def _back(random: Generator, rows: Rows) -> float:
    """Requests to a web server that are thousands of slashes long."""
    rows["service"] = _PLACE["http"]
    rows["destination"] = random.integers(0, 5)
    rows["flag"] = random.choice([_FLAG["SF"], _FLAG["RSTR"]], len(rows), p=[0.9, 0.1])
    rows["src_bytes"] = random.choice([54_540, 53_168, 45_260], len(rows))
    rows["dst_bytes"] = random.choice([8314, 7300], len(rows))
    rows["logged_in"] = 1
    rows["hot"] = 2
    rows["num_compromised"] = random.random(len(rows)) < 0.9  # noqa: PLR2004 - a share
    return float(random.uniform(400, 2500))


def _warezclient(random: Generator, rows: Rows) -> float:
    """A guest downloads what somebody left on an FTP server."""
    control = random.random(len(rows)) < 0.4  # noqa: PLR2004 - a share
    rows["service"] = np.where(control, _PLACE["ftp"], _PLACE["ftp_data"])
    rows["duration"] = np.where(control, random.integers(60, 2500, len(rows)), 0)
    data_bytes = random.choice([334, 5_150, 1_200_000, 5_100_000], len(rows))
    rows["src_bytes"] = np.where(control, random.integers(300, 2500, len(rows)), data_bytes)
    rows["dst_bytes"] = control * random.integers(900, 4000, len(rows))
    rows["logged_in"] = 1
    rows["is_guest_login"] = control
    rows["hot"] = control * random.integers(2, 29, len(rows))
    return float(random.uniform(10_000, 60_000))


def _buffer_overflow(random: Generator, rows: Rows) -> float:
    """A telnet session that ends as root."""
    rows["service"] = _PLACE["telnet"]
    rows["duration"] = random.integers(60, 330, len(rows))
    rows["src_bytes"] = random.integers(900, 6500, len(rows))
    rows["dst_bytes"] = random.integers(1500, 12_000, len(rows))
    rows["logged_in"] = 1
    rows["root_shell"] = random.random(len(rows)) < 0.8  # noqa: PLR2004 - a share
    rows["num_compromised"] = random.integers(0, 4, len(rows))
    rows["hot"] = random.integers(1, 5, len(rows))
    rows["num_root"] = random.integers(0, 6, len(rows))
    rows["num_file_creations"] = random.integers(0, 5, len(rows))
    rows["num_shells"] = random.integers(0, 3, len(rows))
    return 20_000.0


_FILL = {
    "neptune": _neptune,
    "smurf": _smurf,
    "portsweep": _portsweep,
    "ipsweep": _ipsweep,
    "guess_passwd": _guess_passwd,
    "back": _back,
    "warezclient": _warezclient,
    "buffer_overflow": _buffer_overflow,
}
