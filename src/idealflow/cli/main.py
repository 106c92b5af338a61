"""The program: run, check, status, report, watch, export, import, evaluate, submit, pause, recover, init."""

from __future__ import annotations

import contextlib
import errno
import signal
import sys
import threading
from collections.abc import Iterator, Sequence

from idealflow.cli.parser import parser
from idealflow.errors import IdealflowError, InputError

__all__ = ["main"]

# disk full, over quota, file too large, read-only, no permission, failing device: the site's trouble, told without a traceback
_SITE_TROUBLE = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOTDIR, errno.EEXIST,
)  # fmt: skip

#: signals that end a run as Ctrl-C does: a queue's time limit, a closed terminal
_ENDING = (signal.SIGTERM, signal.SIGHUP)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0 if what was asked was done, 2 for bad input, 1 for a campaign that failed.

    Parameters
    ----------
    argv
        Command and options; None: those of the process.

    Examples
    --------
    >>> main(["init", "nothing"])  # a message on stderr says what there is
    2
    """
    arguments = parser().parse_args(argv)
    try:
        with _ended_by_signals():
            return int(arguments.command(arguments))
    except InputError as error:
        sys.stderr.write(f"idealflow: {error}\n")
        return 2
    except IdealflowError as error:
        sys.stderr.write(f"idealflow: {error}\n")
        return 1
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            sys.stderr.write(f"idealflow: {error.strerror}: {str(error.filename)[:100]}...; give a shorter path\n")
            return 2
        if error.errno not in _SITE_TROUBLE:
            raise
        sys.stderr.write(
            f"idealflow: {error}; what was committed is safe: give it room or permission and run the same command again\n"
        )
        return 1
    except Exception as error:
        if not _is_unanswered(error):
            raise
        cause = str(error).partition(" (configured timeouts")[0].partition(", Timeout:")[0]
        sys.stderr.write(
            f"idealflow: the database server does not answer ({cause}); start it, or mend host and port in my_launchpad.yaml "
            "(FireWorks) and jobflow.yaml (JOB_STORE)\n"
        )
        return 1
    except KeyboardInterrupt as stop:
        number = stop.args[0] if stop.args else signal.SIGINT
        by = "" if number == signal.SIGINT else f" by {number.name}"
        sys.stderr.write(f"idealflow: interrupted{by}; the same command goes on from here\n")
        return 128 + int(number)


def _is_unanswered(error: Exception) -> bool:
    """Whether pymongo raised it for want of a connection; pymongo is not imported for this, only whoever uses it has done so."""
    errors = sys.modules.get("pymongo.errors")
    return errors is not None and isinstance(error, errors.ConnectionFailure)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the program as Ctrl-C does, unless it was started to ignore them (nohup)."""

    def interrupt(number: int, _: object) -> None:
        raise KeyboardInterrupt(signal.Signals(number))

    before = {number: signal.getsignal(number) for number in _ENDING}
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's alone
        before = {}
    for number, handler in before.items():
        if handler == signal.SIG_DFL:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
