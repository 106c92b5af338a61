"""Translation of MongoDB criteria to SQL over the key columns of :mod:`idealflow.storage.keys`.

The SQL may select too many rows, never too few: it passes rows that it cannot decide
(:data:`~idealflow.storage.keys.UNDECIDED`) and criteria that it does not know, whose documents are filtered afterwards. Where
``exact`` is set, no row that it can decide is passed wrongly, and only the others need the filter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from idealflow.storage.keys import NULL, UNDECIDED, encode, rank_bounds
from idealflow.storage.mongo import Criteria

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
    """An SQL condition on key columns.

    Attributes
    ----------
    sql, values
        Its text, and the values for its question marks.
    exact
        Whether it decides alone about every row whose keys are decided.
    fields
        The fields it looks at.
    terms
        Its parts on a single field each, which must all hold: the index of any of these fields finds the rows.

    Examples
    --------
    >>> Where('"k_a" = ?', (b"1",), exact=True, fields=frozenset(["a"])).through("b")
    '+"k_a" = ?'
    """

    sql: str
    values: tuple[bytes, ...]
    exact: bool
    fields: frozenset[str]
    terms: tuple[Where, ...] = ()

    def through(self, field: str) -> str:
        """Return the text with a unary plus before every other column, so that SQLite uses the index of this field."""
        text = self.sql
        for other in sorted(self.fields - {field}):
            text = text.replace(column_name(other), f"+{column_name(other)}")
        return text


_EVERYTHING = Where("1", (), exact=False, fields=frozenset())


def identifier(kind: str, name: str) -> str:
    """Make a quoted SQL identifier of a name; capitals are escaped, since SQLite ignores their case.

    Examples
    --------
    >>> identifier("k", "output.rMax")
    '"k_output.r%4dax"'
    """
    plain = "abcdefghijklmnopqrstuvwxyz0123456789_."
    escaped = "".join(c if c in plain else "".join(f"%{b:02x}" for b in c.encode()) for c in name)
    return f'"{kind}_{escaped}"'


def column_name(field: str) -> str:
    """Return the quoted SQL identifier of a field's key column.

    Examples
    --------
    >>> column_name("uuid")
    '"k_uuid"'
    """
    return identifier("k", field)


def _equal_keys(value: Any) -> list[bytes] | None:
    """Keys of what equals a value: as for the document filter, True equals 1 and False equals 0."""
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
    # as in MongoDB, {field: null} also matches documents without the field, which have the key of null; a dotted path may
    # lead through null or another scalar, and only the document tells whether MongoDB matches there
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


def translate(criteria: Criteria, columns: Callable[[str], bool]) -> Where:
    """Translate MongoDB criteria to an SQL condition.

    Parameters
    ----------
    criteria
        Criteria as :func:`idealflow.storage.mongo.as_stored` returns them.
    columns
        Says whether a field has a key column.

    Returns
    -------
    Where
        A condition that holds for every row whose document matches.

    Examples
    --------
    >>> found = translate({"round": {"$gte": 2}, "note": "x"}, columns={"round"}.__contains__)
    >>> found.sql, found.exact
    ('(1 AND (("k_round" >= ? AND "k_round" < ? OR "k_round" = ?)) AND 1)', False)
    """
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
