"""A maggma store in one SQLite file: no server, several processes, nothing acknowledged is lost.

How documents are kept, found and written is in :mod:`idealflow.storage.table`, which needs no maggma.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymongo.errors
from maggma.core import Sort, Store, StoreError
from monty.json import jsanitize
from pydash import get, has, set_

from idealflow.errors import InputError
from idealflow.storage.mongo import Criteria, Document, identity
from idealflow.storage.projection import Properties
from idealflow.storage.table import Table

__all__ = ["DEFAULT_INDEX_FIELDS", "DuplicateDocumentError", "SQLiteStore"]

DEFAULT_INDEX_FIELDS = (
    "uuid",
    "index",
    "name",
    "completed_at",
    "output.kind",
    "output.campaign",
    "output.round",
    "output.request_key",
    "output.geometry_key",
    "output.species",
    "output.state",
)


class DuplicateDocumentError(InputError, pymongo.errors.DuplicateKeyError):
    """A document would break a unique index; nothing of the update was written.

    Examples
    --------
    >>> import tempfile
    >>> store = SQLiteStore(f"{tempfile.mkdtemp()}/store.sqlite")
    >>> store.connect()
    >>> store.ensure_index("number", unique=True)
    True
    >>> store.update([{"uuid": "a", "number": 1}, {"uuid": "b", "number": 1}])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    idealflow.storage.sqlite_store.DuplicateDocumentError: ...
    >>> store.count()
    0
    >>> store.close()
    """

    def __init__(self, message: str) -> None:
        pymongo.errors.DuplicateKeyError.__init__(self, message, code=11000)


class SQLiteStore(Store):
    """A maggma store in one SQLite file, usable as the docs store of a jobflow ``JobStore``.

    Parameters
    ----------
    path
        The file; created when it does not exist. It must lie on a local disk (write-ahead logs share memory).
    collection_name
        Name of the collection: one file can hold several.
    key
        Field that identifies a document (a jobflow ``JobStore`` sets it to ``uuid``).
    index_fields
        Dotted paths of the fields indexed from the start. Keys given to :meth:`update` and fields given to
        :meth:`ensure_index` are indexed when first seen.
    timeout_s
        How long to wait for other writers, in seconds.
    synchronous
        ``FULL``: an acknowledged update survives power loss (one fsync each). ``NORMAL``: it survives the death of
        any process, but power loss may undo the last updates (never damage the file).
    read_only
        Whether only to look: the file must exist, and neither it nor its folder is written to, so that both may be read-only.
    last_updated_field, last_updated_type, validator
        As for every maggma store.

    Notes
    -----
    Threads and forked processes may share a store object; each gets its own connection. As with MongoDB, datetimes
    come back naive in UTC with milliseconds, tuples and arrays as lists; unlike MongoDB, no ``_id`` is added.

    Examples
    --------
    >>> import tempfile
    >>> store = SQLiteStore(f"{tempfile.mkdtemp()}/store.sqlite")
    >>> store.connect()
    >>> store.update([{"uuid": "a", "output": {"round": 1}}, {"uuid": "b", "output": {"round": 2}}])
    >>> store.query_one({"output.round": {"$gt": 1}})["uuid"]
    'b'
    >>> store.close()
    """

    def __init__(
        self,
        path: str | Path,
        collection_name: str = "docs",
        key: str = "uuid",
        *,
        index_fields: list[str] | tuple[str, ...] = DEFAULT_INDEX_FIELDS,
        timeout_s: float = 60.0,
        synchronous: str = "FULL",
        read_only: bool = False,
        **kwargs: Any,
    ) -> None:
        if synchronous not in {"FULL", "NORMAL"}:
            raise InputError(f"synchronous must be FULL or NORMAL, got {synchronous!r}")
        if not collection_name:
            raise InputError("collection_name must not be empty")
        self.path = str(path)
        self.collection_name = collection_name
        self.index_fields = list(index_fields)
        self.timeout_s = timeout_s
        self.synchronous = synchronous
        self.read_only = read_only
        self.kwargs = kwargs
        self._open: Table | None = None
        super().__init__(key=key, **kwargs)

    @property
    def name(self) -> str:
        """Where the documents are."""
        return f"sqlite://{self.path}/{self.collection_name}"

    def __eq__(self, other: object) -> bool:
        """Equal when they show the same collection of the same file."""
        return isinstance(other, SQLiteStore) and self._identity() == other._identity()

    def __hash__(self) -> int:
        """Hash of what :meth:`__eq__` compares."""
        return hash(self._identity())

    def _identity(self) -> tuple[str, str, str]:
        return (str(Path(self.path).absolute()), self.collection_name, self.last_updated_field)

    @property
    def _collection(self) -> SQLiteStore:
        """The store itself, once connected, where maggma and jobflow expect pymongo's collection."""
        self._connected()
        return self

    def _connected(self) -> Table:
        if self._open is None:
            raise StoreError(f"must connect {self.name} before using it")
        return self._open

    def connect(self, force_reset: bool = False) -> None:
        """Open the file, creating file and collection when they do not exist.

        Parameters
        ----------
        force_reset
            Close and open again when already connected.

        Raises
        ------
        ArtifactError
            When the file is foreign, damaged, cut short or locked, may not be written, or is only looked at and missing. It is
            left as it is.
        """
        if self._open is not None and not force_reset:
            return
        self.close()
        self._open = Table.opened(
            Path(self.path),
            self.collection_name,
            [self.key, self.last_updated_field, *self.index_fields],
            timeout_s=self.timeout_s,
            synchronous=self.synchronous,
            read_only=self.read_only,
        )

    def close(self) -> None:
        """Close this process's connections."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def ensure_index(self, key: str, unique: bool = False, sparse: bool = False) -> bool:
        """Index a field.

        Parameters
        ----------
        key
            Dotted path of the field.
        unique
            Refuse any later update that would give two documents the same value; a missing field counts as null.
            Arrays are not compared.
        sparse
            With `unique`: leave documents without the field (or with null) alone.

        Returns
        -------
        bool
            False when stored documents already break a unique index (it is then not made).
        """
        table = self._connected()
        if self.read_only:
            raise InputError(f"{self.name} was opened read-only; open it without `read_only` to index {key}")
        table.ensure_fields([key])
        return table.make_unique(key, sparse) if unique else True

    def count(self, criteria: Criteria | None = None) -> int:
        """Count the documents that match MongoDB criteria."""
        return self._connected().count(criteria)

    def query(
        self,
        criteria: Criteria | None = None,
        properties: Properties = None,
        sort: dict[str, Sort | int] | None = None,
        skip: int = 0,
        limit: int = 0,
    ) -> Iterator[Document]:
        """Iterate over the documents that match; parameters and errors as for :meth:`Table.query`."""
        yield from self._connected().query(criteria, properties, sort, skip, limit)

    def query_one(
        self,
        criteria: Criteria | None = None,
        properties: Properties = None,
        sort: dict[str, Sort | int] | None = None,
    ) -> Document | None:
        """Return the first document of :meth:`query`, or None."""
        return next(self.query(criteria, properties, sort, limit=1), None)

    def distinct(
        self,
        field: str,
        criteria: Criteria | None = None,
        all_exist: bool = False,  # noqa: ARG002 - part of maggma's signature, without effect in MongoStore too
    ) -> list[Any]:
        """Return the different values of a field (of its items, where it is an array), in order of appearance."""
        return self._connected().distinct(field, criteria)

    def groupby(
        self,
        keys: list[str] | str,
        criteria: Criteria | None = None,
        properties: Properties = None,
        sort: dict[str, Sort | int] | None = None,
        skip: int = 0,
        limit: int = 0,
    ) -> Iterator[tuple[Document, list[Document]]]:
        """Group the documents of :meth:`query` by the values of `keys`; documents lacking one are left out."""
        keys = keys if isinstance(keys, list) else [keys]
        fields = [*properties, *keys] if properties else None
        groups: dict[tuple[bytes, ...], list[Document]] = {}
        for document in self.query(criteria, fields, sort, skip, limit):
            if all(has(document, key) for key in keys):
                groups.setdefault(tuple(identity(get(document, key)) for key in keys), []).append(document)
        for _, group in sorted(groups.items(), key=lambda item: item[0]):
            values: Document = {}
            for key in keys:
                set_(values, key, get(group[0], key))
            yield values, group

    def update(self, docs: list[Document] | Document, key: list[str] | str | None = None) -> None:
        """Insert documents, or replace those that agree with them in the key fields; all of them or none.

        When this returns, the documents are on disk (see ``synchronous``).

        Parameters
        ----------
        docs
            A document or a list of them; pydantic and MSON objects and numpy values in them are serialised.
        key
            Field, or list of fields, that identifies a document; the store's key when not given.

        Raises
        ------
        DuplicateDocumentError
            When two documents would have the same value of a unique field.
        ArtifactError
            When the disk is full, the store locked for longer than ``timeout_s``, read-only or damaged.
        InputError
            When a document lacks a key field or holds what BSON cannot.
        """
        table = self._connected()
        names = key or self.key
        names = list(names) if isinstance(names, list | tuple) else [names]
        documents = docs if isinstance(docs, list) else [docs]
        sanitised = [jsanitize(document, allow_bson=True, recursive_msonable=True) for document in documents]
        try:
            table.update([document for document in sanitised if self._validates(document)], names)
        except sqlite3.IntegrityError as error:
            raise DuplicateDocumentError(
                f"{self.name}: an update would break a unique index ({error}); nothing of it was written. "
                "Look the document up by that field instead of writing it again"
            ) from error

    def _validates(self, document: Document) -> bool:
        if self.validator is None or self.validator.is_valid(document):
            return True
        problems = self.validator.validation_errors(document)
        if self.validator.strict:
            raise InputError(f"document refused by the store's validator: {problems}")
        self.logger.error(problems)
        return False

    def remove_docs(self, criteria: Criteria) -> None:
        """Remove the documents that match `criteria`."""
        self._connected().remove(criteria)
