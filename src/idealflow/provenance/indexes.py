"""The indexes that make every offered query a look-up."""

from __future__ import annotations

from typing import Any

__all__ = ["INDEXED_FIELDS", "ensure_indexes"]

#: fields by which stages and queries look documents up
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
)


def ensure_indexes(store: Any) -> None:
    """Create an index on each of :data:`INDEXED_FIELDS` in a jobflow JobStore's document store."""
    for name in INDEXED_FIELDS:
        store.docs_store.ensure_index(name)
