"""Worker processes in which ASE calculators compute, so that they can be stopped.

A calculator that hangs or crashes does no harm to the caller: its worker is killed at the time limit, and another one computes
the next label. Workers are kept between labels, and end with their parent process, even if that is killed.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from idealflow.errors import LabelError

__all__ = ["ask_worker", "close_workers"]

_START_LIMIT_S = 300.0  # imports alone (torch on a cold network disk) can take a minute
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class _Stopped(Exception):  # noqa: N818 - a signal between the two classes here, never seen outside
    """The worker ended or ran out of time; the argument says why."""


class Worker:
    """A running worker process and the pipes to it."""

    def __init__(self, calculator: str, kwargs: dict[str, Any], threads: int, import_from: str | None) -> None:
        self._home = tempfile.mkdtemp(prefix="idealflow-worker-")
        self._log = tempfile.TemporaryFile(mode="ab+")  # noqa: SIM115 - lives as long as the worker
        life, self._life = os.pipe()
        environment = os.environ | dict.fromkeys(_THREAD_VARIABLES, str(threads))
        self._process = subprocess.Popen(  # noqa: S603 - our own worker
            [sys.executable, "-P", str(Path(__file__).with_name("worker.py")), str(life)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=self._home,
            env=environment,
            pass_fds=(life,),
            start_new_session=True,
        )
        os.close(life)
        path = [str(Path(entry or ".").absolute()) for entry in sys.path]
        if import_from is not None and import_from not in path:
            path.append(import_from)
        settings = {"calculator": calculator, "kwargs": kwargs, "path": path}
        try:
            ready = self.ask(settings, _START_LIMIT_S)
            if "error" in ready:
                raise _Stopped(ready["error"])
        except BaseException:
            self.kill()
            raise

    def ask(self, message: Any, limit_s: float | None) -> dict[str, Any]:
        """Send a message and return the answer.

        Raises
        ------
        _Stopped
            When there is none within the limit, or the process ends.
        """
        deadline = None if limit_s is None else time.monotonic() + limit_s
        self._log.truncate(0)
        body = json.dumps(message).encode()
        try:
            self._write(struct.pack(">Q", len(body)) + body, deadline)
            (length,) = struct.unpack(">Q", self._read(8, deadline))
            answer: dict[str, Any] = json.loads(self._read(length, deadline))
        except TimeoutError:
            raise _Stopped(f"exceeded its time limit of {limit_s:g} s") from None
        except (BrokenPipeError, EOFError):
            raise _Stopped(self._last_words()) from None
        return answer

    def _write(self, data: bytes, deadline: float | None) -> None:
        assert self._process.stdin is not None  # noqa: S101 - opened above
        descriptor, view = self._process.stdin.fileno(), memoryview(data)
        while view:
            _, ready, _ = select.select([], [descriptor], [], _left(deadline))
            if not ready:
                raise TimeoutError
            view = view[os.write(descriptor, view[: select.PIPE_BUF]) :]

    def _read(self, size: int, deadline: float | None) -> bytes:
        assert self._process.stdout is not None  # noqa: S101 - opened above
        descriptor, data = self._process.stdout.fileno(), bytearray()
        while len(data) < size:
            ready, _, _ = select.select([descriptor], [], [], _left(deadline))
            if not ready:
                raise TimeoutError
            block = os.read(descriptor, min(size - len(data), 1 << 20))
            if not block:
                raise EOFError
            data += block
        return bytes(data)

    def _last_words(self) -> str:
        """Why the process ended, from its exit status and the end of its log."""
        code = self._process.wait()
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().decode(errors="replace").splitlines() if line.strip()]
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"
        return f"its process {how}" + (f" after printing: {lines[-1][:200]}" if lines else "")

    def release(self) -> None:
        """Close the pipes without touching the worker process; used after a fork, when it belongs to the parent."""
        os.close(self._life)
        for stream in (self._process.stdin, self._process.stdout, self._log):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]

    def kill(self) -> None:
        """End the process, everything it started, and its scratch directory."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.release()
        shutil.rmtree(self._home, ignore_errors=True)


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


_WORKERS: dict[str, Worker] = {}
_LOCKS: dict[str, threading.Lock] = {}


def close_workers() -> None:
    """End all worker processes that this process has started; the next label starts a new one.

    There is no need to call it at the end: workers end with this process.

    Examples
    --------
    >>> from idealflow.labelling import close_workers
    >>> close_workers()
    """
    for key in list(_WORKERS):
        _WORKERS.pop(key).kill()


def _forget_inherited() -> None:
    for worker in _WORKERS.values():
        worker.release()
        worker._process.returncode = 0  # the parent waits for it; here it counts as ended
    _WORKERS.clear()
    _LOCKS.clear()


atexit.register(close_workers)
os.register_at_fork(after_in_child=_forget_inherited)


def ask_worker(
    request: Any,
    calculator: str,
    kwargs: Mapping[str, Any],
    limit_s: float | None,
    threads: int,
    import_from: str | None,
) -> dict[str, Any]:
    """Send a request to the worker process of a calculator, and return its answer.

    The worker is started if there is none yet, and serves one request at a time.

    Parameters
    ----------
    request
        Arguments of ``ase.Atoms``, plain values.
    calculator, kwargs, import_from
        Import path of the calculator, its arguments, and the folder of its module if it is not on the path.
    limit_s
        Seconds to wait for the answer; None: as long as it takes.
    threads
        OpenMP, MKL and OpenBLAS threads of the worker.

    Raises
    ------
    LabelError
        When the calculator raises, or the worker crashes or exceeds the limit; the message is the cause.

    Examples
    --------
    >>> atoms = {"numbers": [29], "positions": [[0, 0, 0]], "pbc": False}
    >>> ask_worker(atoms, "absent.Calculator", {}, limit_s=60.0, threads=1, import_from=None)
    Traceback (most recent call last):
    idealflow.errors.LabelError: ModuleNotFoundError: No module named 'absent'
    """
    key = json.dumps([calculator, kwargs, threads, import_from], sort_keys=True)
    with _LOCKS.setdefault(key, threading.Lock()):
        try:
            worker = _WORKERS.get(key)
            if worker is None:
                worker = _WORKERS[key] = Worker(calculator, dict(kwargs), threads, import_from)
            answer = worker.ask(request, limit_s)
        except _Stopped as stop:
            _drop(key)
            raise LabelError(str(stop)) from None
        except BaseException:  # after an interrupt, the answer still in the pipe would be taken for the next request's
            _drop(key)
            raise
    if "error" in answer:
        raise LabelError(answer["error"])
    return answer


def _drop(key: str) -> None:
    worker = _WORKERS.pop(key, None)
    if worker is not None:
        worker.kill()
