"""The indexes that make every offered query a look-up."""

from __future__ import annotations

from typing import Any

from idealflow.provenance.maggma_internals import mongo_collection

__all__ = ["COMPOUND_INDEXES", "INDEXED_FIELDS", "ensure_indexes"]

#: fields by which stages and queries look documents up; a store of single indexes, as the embedded one, has these
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
    """Create the indexes in a jobflow JobStore's document store; those that exist stay.

    :data:`COMPOUND_INDEXES` where it is a MongoDB collection, else one on each of :data:`INDEXED_FIELDS`.
    """
    store.connect()
    if (collection := mongo_collection(store.docs_store)) is not None:
        for fields in COMPOUND_INDEXES:
            collection.create_index([(name, 1) for name in fields])
        return
    for name in INDEXED_FIELDS:
        store.docs_store.ensure_index(name)
