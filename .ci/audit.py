"""Looks up known vulnerabilities of every release in the lock files: ``make audit``.

pip-audit asks the advisory database of the Python Packaging Authority. Where it cannot be asked,
nothing is known, and that is said and is a failure: a scan that passes because it saw nothing is
worse than none.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CLEAN, VULNERABLE, UNKNOWN = 0, 1, 2
TIMEOUT_SECONDS = 600
_SHOWN = 5
LOCKS = ("requirements.lock", "requirements-dev.lock")


def verdict(code: int, output: str, errors: str) -> tuple[int, str]:
    """Judge what pip-audit printed: an exit code, and what to tell.

    pip-audit ends with 1 for a vulnerability and for an error alike; only the first has a report.
    """
    try:
        report: Any = json.loads(output)
        dependencies = report["dependencies"]
        skipped = [each for each in dependencies if "skip_reason" in each]
        found = [each for each in dependencies if each.get("vulns")]
        checked = len(dependencies) - len(skipped)
    except (ValueError, KeyError, TypeError, AttributeError):
        said = errors.strip().splitlines()[-1:] or ["it said nothing"]
        return UNKNOWN, f"NOT CHECKED: the database was not asked, so nothing is known: {said[0]}"
    lines = [
        f"{each['name']} {each['version']}: {vuln['id']}, mended in "
        f"{', '.join(vuln.get('fix_versions', [])) or 'no release'}"
        for each in found
        for vuln in each["vulns"]
    ]
    lines += [f"NOT CHECKED: {each['name']}: {each['skip_reason']}" for each in skipped[:_SHOWN]]
    if len(skipped) > _SHOWN:
        lines.append(f"NOT CHECKED: {len(skipped) - _SHOWN} more")
    if found:
        return VULNERABLE, "\n".join([*lines, "run make lock ARGS=--upgrade, and the tests"])
    if skipped or not checked or code != 0:
        return UNKNOWN, "\n".join([*lines, f"pip-audit ended with {code}, {checked} checked"])
    return CLEAN, f"{checked} releases checked, no known vulnerability"


def audit(root: Path) -> int:
    """Scan, and print what was found."""
    command = [sys.executable, "-m", "pip_audit", "--format=json", "--progress-spinner=off"]
    command += ["--require-hashes", "--disable-pip"]
    command += [f"--requirement={name}" for name in LOCKS]
    try:
        done = subprocess.run(
            command, cwd=root, capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired:
        print(f"NOT CHECKED: no answer within {TIMEOUT_SECONDS} s, so nothing is known")
        return UNKNOWN
    code, text = verdict(done.returncode, done.stdout, done.stderr)
    print(text, file=sys.stdout if code == CLEAN else sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(audit(Path(__file__).resolve().parents[1]))
