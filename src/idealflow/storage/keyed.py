# ruff: noqa: S608 - identifiers in the SQL are escaped column names of ours; every value is bound
"""Rows of BSON in a SQLite file, with an indexed key column for each field in use: transactions, columns, keys."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from idealflow.errors import InputError
from idealflow.storage.connections import Connections
from idealflow.storage.criteria import column_name, identifier
from idealflow.storage.keys import NULL, RULES, UNDECIDED, field_key
from idealflow.storage.mongo import decoded
from idealflow.storage.sqlite_files import create_file, explained, look_at_file, open_file, settled

__all__ = ["Found", "KeyedTable"]

_CHUNK = 200
Found = Iterator[tuple[int, dict[str, Any]]]


class KeyedTable:
    """A collection's rows and key columns, open; threads and forks of a process share it.

    Parameters
    ----------
    path
        The file; created when there is none.
    collection
        Name of the collection.
    timeout_s
        Longest wait for another writer, seconds.
    synchronous
        SQLite's ``FULL`` or ``NORMAL``.
    read_only
        Whether only to look: nothing is written to the file or beside it, and a collection that does not exist is empty.

    Examples
    --------
    >>> import tempfile
    >>> table = KeyedTable(Path(tempfile.mkdtemp(), "store.sqlite"), "docs", timeout_s=60.0, synchronous="FULL")
    >>> table.ensure_fields(["uuid"])
    >>> table.make_unique("uuid", sparse=False)
    True
    >>> table.close()
    """

    def __init__(
        self, path: Path, collection: str, timeout_s: float, synchronous: str, read_only: bool = False
    ) -> None:
        self._path = str(path)
        self._collection = collection
        self._table = identifier("c", collection)
        self._fields: set[str] = set()
        self._schema = -1
        self._read_only = read_only
        self._settled: object = None
        if not read_only:
            create_file(path)
        self._connections = Connections(
            lambda: look_at_file(path, timeout_s) if read_only else open_file(path, timeout_s, synchronous)
        )

    def _connection(self) -> sqlite3.Connection:
        """The calling thread's connection; a file that is only looked at is opened again after a writer began or ended."""
        if self._read_only:
            if (found := settled(Path(self._path))) != self._settled:
                self.close()
                self._settled = found
            self._read_schema(self._connections.get())
        return self._connections.get()

    def close(self) -> None:
        """Close this process's connections."""
        self._connections.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Open a write transaction, which no other process has at the same time; it is undone when the block raises."""
        if self._read_only:
            raise InputError(f"document store {self._path} was opened read-only; open it without `read_only` to write")
        with explained(self._path):
            connection = self._connections.get()
            connection.execute("BEGIN IMMEDIATE")
            try:
                self._read_schema(connection)
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                self._schema = -1
                self._read_schema(connection)
                raise

    # -- columns ----------------------------------------------------------------------------------------------

    def _read_schema(self, connection: sqlite3.Connection) -> None:
        """Learn of columns that another process added."""
        (schema,) = connection.execute("PRAGMA schema_version").fetchone()
        if schema == self._schema:
            return
        known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'fields'").fetchone()
        rows = connection.execute("SELECT name FROM fields WHERE collection = ?", (self._collection,)) if known else ()
        self._fields = {name for (name,) in rows}
        self._schema = schema

    def ensure_fields(self, fields: Iterable[str]) -> None:
        """Give each field a key column with an index, filled for the documents that are stored already."""
        if self._read_only:
            with explained(self._path):
                self._connection()  # sees that the file is there, and whole
            return
        if set(fields) <= self._fields:
            return
        with explained(self._path):  # read before asking for the writers' lock
            self._read_schema(self._connections.get())
        if set(fields) <= self._fields:
            return
        with self.transaction() as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS fields (collection TEXT, name TEXT)")
            connection.execute(f"CREATE TABLE IF NOT EXISTS {self._table} (id INTEGER PRIMARY KEY, doc BLOB NOT NULL)")
            new = [field for field in dict.fromkeys(fields) if field not in self._fields]
            for field in new:
                column = column_name(field)
                connection.execute(f"ALTER TABLE {self._table} ADD COLUMN {column} BLOB")
                connection.execute(f"CREATE INDEX {self._index('i', field)} ON {self._table} ({column})")
                connection.execute("INSERT INTO fields VALUES (?, ?)", (self._collection, field))
            change = f"UPDATE {self._table} SET {', '.join(f'{column_name(f)} = ?' for f in new)} WHERE id = ?"
            rows = [row for (row,) in connection.execute(f"SELECT id FROM {self._table}")] if new else []
            for row, document in self._read(connection, rows):
                connection.execute(change, (*(field_key(document, field) for field in new), row))
            self._read_schema(connection)

    def renew_keys(self) -> None:
        """Give new keys, once for each file, to the documents that earlier rules left undecided."""
        if self._read_only:
            return
        with explained(self._path):
            connection = self._connections.get()
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'keyed'").fetchone():
                sql = "SELECT 1 FROM keyed WHERE collection = ? AND rules = ?"
                if connection.execute(sql, (self._collection, RULES)).fetchone():
                    return
        with self.transaction() as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS keyed (collection TEXT, rules INTEGER)")
            for field in sorted(self._fields):
                column = column_name(field)
                found = connection.execute(f"SELECT id FROM {self._table} WHERE {column} = ?", (UNDECIDED,)).fetchall()
                for row, document in self._read(connection, [row for (row,) in found]):
                    key = field_key(document, field)
                    connection.execute(f"UPDATE {self._table} SET {column} = ? WHERE id = ?", (key, row))
            connection.execute("INSERT INTO keyed VALUES (?, ?)", (self._collection, RULES))

    def _index(self, kind: str, field: str) -> str:
        return identifier(kind, f"{self._collection}/{field}")

    def make_unique(self, field: str, sparse: bool) -> bool:
        """Refuse equal values of an indexed field from now on.

        Parameters
        ----------
        field
            Dotted path of the field.
        sparse
            Whether documents without the field (or with null in it) are exempt.

        Returns
        -------
        bool
            False when stored documents have equal values already; nothing is changed then.
        """
        left_out = [UNDECIDED, NULL] if sparse else [UNDECIDED]
        column = column_name(field)
        condition = " AND ".join(f"{column} <> X'{value.hex()}'" for value in left_out)
        index = self._index("s" if sparse else "u", field)
        with explained(self._path):
            sql = "SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = ?"
            if self._connections.get().execute(sql, (index.strip('"'),)).fetchone():
                return True
        try:
            with self.transaction() as connection:
                connection.execute(
                    f"CREATE UNIQUE INDEX IF NOT EXISTS {index} ON {self._table} ({column}) WHERE {condition}"
                )
        except sqlite3.IntegrityError:
            return False
        return True

    def _decided(self, connection: sqlite3.Connection, field: str) -> bool:
        """Whether keys alone tell every document's value of an indexed field."""
        sql = f"SELECT 1 FROM {self._table} WHERE {column_name(field)} = ? LIMIT 1"
        return connection.execute(sql, (UNDECIDED,)).fetchone() is None

    def _read(self, connection: sqlite3.Connection, rows: list[int]) -> Found:
        """Documents of the given rows, in their order, a chunk at a time; rows removed meanwhile are left out."""
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            sql = f"SELECT id, doc FROM {self._table} WHERE id IN ({','.join('?' * len(chunk))})"
            found = dict(connection.execute(sql, chunk).fetchall())
            for row in chunk:
                if row in found:
                    yield row, decoded(found[row], self._path)
