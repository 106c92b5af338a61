# ruff: noqa: S608 - identifiers in the SQL are escaped column names of ours; every value is bound
"""One collection of documents in a SQLite file, with MongoDB's queries: the level below the maggma store.

Documents are rows of BSON. Fields in use are indexed as order-preserving keys (:mod:`idealflow.storage.keys`); criteria and
sorting on them run in SQLite. Everything else is decided on the documents by the filter of maggma's MemoryStore, so that results
are those of MongoDB's query language.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import Any, Self

import bson

from idealflow.errors import InputError
from idealflow.storage.criteria import Where, column_name, translate
from idealflow.storage.keyed import Found, KeyedTable
from idealflow.storage.keys import NULL, UNDECIDED, field_key
from idealflow.storage.mongo import (
    Criteria,
    Document,
    as_stored,
    encoded,
    identity,
    matches,
    sort_documents,
    sort_fields,
    values_at,
)
from idealflow.storage.projection import Properties, project
from idealflow.storage.sqlite_files import explained

__all__ = ["Table"]

_CHUNK = 200
_FEW = 64  # matches below which an index is good enough to search by
_MANY = 500  # matches from which on walking the sort order beats sorting them, when only some are wanted


class Table(KeyedTable):
    """A collection of documents, open; threads and forks of a process share it, each with a connection of its own.

    The parameters are those of :class:`~idealflow.storage.keyed.KeyedTable`.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> table = Table.opened(Path(folder.name, "store.sqlite"), fields=["round"])
    >>> table.update([{"uuid": "a", "round": 1}, {"uuid": "b", "round": 2}], ["uuid"])
    >>> list(table.query({"round": {"$gt": 1}}, ["uuid"]))
    [{'uuid': 'b'}]
    >>> table.close(), folder.cleanup()
    (None, None)
    """

    @classmethod
    def opened(
        cls,
        path: Path,
        collection: str = "docs",
        fields: Iterable[str] = (),
        *,
        timeout_s: float = 60.0,
        synchronous: str = "FULL",
        read_only: bool = False,
    ) -> Self:
        """Open a collection, with its fields indexed and its keys up to date; it is closed again when that fails.

        Parameters
        ----------
        fields
            Dotted paths of fields to index.
        path, collection, timeout_s, synchronous, read_only
            As for the class.

        Raises
        ------
        ArtifactError
            When the file is foreign, damaged, cut short or locked, may not be written, or is only looked at and missing.
        """
        table = cls(path, collection, timeout_s, synchronous, read_only)
        try:
            table.ensure_fields(fields)
            table.renew_keys()
        except BaseException:
            table.close()
            raise
        return table

    @property
    def name(self) -> str:
        """Where the documents are, as a URL."""
        return f"sqlite://{self._path}/{self._collection}"

    # -- reading ----------------------------------------------------------------------------------------------

    def _candidates(
        self,
        connection: sqlite3.Connection,
        criteria: Criteria,
        order: list[tuple[str, bool]],
        some: bool = False,
    ) -> Iterator[tuple[int, bool]]:
        """Rows that may match, in order, each with whether it does match for sure; ``some``: the caller takes only a few."""
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
        """Choose the most selective index by counting; the first that leaves fewer than :data:`_FEW` rows is taken.

        SQLite's own statistics are averages over a column, which say nothing about one value of it: every document of a store
        may be of one campaign, and no document of another.
        """
        most, counts = 1, [1]
        while min(counts) == most:
            most *= _FEW
            counts = []
            for term in terms:
                # the index alone answers, no row is read
                sql = f"SELECT COUNT(*) FROM (SELECT 1 FROM {self._table} WHERE {term.sql} LIMIT {most})"
                counts += connection.execute(sql, term.values).fetchone()
                if counts[-1] < _FEW:  # few enough: the other indexes need not be counted
                    break
        (field,) = terms[counts.index(min(counts))].fields
        return field

    def _filtered(
        self,
        connection: sqlite3.Connection,
        candidates: Iterator[tuple[int, bool]],
        criteria: Criteria,
        chunk: int,
    ) -> Found:
        while rows := dict(islice(candidates, chunk)):
            for row, document in self._read(connection, list(rows)):
                if rows[row] or matches(criteria, document):
                    yield row, document

    def _find(self, criteria: Criteria, order: list[tuple[str, bool]], skip: int, limit: int) -> Found:
        """Iterate over (row, document) pairs that match.

        Parameters
        ----------
        criteria
            As returned by :func:`idealflow.storage.mongo.as_stored`.
        order
            (field, descending) pairs; equal documents come in the order in which they were first stored.
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

    def _matching_rows(self, connection: sqlite3.Connection, criteria: Criteria) -> Iterator[int]:
        """Rows that match; documents are looked at only where their keys cannot decide."""
        for row, sure in self._candidates(connection, criteria, []):
            if sure or any(matches(criteria, document) for _, document in self._read(connection, [row])):
                yield row

    def query(
        self,
        criteria: Criteria | None = None,
        properties: Properties = None,
        sort: dict[str, Enum | int] | None = None,
        skip: int = 0,
        limit: int = 0,
    ) -> Iterator[Document]:
        """Iterate over the documents that match.

        Parameters
        ----------
        criteria
            MongoDB criteria; conditions on indexed fields are decided by SQLite.
        properties
            Fields to return: a list of dotted paths, or a dictionary of paths to 1 (keep) or 0 (drop).
        sort
            Fields to 1 (ascending) or -1; equal documents come in the order in which they were first stored.
        skip, limit
            Documents to leave out first, and to return at most (0: all).

        Raises
        ------
        ArtifactError
            When the file is damaged, or locked for longer than ``timeout_s``.
        InputError
            For a sort direction or a projection that does not exist.
        """
        for _, document in self._find(as_stored(criteria), sort_fields(sort), skip, abs(limit)):
            yield project(document, properties)

    def count(self, criteria: Criteria | None = None) -> int:
        """Count the documents that match MongoDB criteria."""
        stored = as_stored(criteria)
        with explained(self._path):
            connection = self._connection()
            return sum(1 for _ in self._matching_rows(connection, stored)) if self._fields else 0

    def distinct(self, field: str, criteria: Criteria | None = None) -> list[Any]:
        """Return the different values of a field (of its items, where it is an array), in order of appearance."""
        values: dict[bytes, Any] = {}
        for _, document in self._one_of_each(field, as_stored(criteria)):
            for value in values_at(field, document):
                values.setdefault(identity(value), value)
        return list(values.values())

    def _one_of_each(self, field: str, criteria: Criteria) -> Found:
        """Iterate over matching documents, at least one for every value of `field`."""
        with explained(self._path):
            connection = self._connection()
            where = translate(criteria, self._fields.__contains__)
            indexed = where.exact and field in self._fields
            if indexed and all(self._decided(connection, name) for name in where.fields | {field}):
                column = column_name(field)
                # every row with the key of null: documents without the field have it too, and hold no value
                sql = (
                    f"SELECT MIN(id) AS row FROM {self._table} WHERE {where.sql} GROUP BY {column}, "
                    f"CASE WHEN {column} = X'{NULL.hex()}' THEN id END ORDER BY row"
                )
                rows = [row for (row,) in connection.execute(sql, where.values)]
                yield from self._read(connection, rows)
                return
        yield from self._find(criteria, [], 0, 0)

    # -- writing ----------------------------------------------------------------------------------------------

    def update(self, documents: list[Document], key: list[str]) -> None:
        """Insert documents, or replace those that agree with them in the key fields: all of them or none.

        Parameters
        ----------
        documents
            Documents that BSON can hold.
        key
            Fields that identify a document; they are indexed.

        Raises
        ------
        sqlite3.IntegrityError
            When a unique index would be broken.
        ArtifactError
            When the disk is full, the file locked for longer than ``timeout_s``, read-only or damaged.
        InputError
            When a document lacks a key field or holds what BSON cannot.
        """
        self.ensure_fields(key)
        blobs = [encoded(document) for document in documents]
        criteria = [self._key_criteria(bson.decode(blob), key) for blob in blobs]
        with self.transaction() as connection:
            for blob, same in zip(blobs, criteria, strict=True):
                self._upsert(connection, blob, same)

    def _key_criteria(self, document: Document, key: list[str]) -> Document:
        from pydash import get, has  # only who writes needs it

        missing = [name for name in key if not has(document, name)]
        if missing:
            raise InputError(
                f"{self.name}: a document needs the key field(s) {', '.join(missing)}; it has {sorted(document)[:20]}"
            )
        return {name: {"$eq": get(document, name)} for name in key}

    def _upsert(self, connection: sqlite3.Connection, blob: bytes, criteria: Criteria) -> None:
        """Replace the first document that matches, or insert a new one; within a transaction."""
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

    def remove(self, criteria: Criteria | None) -> None:
        """Remove the documents that match MongoDB criteria."""
        stored = as_stored(criteria)
        with self.transaction() as connection:
            rows = list(self._matching_rows(connection, stored))
            connection.executemany(f"DELETE FROM {self._table} WHERE id = ?", [(row,) for row in rows])
