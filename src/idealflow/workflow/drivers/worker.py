"""What runs in a worker process of :mod:`~idealflow.workflow.drivers.pool`: one job after another, as jobflow runs it."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import threading
from collections.abc import Iterator
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from typing import Any

from jobflow import JobStore
from monty.json import MontyDecoder, MontyEncoder

from idealflow.errors import IdealflowError

# all stages, so that the fork server has imported what its workers need
from idealflow.workflow.campaign import ideal as _all_stages  # noqa: F401  # imported for the import
from idealflow.workflow.jobs.locks import let_go
from idealflow.workflow.jobs.progress import Progress, listening

__all__ = ["Stopped", "begin", "carry_out", "without_objects"]


class Stopped(BaseException):
    """The worker was told to end, by SIGTERM, while it ran a job.

    Examples
    --------
    >>> issubclass(Stopped, Exception)  # so that no job takes it for a failure of its own
    False
    """


class _Site:
    """Where this process runs jobs: store, folder, and whether it is at one."""

    store: JobStore | None = None
    folder: str = "."
    busy: bool = False
    listening = contextlib.ExitStack()


def begin(events: Connection, environment: dict[str, str], store: str, folder: str) -> None:
    """Prepare this process for jobs; the first message that it sends is its process number.

    Its engines are in a process group of its own, which ends with it or with its parent, however they end.

    Parameters
    ----------
    events
        Connection that takes what stages report.
    environment
        The parent's environment variables: the fork server may be older.
    store
        The job store, as JSON.
    folder
        Working directory of the jobs.

    Examples
    --------
    It is what a :class:`~idealflow.workflow.drivers.pool.Pool` calls first in each process, with:

    >>> [name for name in begin.__annotations__ if name != "return"]
    ['events', 'environment', 'store', 'folder']
    """
    with contextlib.suppress(PermissionError):  # it leads a session already
        os.setsid()
    events.send(os.getpid())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.clear()
    os.environ.update(environment)
    _Site.store, _Site.folder = MontyDecoder().decode(store), folder
    _Site.store.connect()

    def tell(event: Progress) -> None:
        with contextlib.suppress(OSError):  # the parent has ended, and so does this process in a moment
            events.send(event)

    _Site.listening.enter_context(listening(tell))


def carry_out(order: str) -> str:
    """Run a job, given as JSON, and store its output; returns the flows that it adds, as JSON (:func:`without_objects`).

    Raises
    ------
    Exception
        What the job raises; if another process could not read it, an error that says the same.

    Examples
    --------
    >>> carry_out("no job")
    Traceback (most recent call last):
    json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)
    """
    try:
        with _busy(), contextlib.chdir(_Site.folder):
            response = MontyDecoder().decode(order).run(store=_Site.store)
            let_go()
        return without_objects([[response.replace, response.detour], [response.addition]])
    except Exception as error:
        raise _portable(error) from error


def without_objects(data: Any) -> str:
    """Write jobs, flows or stores as JSON, from which monty's decoder makes them again.

    Examples
    --------
    >>> from maggma.stores import MemoryStore
    >>> type(MontyDecoder().decode(without_objects(JobStore(MemoryStore())))).__name__
    'JobStore'
    """
    return json.dumps(data, cls=MontyEncoder)


def _portable(error: Exception) -> Exception:
    """The error, if another process can read it, else one that says the same."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  # it was made here
    except Exception:  # noqa: BLE001  # whatever its class does when it is pickled
        kind = IdealflowError if isinstance(error, IdealflowError) else RuntimeError
        return kind(f"{type(error).__name__}: {error}")
    return error


@contextlib.contextmanager
def _busy() -> Iterator[None]:
    _Site.busy = True
    try:
        yield
    finally:
        _Site.busy = False


def _stop(_number: int, _frame: object) -> None:
    if _Site.busy:
        _Site.busy = False  # a second signal must not disturb what is tidied up after the first
        raise Stopped


def _end_with_parent() -> None:
    """End this process and all that it has started, once its parent has ended."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.killpg(0, signal.SIGKILL)
