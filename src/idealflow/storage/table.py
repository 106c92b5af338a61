# ruff: noqa: S608 - identifiers in the SQL are escaped column names of ours; every value is bound
"""One collection of documents in a SQLite file: found by its keys, decided by its documents where keys cannot."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from typing import Any

import bson

from idealflow.storage.criteria import Where, column_name, translate
from idealflow.storage.keyed import Found, KeyedTable
from idealflow.storage.keys import NULL, UNDECIDED, field_key
from idealflow.storage.mongo import matches, sort_documents
from idealflow.storage.sqlite_files import explained

__all__ = ["Table"]

_CHUNK = 200
_FEW = 64  # matches below which an index is good enough to search by
_MANY = 500  # matches from which on walking the sort order beats sorting them, when only some are wanted


class Table(KeyedTable):
    """A collection, open; it belongs to all threads and forks of a process.

    It is opened as :class:`~idealflow.storage.keyed.KeyedTable` says.
    """

    # -- reading ----------------------------------------------------------------------------------------------

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
        """The field whose index leaves fewest rows, or the first that leaves fewer than :data:`_FEW`.

        SQLite knows averages at best, and every value of a campaign is one.
        """
        most, counts = 1, [1]
        while min(counts) == most:
            most *= _FEW
            counts = []
            for term in terms:
                # of the index alone, no row is read
                sql = f"SELECT COUNT(*) FROM (SELECT 1 FROM {self._table} WHERE {term.sql} LIMIT {most})"
                counts += connection.execute(sql, term.values).fetchone()
                if counts[-1] < _FEW:  # few enough, whatever those not counted would leave
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
            connection = self._connection()
            if not self._fields:
                return
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
            connection = self._connection()
            return sum(1 for _ in self._matching_rows(connection, criteria)) if self._fields else 0

    def one_of_each(self, field: str, criteria: dict[str, Any]) -> Found:
        """Iterate over matching documents, at least one for every value of `field`."""
        with explained(self._path):
            connection = self._connection()
            where = translate(criteria, self._fields.__contains__)
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
