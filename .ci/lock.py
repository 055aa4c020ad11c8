"""Resolves pyproject.toml into the lock files, each file of each release with its hash.

``make lock`` keeps the versions that are there and adds what is new; ``make lock ARGS=--upgrade``
takes the newest of everything. pip-compile asks the registry that pip is configured with, and its
address is written nowhere. A release is locked with the hashes of all its files, so the same lock
holds on every platform.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

RUNTIME, DEVELOPMENT = "requirements.lock", "requirements-dev.lock"
RUNTIME_EXTRAS = ("progress", "formats", "calendars")
OPTIONS = (
    "--quiet",
    "--generate-hashes",
    "--allow-unsafe",  # setuptools is one: what is built without isolation needs it pinned
    "--strip-extras",
    "--no-annotate",
    "--no-header",
    # In a lock file these would be addresses of one machine.
    *(f"--no-emit-{what}" for what in ("index" + "-url", "find-links", "trusted-host")),
)
TIMEOUT_SECONDS = 1800
_ENTRY = re.compile(r"^([A-Za-z0-9_.-]+)==(\S+)((?:\s+\\?\s*--hash=\S+)*)", re.MULTILINE)
_HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")


def entries(text: str) -> dict[str, tuple[str, list[str]]]:
    """Give version and hashes by name, of the text of a lock file."""
    return {
        re.sub(r"[-_.]+", "-", name).lower(): (version, _HASH.findall(rest))
        for name, version, rest in _ENTRY.findall(text)
    }


def written(locked: dict[str, tuple[str, list[str]]]) -> str:
    """Give the text of a lock file with these entries."""
    lines = []
    for name, (version, hashes) in sorted(locked.items()):
        lines.append(" \\\n    ".join([f"{name}=={version}", *(f"--hash={h}" for h in hashes)]))
    return "\n".join(lines) + "\n"


def head(text: str) -> str:
    """Give the comments and references at the beginning of a lock file."""
    return "".join(f"{line}\n" for line in text.splitlines() if line.startswith(("#", "-r")))


def compiled(root: Path, target: Path, extras: Sequence[str], more: Sequence[str]) -> str:
    """Resolve, and give the text; ``target`` holds what is to be kept."""
    command = [sys.executable, "-m", "piptools", "compile", *OPTIONS, *more]
    command += [f"--extra={extra}" for extra in extras]
    command += ["--build-deps-for=wheel", f"--output-file={target}", "pyproject.toml"]
    subprocess.run(command, cwd=root, check=True, timeout=TIMEOUT_SECONDS)
    return target.read_text("utf-8")


def lock(root: Path, more: Sequence[str]) -> None:
    """Write both lock files anew."""
    place = root / ".cache" / "lock"
    place.mkdir(parents=True, exist_ok=True)
    old = {name: (root / name).read_text("utf-8") for name in (RUNTIME, DEVELOPMENT)}
    known = entries(old[RUNTIME])
    # Without hashes: pip-compile would take those that are there for all that there are.
    kept = {
        name: "".join(f"{n}=={v}\n" for n, (v, _) in entries(t).items()) for name, t in old.items()
    }
    seed = place / "runtime.txt"
    seed.write_text(kept[RUNTIME], "utf-8")
    runtime = entries(compiled(root, seed, RUNTIME_EXTRAS, more))
    fixed = place / "fixed.txt"
    fixed.write_text("".join(f"{name}=={version}\n" for name, (version, _) in runtime.items()))
    seed = place / "development.txt"
    seed.write_text(kept[DEVELOPMENT] + fixed.read_text("utf-8"), "utf-8")
    whole = entries(compiled(root, seed, ("dev",), [*more, f"--constraint={fixed}"]))
    beside = {name: entry for name, entry in whole.items() if name not in runtime}
    for name, locked in ((RUNTIME, runtime), (DEVELOPMENT, beside)):
        bare = [entry for entry, (_, hashes) in locked.items() if not hashes]
        if bare:
            raise SystemExit(f"{name}: the registry gave no hashes of {', '.join(bare)}")
        (root / name).write_text(head(old[name]) + written(locked), "utf-8")
    print(f"{len(runtime)} releases run (before: {len(known)}), {len(beside)} more develop")


if __name__ == "__main__":
    lock(Path(__file__).resolve().parents[1], sys.argv[1:])
