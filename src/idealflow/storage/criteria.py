"""Translation of MongoDB criteria to SQL over the key columns of :mod:`idealflow.storage.keys`.

The SQL selects a superset: rows it cannot decide (:data:`~idealflow.storage.keys.UNDECIDED`) and criteria it does not
know pass, and the documents themselves are then filtered. ``exact`` says that the SQL alone is right for decided rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from idealflow.storage.keys import NULL, UNDECIDED, encode, rank_bounds

__all__ = ["Where", "column_name", "identifier", "translate"]

_MAX_VALUES = 10_000  # SQLite allows 32 766 bound values in one statement
_RANGES = {
    "$gt": "{0} > ? AND {0} < ?",
    "$gte": "{0} >= ? AND {0} < ?",
    "$lt": "{0} >= ? AND {0} < ?",
    "$lte": "{0} >= ? AND {0} <= ?",
}


@dataclass(frozen=True)
class Where:
    """A condition on key columns.

    Attributes
    ----------
    sql, values
        Its text, and the values bound in it.
    exact
        Whether it alone decides about rows whose keys are decided.
    fields
        The fields it looks at.
    terms
        What all must hold at once, each on one field: any of these fields' indexes finds the rows.
    """

    sql: str
    values: tuple[bytes, ...]
    exact: bool
    fields: frozenset[str]
    terms: tuple[Where, ...] = ()

    def through(self, field: str) -> str:
        """The text with every column but that of one field closed to SQLite's planner (by a unary plus)."""
        text = self.sql
        for other in sorted(self.fields - {field}):
            text = text.replace(column_name(other), f"+{column_name(other)}")
        return text


_EVERYTHING = Where("1", (), exact=False, fields=frozenset())


def identifier(kind: str, name: str) -> str:
    """Quoted SQL identifier for a name of ours (SQLite ignores case in identifiers: capitals are escaped)."""
    plain = "abcdefghijklmnopqrstuvwxyz0123456789_."
    escaped = "".join(c if c in plain else "".join(f"%{b:02x}" for b in c.encode()) for c in name)
    return f'"{kind}_{escaped}"'


def column_name(field: str) -> str:
    """Quoted SQL identifier of the key column of `field`."""
    return identifier("k", field)


def _equal_keys(value: Any) -> list[bytes] | None:
    """Keys equal to `value`. As the document filter does, True equals 1 and False equals 0."""
    key = encode(value)
    if key is None:
        return None
    if isinstance(value, bool | int | float) and value in (0, 1):
        return [k for k in (encode(bool(value)), encode(int(value))) if k is not None]
    return [key]


def _one_of(field: str, values: list[Any]) -> Where:
    keys: list[bytes] = []
    for value in values:
        equal = _equal_keys(value)
        if equal is None:
            if not isinstance(value, list | dict):
                return _EVERYTHING
            continue  # arrays and documents are equal to undecided rows only
        keys += equal
    if len(keys) > _MAX_VALUES:
        return _EVERYTHING
    # the key of null stands for missing fields too, and so does the criterion null, but not below null or another scalar
    exact = None not in values or "." not in field
    sql = f"{column_name(field)} IN ({','.join('?' * (len(keys) + 1))})"
    return Where(sql, (*keys, UNDECIDED), exact=exact, fields=frozenset([field]))


def _range(field: str, operator: str, value: Any) -> Where:
    key = encode(value)
    if key is None or key == NULL or value != value:  # noqa: PLR0124 - NaN compares as the document filter says
        return _EVERYTHING
    lower, upper = rank_bounds(key)
    column = column_name(field)
    sql = f"({_RANGES[operator].format(column)} OR {column} = ?)"
    bounds = (key, upper) if operator.startswith("$g") else (lower, key)
    return Where(sql, (*bounds, UNDECIDED), exact=True, fields=frozenset([field]))


def _operators(field: str, operators: Mapping[str, Any]) -> Where:
    parts = []
    for name, value in operators.items():
        if name == "$eq":
            parts.append(_one_of(field, [value]))
        elif name == "$in" and isinstance(value, list):
            parts.append(_one_of(field, value))
        elif name in _RANGES:
            parts.append(_range(field, name, value))
        else:
            parts.append(_EVERYTHING)
    return _join(parts, " AND ")


def _join(parts: list[Where], by: str) -> Where:
    if not parts:
        return _EVERYTHING
    return Where(
        "(" + by.join(part.sql for part in parts) + ")",
        tuple(value for part in parts for value in part.values),
        exact=all(part.exact for part in parts),
        fields=frozenset().union(*(part.fields for part in parts)),
    )


def _is_operators(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(str(key).startswith("$") for key in value)


def translate(criteria: Mapping[str, Any], columns: Callable[[str], bool]) -> Where:
    """Translate `criteria`; `columns` says whether a field has a key column."""
    parts = [Where("1", (), exact=True, fields=frozenset())]
    for field, value in criteria.items():
        if field in {"$and", "$or"} and isinstance(value, list) and value:
            branches = [translate(branch, columns) for branch in value if isinstance(branch, Mapping)]
            whole = len(branches) == len(value)
            parts.append(_join(branches, " AND " if field == "$and" else " OR ") if whole else _EVERYTHING)
        elif field.startswith("$") or not columns(field):
            parts.append(_EVERYTHING)
        elif _is_operators(value):
            parts.append(_operators(field, value))
        else:
            parts.append(_one_of(field, [value]))
    terms = tuple(part for part in parts if len(part.fields) == 1)
    return replace(_join(parts, " AND "), terms=terms)
