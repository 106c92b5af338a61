"""Order-preserving keys: BSON values as bytes that compare as MongoDB compares the values.

An indexed field of a document becomes a BLOB column, so that equality, ranges and sorting happen inside SQLite.
The first byte is the rank of the value's type in MongoDB's order (null < number < string < binary < ObjectId < bool
< date), the rest orders values of that type. Values that one key cannot stand for (arrays, embedded documents,
regular expressions, fields reached through an array) get :data:`UNDECIDED`, and a query looks at their documents. A field
below null or another scalar counts as missing and has the key of null, as which it sorts.
"""

from __future__ import annotations

import datetime as dt
import math
import struct
from typing import Any

from bson import ObjectId

__all__ = ["NULL", "RULES", "UNDECIDED", "encode", "field_key", "rank_bounds"]

RULES = 2  # goes up when a kind of value gets another key; opening a file of earlier rules gives its documents new keys
NULL = b"\x05"
UNDECIDED = b"\xff"
_NUMBER, _STRING, _BINARY, _OBJECT_ID, _BOOL, _DATE = 10, 15, 30, 35, 40, 45
_SIGN = 1 << 63
_ALL = (1 << 64) - 1


def _float_bits(value: float) -> int:
    """Unsigned integer that orders as `value`; 0 for NaN, which MongoDB sorts before all numbers."""
    if math.isnan(value):
        return 0
    (bits,) = struct.unpack(">Q", struct.pack(">d", value + 0.0))  # -0.0 + 0.0 is 0.0
    return int(bits ^ _ALL if bits & _SIGN else bits | _SIGN)


def _encode_number(value: float) -> bytes:
    nearest = float(value)
    # several 64-bit integers beyond 2**53 have the same nearest float: their distances from it order them
    left_over = value - int(nearest) if isinstance(value, int) else 0
    return struct.pack(">BQq", _NUMBER, _float_bits(nearest), left_over)


def _encode_date(value: dt.datetime) -> bytes:
    if value.tzinfo is None:
        value = value.replace(tzinfo=dt.UTC)
    milliseconds = (value - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(milliseconds=1)
    return struct.pack(">BQ", _DATE, milliseconds + _SIGN)


def encode(value: Any) -> bytes | None:
    """Return the key of a scalar, or None for a value that no key can stand for.

    Examples
    --------
    >>> encode(2) < encode(2.5) < encode("a") < encode(True)
    True
    >>> encode([1, 2]) is None
    True
    """
    if value is None:
        return NULL
    if isinstance(value, bool):
        return bytes((_BOOL, value))
    if isinstance(value, int | float):
        return _encode_number(value)
    if isinstance(value, str):
        return bytes((_STRING,)) + value.encode()
    if isinstance(value, dt.datetime):
        return _encode_date(value)
    if isinstance(value, ObjectId):
        return bytes((_OBJECT_ID,)) + bytes(value.binary)
    if type(value) is bytes:
        return struct.pack(">BQ", _BINARY, len(value)) + value
    return None


def rank_bounds(key: bytes) -> tuple[bytes, bytes]:
    """Return bounds (lower inclusive, upper exclusive) of the keys of values that have the type of ``key``.

    A range query matches within them alone: MongoDB compares values of one type, and no number with NaN.

    Examples
    --------
    >>> lower, upper = rank_bounds(encode("any text"))
    >>> lower <= encode("") < encode("zzz") < upper
    True
    """
    lower = struct.pack(">BQ", _NUMBER, 1) if key[0] == _NUMBER else key[:1]
    return lower, bytes((key[0] + 1,))


def field_key(document: dict[str, Any], field: str) -> bytes:
    """Return the key of the value at a dotted path; that of null where there is none, as in MongoDB's indexes.

    Examples
    --------
    >>> field_key({"output": {"round": 3}}, "output.round") == encode(3)
    True
    >>> field_key({}, "output.round") == NULL
    True
    """
    *parents, last = field.split(".")
    value: Any = document
    for part in parents:
        value = value.get(part, {})
        if not isinstance(value, dict):
            return UNDECIDED if isinstance(value, list) else NULL
    key = encode(value.get(last))
    return UNDECIDED if key is None else key
