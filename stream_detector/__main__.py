"""The process: one BLAS thread, the command, and an exit code for every way to end."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

# Before NumPy is imported. One thread: a product's last bits depend on how it is shared out.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

from stream_detector.cli import COMMANDS, build_parser  # noqa: E402 - see above
from stream_detector.cli.terminal import take_any_text, warn  # noqa: E402 - see above
from stream_detector.errors import StreamDetectorError  # noqa: E402
from stream_detector.telemetry.logs import fields, logs_json, redact  # noqa: E402

log = logging.getLogger("stream_detector")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the only place that catches everything.

    Returns:
        0 stopped as asked, 1 a defect, 2 usage or configuration, 3 broker or topic, 4 state.
    """
    words = sys.argv[1:] if arguments is None else arguments
    take_any_text()
    meant = words[0] if words and words[0] in COMMANDS else None
    parsed = build_parser(meant).parse_args(words)
    try:
        code: int = parsed.run(parsed)
        sys.stdout.flush()
    except StreamDetectorError as error:
        if logs_json():
            # A log store reads this: the last line is one like the others.
            how = fields("ended", stage=error.stage, exit_code=error.exit_code)
            log.critical("%s", error, extra=how)
        else:
            warn(redact(f"stream-detector: {error}"))
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing more to say to anybody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        warn(
            "stream-detector: there is not enough memory for this; lower the limits of the "
            "configuration (`check` says which are large), or read less at a time (--limit)"
        )
        return 1
    except Exception:
        how = fields("ended", stage="defect", exit_code=1)
        log.critical("a defect ended the process", exc_info=True, extra=how)
        return 1
    return code


def entry() -> NoReturn:
    """Run a command as a process: how it ended is its exit code, whatever signal comes later.

    A signal to stop while the interpreter ends would otherwise turn a code that says why (3: the
    broker) into "killed by signal 15", and a supervisor does other things with that.
    """
    code = main()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)


if __name__ == "__main__":
    entry()
