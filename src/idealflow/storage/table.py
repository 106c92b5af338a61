# ruff: noqa: S608 - identifiers in the SQL are escaped column names of ours; every value is bound
"""One collection of documents in a SQLite file: rows of BSON with an indexed key column for each field in use."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import bson

from idealflow.storage.connections import Connections
from idealflow.storage.criteria import Where, column_name, identifier, translate
from idealflow.storage.keys import NULL, UNDECIDED, field_key
from idealflow.storage.mongo import matches, sort_documents
from idealflow.storage.sqlite_files import create_file, explained, open_file

__all__ = ["Table"]

_CHUNK = 200
_FEW = 64  # matches below which an index is good enough to search by
_MANY = 500  # matches from which on walking the sort order beats sorting them, when only some are wanted
Found = Iterator[tuple[int, dict[str, Any]]]


class Table:
    """A collection, open; it belongs to all threads and forks of a process.

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
    """

    def __init__(self, path: Path, collection: str, timeout_s: float, synchronous: str) -> None:
        self._path = str(path)
        self._collection = collection
        self._table = identifier("c", collection)
        self._fields: set[str] = set()
        self._schema = -1
        create_file(path)
        self._connections = Connections(lambda: open_file(path, timeout_s, synchronous))

    def close(self) -> None:
        """Close this process's connections."""
        self._connections.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write transaction, alone among all processes; undone when anything in it raises."""
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
        """Give each field a key column with an index; documents already stored are keyed too."""
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

    def _index(self, kind: str, field: str) -> str:
        return identifier(kind, f"{self._collection}/{field}")

    def make_unique(self, field: str, sparse: bool) -> bool:
        """Make an indexed field unique; False when stored documents break it already."""
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
        """Whether every document's value of an indexed field has a key of its own."""
        sql = f"SELECT 1 FROM {self._table} WHERE {column_name(field)} = ? LIMIT 1"
        return connection.execute(sql, (UNDECIDED,)).fetchone() is None

    # -- reading ----------------------------------------------------------------------------------------------

    def _read(self, connection: sqlite3.Connection, rows: list[int]) -> Found:
        """Documents of the given rows, in their order, a chunk at a time; rows removed meanwhile are left out."""
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            sql = f"SELECT id, doc FROM {self._table} WHERE id IN ({','.join('?' * len(chunk))})"
            found = dict(connection.execute(sql, chunk).fetchall())
            for row in chunk:
                if row in found:
                    yield row, bson.decode(found[row])

    def _candidates(
        self,
        connection: sqlite3.Connection,
        criteria: dict[str, Any],
        order: list[tuple[str, bool]],
        some: bool = False,
    ) -> Iterator[tuple[int, bool]]:
        """Rows that may match, in order, each with whether it matches for sure; `some`: few of them will be taken."""
        where = translate(criteria, self._fields.__contains__)
        unsure = " OR ".join(f"{column_name(field)} = X'{UNDECIDED.hex()}'" for field in sorted(where.fields))
        sure = f"NOT ({unsure})" if where.exact and unsure else str(int(where.exact))
        by = "".join(f"{column_name(field)} {'DESC' if descending else 'ASC'}, " for field, descending in order)
        source, condition = self._table, where.sql
        if len(where.terms) > 1:
            condition = where.through(self._narrowest(connection, where.terms))
        if some and order:
            count = f"SELECT COUNT(*) FROM (SELECT 1 FROM {self._table} WHERE {condition} LIMIT {_MANY})"
            if connection.execute(count, where.values).fetchone()[0] == _MANY:
                source, condition = f"{self._table} INDEXED BY {self._index('i', order[0][0])}", where.sql
        sql = f"SELECT id, {sure} FROM {source} WHERE {condition} ORDER BY {by}id"
        with closing(connection.execute(sql, where.values)) as cursor:
            yield from cursor

    def _narrowest(self, connection: sqlite3.Connection, terms: tuple[Where, ...]) -> str:
        """The field whose index leaves fewest rows; SQLite knows averages at best, and every value of a campaign is one."""
        most, counts = 1, [1] * len(terms)
        while min(counts) == most:
            most *= _FEW
            for i, term in enumerate(terms):
                # of the index alone, no row is read
                sql = f"SELECT COUNT(*) FROM (SELECT 1 FROM {self._table} WHERE {term.sql} LIMIT {most})"
                (counts[i],) = connection.execute(sql, term.values).fetchone()
                if counts[i] < _FEW:
                    break
        (field,) = terms[counts.index(min(counts))].fields
        return field

    def _filtered(
        self,
        connection: sqlite3.Connection,
        candidates: Iterator[tuple[int, bool]],
        criteria: dict[str, Any],
        chunk: int,
    ) -> Found:
        while rows := dict(islice(candidates, chunk)):
            for row, document in self._read(connection, list(rows)):
                if rows[row] or matches(criteria, document):
                    yield row, document

    def find(self, criteria: dict[str, Any], order: list[tuple[str, bool]], skip: int, limit: int) -> Found:
        """Iterate over (row, document) pairs that match `criteria`.

        Parameters
        ----------
        criteria
            As returned by :func:`idealflow.storage.mongo.as_stored`.
        order
            (field, descending) pairs; equals come in the order of rows.
        skip, limit
            Matches to leave out first, and to return at most (0: all).
        """
        stop = skip + limit if limit else None
        with explained(self._path):
            connection = self._connections.get()
            if all(field in self._fields and self._decided(connection, field) for field, _ in order):
                candidates = self._candidates(connection, criteria, order, some=stop is not None)
                if stop is None:  # the caller may write while it looks at the results: no open cursor then
                    found = self._filtered(connection, iter(list(candidates)), criteria, _CHUNK)
                    yield from islice(found, skip, None)
                else:
                    found = self._filtered(connection, candidates, criteria, min(stop, _CHUNK))
                    yield from list(islice(found, skip, stop))
            else:
                found = self._filtered(connection, self._candidates(connection, criteria, []), criteria, _CHUNK)
                yield from sort_documents(list(found), order)[skip:stop]

    def _matching_rows(self, connection: sqlite3.Connection, criteria: dict[str, Any]) -> Iterator[int]:
        """Rows that match; documents are looked at only where their keys cannot decide."""
        for row, sure in self._candidates(connection, criteria, []):
            if sure or any(matches(criteria, document) for _, document in self._read(connection, [row])):
                yield row

    def count(self, criteria: dict[str, Any]) -> int:
        """Count the rows that match."""
        with explained(self._path):
            return sum(1 for _ in self._matching_rows(self._connections.get(), criteria))

    def one_of_each(self, field: str, criteria: dict[str, Any]) -> Found:
        """Iterate over matching documents, at least one for every value of `field`."""
        where = translate(criteria, self._fields.__contains__)
        with explained(self._path):
            connection = self._connections.get()
            indexed = where.exact and field in self._fields
            if indexed and all(self._decided(connection, name) for name in where.fields | {field}):
                column = column_name(field)
                # all rows with the key of null: it stands for missing fields as well
                sql = (
                    f"SELECT MIN(id) AS row FROM {self._table} WHERE {where.sql} GROUP BY {column}, "
                    f"CASE WHEN {column} = X'{NULL.hex()}' THEN id END ORDER BY row"
                )
                rows = [row for (row,) in connection.execute(sql, where.values)]
                yield from self._read(connection, rows)
                return
        yield from self.find(criteria, [], 0, 0)

    # -- writing ----------------------------------------------------------------------------------------------

    def upsert(self, connection: sqlite3.Connection, blob: bytes, criteria: dict[str, Any]) -> None:
        """Replace the first document that matches `criteria`, or insert a new one; in a transaction."""
        document = bson.decode(blob)
        row = next(self._matching_rows(connection, criteria), None)
        fields = sorted(self._fields)
        columns = ["id", "doc", *(column_name(field) for field in fields)]
        values = (row, blob, *(field_key(document, field) for field in fields))
        changes = ", ".join(f"{column} = excluded.{column}" for column in columns[1:])
        connection.execute(
            f"INSERT INTO {self._table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}) "
            f"ON CONFLICT (id) DO UPDATE SET {changes}",
            values,
        )

    def remove(self, criteria: dict[str, Any]) -> None:
        """Remove the rows that match."""
        with self.transaction() as connection:
            rows = list(self._matching_rows(connection, criteria))
            connection.executemany(f"DELETE FROM {self._table} WHERE id = ?", [(row,) for row in rows])
