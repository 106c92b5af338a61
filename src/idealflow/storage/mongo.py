"""What only documents themselves can answer: MongoDB's filter, order and equality, as MemoryStore has them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import bson
from bson.errors import BSONError
from maggma.core import Sort
from mongomock_ng import filtering

from idealflow.errors import InputError
from idealflow.storage.keys import encode

__all__ = ["as_stored", "encoded", "identity", "matches", "sort_documents", "sort_fields", "values_at"]


def matches(criteria: dict[str, Any], document: dict[str, Any]) -> bool:
    """Whether `document` meets `criteria`."""
    return bool(filtering.filter_applies(criteria, document))


def values_at(field: str, document: dict[str, Any]) -> Iterator[Any]:
    """Values at a dotted path, the items of an array one by one; nothing where the path is missing."""
    for candidate in filtering.iter_key_candidates(field, document):
        for value in candidate if isinstance(candidate, list) else [candidate]:
            if value is not filtering.NOTHING:
                yield value


def identity(value: Any) -> bytes:
    """Bytes equal for values MongoDB holds to be equal (1 and 1.0 are, 1 and True are not)."""
    return encode(value) or b"\xff" + bson.encode({"v": value})


def encoded(document: dict[str, Any]) -> bytes:
    """Encode `document` as BSON; InputError when it holds what BSON cannot."""
    try:
        return bytes(bson.encode(document))
    except (BSONError, OverflowError, ValueError) as error:
        raise InputError(
            f"a document cannot be stored: {error}; BSON holds strings, 64-bit integers, floats, dates"
        ) from error


def as_stored(criteria: Mapping[str, Any] | None) -> dict[str, Any]:
    """Criteria with values as they come back from the store (UTC milliseconds, lists); refuses unknown operators."""
    try:
        stored: dict[str, Any] = bson.decode(bson.encode({"criteria": dict(criteria or {})}))["criteria"]
    except (BSONError, OverflowError, ValueError) as error:
        raise InputError(f"criteria {criteria} cannot be asked for: {error}") from error
    matches(stored, {})
    return stored


def sort_fields(sort: Mapping[str, Sort | int] | None) -> list[tuple[str, bool]]:
    """Return (field, descending) pairs of maggma's sort argument."""
    pairs = []
    for field, direction in (sort or {}).items():
        value = direction.value if isinstance(direction, Sort) else direction
        if value not in (1, -1):
            raise InputError(f"sort direction of {field} must be 1 or -1, got {direction!r}")
        pairs.append((field, value == -1))
    return pairs


def _sort_key(field: str, document: dict[str, Any]) -> tuple[int, Any]:
    present, comparable = filtering.resolve_sort_key(field, document)
    if isinstance(comparable.obj, float) and math.isnan(comparable.obj):
        # NaN sorts before all numbers; Python has no order for it
        return present, filtering.BsonComparable(-math.inf)
    return present, comparable


def sort_documents(
    found: list[tuple[int, dict[str, Any]]], fields: list[tuple[str, bool]]
) -> list[tuple[int, dict[str, Any]]]:
    """Sort (row, document) pairs in BSON order, stable among equals."""
    for field, descending in reversed(fields):
        found = sorted(found, key=lambda pair: _sort_key(field, pair[1]), reverse=descending)
    return found
