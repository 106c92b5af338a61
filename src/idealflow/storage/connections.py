"""One SQLite connection per process and thread, as SQLite asks for."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable

__all__ = ["Connections"]

# Connections inherited by fork must neither be used nor closed by the child: closing would drop its parent's locks
_INHERITED: list[sqlite3.Connection] = []


class Connections:
    """Gives every thread of every process a connection of its own.

    Parameters
    ----------
    open_one
        Function that opens a connection, which another thread must be allowed to close.

    Examples
    --------
    >>> connections = Connections(lambda: sqlite3.connect(":memory:", check_same_thread=False))
    >>> connections.get() is connections.get()
    True
    >>> connections.close()
    """

    def __init__(self, open_one: Callable[[], sqlite3.Connection]) -> None:
        self._open = open_one
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._by_thread: dict[int, sqlite3.Connection] = {}

    def get(self) -> sqlite3.Connection:
        """Return the calling thread's connection, opened when first asked for."""
        if self._pid != os.getpid():
            _INHERITED.extend(self._by_thread.values())
            self._by_thread, self._lock, self._pid = {}, threading.Lock(), os.getpid()
        thread = threading.get_ident()
        connection = self._by_thread.get(thread)
        if connection is None:
            connection = self._open()
            with self._lock:
                alive = {t.ident for t in threading.enumerate()} | {thread}
                for ended in [ident for ident in self._by_thread if ident not in alive]:
                    self._by_thread.pop(ended).close()
                self._by_thread[thread] = connection
        return connection

    def __del__(self) -> None:
        """Close what nobody closed; from Python 3.13 on it would be warned of."""
        self.close()

    def close(self) -> None:
        """Close all connections of this process."""
        if self._pid != os.getpid():
            _INHERITED.extend(self._by_thread.values())
            self._by_thread = {}
            return
        with self._lock:
            for connection in self._by_thread.values():
                connection.close()
            self._by_thread = {}
