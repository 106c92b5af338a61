"""The one private name of maggma that we need, for want of a public one; a test notices when it goes."""

from __future__ import annotations

from typing import Any

__all__ = ["mongo_collection"]


def mongo_collection(store: Any) -> Any | None:
    """The collection behind a connected store that has pymongo's interface; None where there is none.

    maggma indexes one field at a time; compound indexes are made on the collection itself.

    Examples
    --------
    >>> from maggma.stores import MemoryStore
    >>> store = MemoryStore()
    >>> store.connect()
    >>> mongo_collection(store).create_index([("output.campaign", 1), ("output.round", 1)])
    'output.campaign_1_output.round_1'
    """
    collection = getattr(store, "_collection", None)
    return collection if hasattr(collection, "create_index") else None
