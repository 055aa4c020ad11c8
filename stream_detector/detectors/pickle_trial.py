"""Reads a River model from standard input under limits: ``python -m ...pickle_trial``.

River's classes in Rust read their state in native code. Bytes that make it panic, take memory
without end or run for ever do so in this process, which its parent takes as an answer.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

from stream_detector.detectors.river_pickle import PROTOCOL, read_model
from stream_detector.errors import StateError

MEMORY_BYTES = 1 << 30
MEMORY_PER_BYTE = 64
"""Address space beyond what the interpreter has taken: a model takes up to sixty bytes a byte."""
CPU_SECONDS = 110


def limit(content_bytes: int) -> None:
    """Limit this process's memory, time and core file, where the system knows limits."""
    try:
        import resource
    except ImportError:
        return
    try:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        pass  # no such file outside of Linux: time alone is limited there
    else:
        most = taken + MEMORY_BYTES + MEMORY_PER_BYTE * content_bytes
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> int:
    """Read and write the model once; 0 where both went well."""
    content = sys.stdin.buffer.read()
    limit(len(content))
    try:
        # Writing it asks each object for its state: what was taken in must come out again.
        pickle.dumps(read_model(content), protocol=PROTOCOL)
    except (StateError, MemoryError) as error:
        sys.stderr.write(f"{error or 'out of memory'}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
