"""Labels from any ASE calculator, computed in a process of its own that can be stopped.

A calculator that hangs, crashes or prints takes nothing with it: the worker is killed at its time limit and another
one serves the next label. Workers are kept between labels and end with their parent, however that ends.
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from idealflow.core.structure import totals_of
from idealflow.errors import InputError, LabelError
from idealflow.labelling.box import right_handed
from idealflow.labelling.label import Label

__all__ = ["AseEngine", "close_workers"]

_START_LIMIT_S = 300.0  # imports alone (torch on a cold network disk) can take a minute
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_SENT_ARRAYS = {"initial_magmoms": "magmoms", "initial_charges": "charges"}


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
        """Let go of the pipes without touching the process (it belongs to another process of ours)."""
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
    """End all workers of this process; the next label starts a new one."""
    for key in list(_WORKERS):
        _WORKERS.pop(key).kill()


def _forget_inherited() -> None:
    for worker in _WORKERS.values():
        worker.release()
        worker._process.returncode = 0  # the parent waits for it, not we
    _WORKERS.clear()
    _LOCKS.clear()


atexit.register(close_workers)
os.register_at_fork(after_in_child=_forget_inherited)


@dataclass(frozen=True)
class AseEngine:
    """Labels structures with an ASE calculator in a worker process.

    Every label gets a new calculator, so that it depends on its structure alone. Files that calculators write go to a
    scratch directory; paths in `kwargs` must be absolute.

    Parameters
    ----------
    calculator
        Import path of the calculator class, such as ``"ase.calculators.emt.EMT"``.
    kwargs
        Its keyword arguments, as plain values.
    time_limit_s
        Seconds a label may take before its worker is killed; None for no limit.
    name
        Method to name in the labels; the class name when not given. Say when it stands in for DFT.
    threads
        OpenMP, MKL and OpenBLAS threads of the worker.
    import_from
        Folder of the calculator's module, where that is neither installed nor on PYTHONPATH.

    Raises
    ------
    InputError
        When `kwargs` are not plain values or the limit is not positive.
    """

    calculator: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    time_limit_s: float | None = None
    name: str | None = None
    threads: int = 1
    import_from: str | None = None

    def __post_init__(self) -> None:
        if "." not in self.calculator:
            raise InputError(
                f"calculator must be an import path such as 'ase.calculators.emt.EMT', got {self.calculator!r}"
            )
        if self.time_limit_s is not None and not self.time_limit_s > 0:
            raise InputError(f"time_limit_s must be positive, got {self.time_limit_s}; give None for no limit")
        try:
            plain = json.loads(json.dumps(self.kwargs))
        except (TypeError, ValueError) as error:
            raise InputError(f"kwargs of {self.calculator} must be plain values: {error}") from error
        if plain != _lists(self.kwargs):
            raise InputError(f"kwargs of {self.calculator} must have text keys, got {self.kwargs}")

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.name or self.calculator.rpartition(".")[2]

    def label(self, atoms: Atoms) -> Label:
        """Compute energy, forces and (for three periodic directions, where the calculator has it) stress.

        The calculator sees initial moments and charges, ``charge`` and ``spin`` in ``info``, and a right-handed cell.

        Parameters
        ----------
        atoms
            Structure; its own calculator and constraints are ignored, it is not changed.

        Raises
        ------
        LabelError
            When positions are not finite, the calculator raises, crashes, returns NaN or exceeds its time limit; the
            message is the cause.
        """
        if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
            raise LabelError(f"{self.method}: positions or cell are not finite")
        request: dict[str, Any] = {
            "numbers": atoms.numbers.tolist(),
            "positions": atoms.positions.tolist(),
            "cell": right_handed(atoms.cell.array).tolist(),
            "pbc": atoms.pbc.tolist(),
            "info": totals_of(atoms),
        }
        request |= {sent: atoms.arrays[name].tolist() for name, sent in _SENT_ARRAYS.items() if name in atoms.arrays}
        start = time.perf_counter()
        answer = self._ask(request)
        seconds = time.perf_counter() - start
        if "error" in answer:
            raise LabelError(f"{self.method}: {answer['error']}")
        try:
            label = Label(
                answer["energy"],
                answer["forces"],
                answer["stress"],
                self.method,
                seconds,
                core_seconds=answer["core_seconds"],
                n_valence_electrons=answer["n_electrons"],
            )
        except LabelError as error:
            raise LabelError(f"{self.method}: {error}") from error
        if label.n_atoms != len(atoms):
            raise LabelError(f"{self.method}: returned {label.n_atoms} forces for {len(atoms)} atoms")
        return label

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        key = json.dumps([self.calculator, self.kwargs, self.threads, self.import_from], sort_keys=True)
        with _LOCKS.setdefault(key, threading.Lock()):
            try:
                worker = _WORKERS.get(key)
                if worker is None:
                    worker = _WORKERS[key] = Worker(self.calculator, dict(self.kwargs), self.threads, self.import_from)
                return worker.ask(request, self.time_limit_s)
            except _Stopped as stop:
                self._drop(key)
                raise LabelError(f"{self.method}: {stop}") from None
            except BaseException:  # an interrupt leaves an answer in the pipe that belongs to no one
                self._drop(key)
                raise

    @staticmethod
    def _drop(key: str) -> None:
        worker = _WORKERS.pop(key, None)
        if worker is not None:
            worker.kill()


def _lists(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, list | tuple) else value
