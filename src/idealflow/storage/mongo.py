"""MongoDB's filter, order and equality, decided on whole documents as maggma's MemoryStore decides them.

The filter is mongomock's. It takes half a second to import and is asked only where keys cannot decide, so the functions that
need it import it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

import bson
from bson.errors import BSONError

from idealflow.errors import ArtifactError, InputError
from idealflow.storage.keys import encode

__all__ = [
    "Criteria",
    "Document",
    "as_stored",
    "decoded",
    "encoded",
    "identity",
    "matches",
    "sort_documents",
    "sort_fields",
    "values_at",
]

#: what is stored: strings, numbers, dates, lists and mappings by name
Document = dict[str, Any]
#: conditions in MongoDB's language by dotted path
Criteria = Mapping[str, Any]

_RANGES = ("$gt", "$gte", "$lt", "$lte")


def matches(criteria: Criteria, document: Document) -> bool:
    """Tell whether a document meets MongoDB criteria.

    Raises
    ------
    NotImplementedError, ValueError
        For an operator or an operand that mongomock does not know.

    Examples
    --------
    >>> matches({"output.round": {"$gt": 2}}, {"output": {"round": 3}})
    True
    """
    from mongomock_ng import filtering

    return bool(filtering.filter_applies(criteria, document))


def values_at(field: str, document: Document) -> Iterator[Any]:
    """Iterate over the values at a dotted path: the items of an array one by one, nothing where the path is missing.

    Examples
    --------
    >>> list(values_at("a.b", {"a": [{"b": 1}, {"b": [2, 3]}, {}]}))
    [1, 2, 3]
    """
    from mongomock_ng import filtering

    for candidate in filtering.iter_key_candidates(field, document):
        for value in candidate if isinstance(candidate, list) else [candidate]:
            if value is not filtering.NOTHING:  # type: ignore[attr-defined]  # it imports it itself
                yield value


def identity(value: Any) -> bytes:
    """Return bytes that are equal for values which MongoDB takes to be equal.

    Examples
    --------
    >>> identity(1) == identity(1.0), identity(1) == identity(True)
    (True, False)
    """
    return encode(value) or b"\xff" + bson.encode({"v": value})


def decoded(blob: bytes, path: str) -> Document:
    """Read a document of the file at ``path``.

    Raises
    ------
    ArtifactError
        If it is none: SQLite does not notice damage inside a value.

    Examples
    --------
    >>> decoded(encoded({"round": 3}), "store.sqlite")
    {'round': 3}
    """
    try:
        document: Document = bson.decode(blob)
    except BSONError as error:
        raise ArtifactError(
            f"document store {path}: a document in it is damaged ({error}); put back a copy, it is left as it is"
        ) from error
    return document


def encoded(document: Document) -> bytes:
    """Encode a document as BSON.

    Raises
    ------
    InputError
        When it holds what BSON cannot, such as an integer beyond 64 bits.

    Examples
    --------
    >>> bson.decode(encoded({"shape": (2, 3)}))
    {'shape': [2, 3]}
    """
    try:
        return bytes(bson.encode(document))
    except (BSONError, OverflowError, ValueError) as error:
        raise InputError(
            f"a document cannot be stored: {error}; BSON holds strings, 64-bit integers, floats, dates"
        ) from error


def as_stored(criteria: Criteria | None) -> Document:
    """Return criteria with their values in the form in which the store gives values back: UTC milliseconds, lists.

    Raises
    ------
    InputError
        When a value cannot be stored, so that no document can hold it.
    NotImplementedError, ValueError
        For an operator or an operand that mongomock does not know.

    Examples
    --------
    >>> as_stored({"output.kind": {"$in": ("label", "substructure")}})
    {'output.kind': {'$in': ['label', 'substructure']}}
    """
    try:
        stored: Document = bson.decode(bson.encode({"criteria": dict(criteria or {})}))["criteria"]
    except (BSONError, OverflowError, ValueError) as error:
        raise InputError(f"criteria {criteria} cannot be asked for: {error}") from error
    if not all(_is_known(field, condition) for field, condition in stored.items()):
        matches(stored, {})  # raises for what it does not know
    return stored


def _is_known(field: str, condition: Any) -> bool:
    """Whether a condition is a scalar, or made of comparisons with scalars, which need no check by the filter."""
    if field.startswith("$"):
        return False
    if not isinstance(condition, dict):
        return encode(condition) is not None
    return bool(condition) and all(
        (operator == "$in" and isinstance(value, list) and all(encode(one) is not None for one in value))
        or (operator == "$eq" and encode(value) is not None)
        or (operator in _RANGES and value is not None and encode(value) is not None)
        for operator, value in condition.items()
    )


def sort_fields(sort: Mapping[str, Enum | int] | None) -> list[tuple[str, bool]]:
    """Turn maggma's sort argument into (field, descending) pairs.

    Parameters
    ----------
    sort
        Fields to 1 (ascending) or -1, or to maggma's ``Sort.Ascending`` or ``Sort.Descending``.

    Raises
    ------
    InputError
        For any other direction.

    Examples
    --------
    >>> sort_fields({"output.round": -1, "uuid": 1})
    [('output.round', True), ('uuid', False)]
    """
    pairs = []
    for field, direction in (sort or {}).items():
        value = direction.value if isinstance(direction, Enum) else direction
        if value not in (1, -1):
            raise InputError(f"sort direction of {field} must be 1 or -1, got {direction!r}")
        pairs.append((field, value == -1))
    return pairs


def _sort_key(field: str, document: Document) -> tuple[int, Any]:
    from mongomock_ng import filtering

    present, comparable = filtering.resolve_sort_key(field, document)
    if isinstance(comparable.obj, float) and math.isnan(comparable.obj):
        # NaN sorts before all numbers; Python has no order for it
        return present, filtering.BsonComparable(-math.inf)
    return present, comparable


def sort_documents(found: list[tuple[int, Document]], fields: list[tuple[str, bool]]) -> list[tuple[int, Document]]:
    """Sort (row, document) pairs as MongoDB sorts; equal documents keep their order.

    Parameters
    ----------
    found
        Pairs of a row's number and its document.
    fields
        (field, descending) pairs, the most important first.

    Examples
    --------
    >>> sort_documents([(1, {"a": "x"}), (2, {"a": 5}), (3, {})], [("a", False)])
    [(3, {}), (2, {'a': 5}), (1, {'a': 'x'})]
    """
    for field, descending in reversed(fields):
        found = sorted(found, key=lambda pair: _sort_key(field, pair[1]), reverse=descending)
    return found
