"""Memory limit of the process, for the alert that it is nearly reached."""

from __future__ import annotations

import re
from pathlib import Path

_ROOT = Path("/")


def memory_limit_bytes(root: Path = _ROOT) -> int | None:
    """The least of the control group's limit and the machine's memory; None where neither is said.

    The limit of a container shows at the top of its own view of the control groups (version 2,
    then 1); of a systemd unit in the group that the process is in, or one above it.

    Args:
        root: where ``proc`` and ``sys`` lie.
    """
    groups = root / "sys" / "fs" / "cgroup"
    candidates = [groups / "memory" / "memory.limit_in_bytes"]
    own = re.search(r"^0::/(.*)$", _read(root / "proc" / "self" / "cgroup"), re.MULTILINE)
    place = groups / (own[1] if own else "")
    while place.is_relative_to(groups):
        candidates.append(place / "memory.max")
        place = place.parent
    limits = [int(text) for each in candidates if (text := _read(each).strip()).isdigit()]
    total = re.search(r"^MemTotal:\s+(\d+) kB$", _read(root / "proc" / "meminfo"), re.MULTILINE)
    if total:
        limits.append(int(total[1]) * 1024)
    return min(limits, default=None)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""  # another system, or a file that not everybody may read
