"""The documents of a campaign's folder, read without maggma or jobflow, which take seconds to import."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from idealflow.storage import Table
from idealflow.storage.mongo import Criteria, Document
from idealflow.storage.projection import Properties

__all__ = ["FolderDocuments"]


class FolderDocuments:
    """The documents of a folder's campaign, read-only, with the two queries of a jobflow JobStore.

    Parameters
    ----------
    path
        The campaign's ``store.sqlite``; it is opened by :meth:`connect`, or by the first query.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> documents = FolderDocuments(sample_campaign().folder.store_path)
    >>> documents.query_one({"output.kind": "state"}, ["output.campaign"])
    {'output': {'campaign': 'tiny'}}
    >>> documents.close()
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._table: Table | None = None

    def __reduce__(self) -> tuple[type[FolderDocuments], tuple[Path]]:
        """For other processes, and copies: the same file, opened anew."""
        return FolderDocuments, (self._path,)

    def connect(self) -> None:
        """Open the file to look at it.

        Raises
        ------
        ArtifactError
            If it is missing or damaged, or cannot be read without writing beside it.
        """
        self._opened()

    def _opened(self) -> Table:
        if self._table is None:
            self._table = Table.opened(self._path, read_only=True)
        return self._table

    def close(self) -> None:
        """Close the file; the next query opens it again."""
        if self._table is not None:
            self._table.close()
            self._table = None

    def query(
        self,
        criteria: Criteria | None = None,
        properties: Properties = None,
        sort: Document | None = None,
        skip: int = 0,
        limit: int = 0,
        load: bool = False,  # noqa: ARG002  # JobStore's: there are no further stores to load from
    ) -> Iterator[Document]:
        """Iterate over the documents that match; parameters and errors as for :meth:`idealflow.storage.Table.query`."""
        return self._opened().query(criteria, properties, sort, skip, limit)

    def query_one(
        self,
        criteria: Criteria | None = None,
        properties: Properties = None,
        sort: Document | None = None,
        load: bool = False,
    ) -> Document | None:
        """Return the first document that matches, or None."""
        return next(self.query(criteria, properties, sort, limit=1, load=load), None)

    def count(self, criteria: Criteria | None = None) -> int:
        """Count the documents that match."""
        return self._opened().count(criteria)
