"""The indexes with which no query of the package has to read every document."""

from __future__ import annotations

from typing import Any

from idealflow.provenance.maggma_internals import mongo_collection

__all__ = ["COMPOUND_INDEXES", "INDEXED_FIELDS", "ensure_indexes"]

#: fields by which stages and queries find documents; stores with one index a field, such as the embedded one, have these
INDEXED_FIELDS = (
    "output.kind",
    "output.campaign",
    "output.round",
    "output.request_key",
    "output.geometry_key",
    "output.state",
    "output.species",
    "output.walker",
    "output.model_version",
    "output.uncertainty",
    "completed_at",
)

_OF_A_KIND = ("output.campaign", "output.kind")

#: the same for MongoDB: a query of the package names the leading fields of at least one of these
COMPOUND_INDEXES = (
    ("uuid", "index"),
    ("output.request_key",),
    ("output.geometry_key",),
    (*_OF_A_KIND, "output.round"),
    (*_OF_A_KIND, "output.state"),
    (*_OF_A_KIND, "output.species", "output.uncertainty"),
    (*_OF_A_KIND, "output.model_version"),
    (*_OF_A_KIND, "output.uncertainty"),
    (*_OF_A_KIND, "output.learned"),
    (*_OF_A_KIND, "output.replayed"),
    (*_OF_A_KIND, "completed_at"),
)


def ensure_indexes(store: Any) -> None:
    """Create the missing indexes in the document store of a jobflow JobStore.

    A MongoDB collection gets :data:`COMPOUND_INDEXES`, any other store an index on each of :data:`INDEXED_FIELDS`.

    Examples
    --------
    >>> from jobflow import JobStore
    >>> from maggma.stores import MemoryStore
    >>> ensure_indexes(JobStore(MemoryStore()))
    """
    store.connect()
    if (collection := mongo_collection(store.docs_store)) is not None:
        for fields in COMPOUND_INDEXES:
            collection.create_index([(name, 1) for name in fields])
        return
    for name in INDEXED_FIELDS:
        store.docs_store.ensure_index(name)
