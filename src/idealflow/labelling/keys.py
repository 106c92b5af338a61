"""Keys by which a label is found again: the same geometry and the same label settings give the same key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms

from idealflow.core.structure import totals_of
from idealflow.errors import InputError

__all__ = ["RESOLUTION", "former_geometry_key", "geometry_key", "is_former_geometry_key"]

#: version of the form of keys; keys written by version 0.1.0 do not carry one
_VERSION = 2

RESOLUTION = 1e-6
"""Coordinates closer than this, in Å, count as equal; far below what changes a label."""


def _rounded(name: str, values: Any) -> bytes:
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise InputError(f"{name} must be finite to be labelled, got NaN or infinity; look at the step that made them")
    # as integers there is no negative zero, and the byte order is fixed
    return np.rint(array / RESOLUTION).astype("<i8").tobytes()


def _canonical(settings: Mapping[str, Any]) -> str:
    try:
        return json.dumps(settings, sort_keys=True, separators=(",", ":"), default=_plain)
    except TypeError as error:
        raise InputError(f"label settings must be plain values (text, numbers, lists, mappings): {error}") from error


def _plain(value: Any) -> Any:
    if hasattr(value, "as_dict"):
        return value.as_dict()
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} {value!r}")


def geometry_key(atoms: Atoms, settings: Mapping[str, Any]) -> str:
    """Key under which the label of a structure, made with these settings, is stored.

    Parameters
    ----------
    atoms
        Species, positions, cell and periodicity enter the key; so do, if they are set, initial magnetic moments and charges, and
        the charge and spin of the whole. Masses and fixed atoms do not. Positions are neither wrapped nor sorted: a translated or
        reordered copy has another key.
    settings
        Everything that decides the label (engine, functional, cutoff, k density, ...), as plain values.

    Returns
    -------
    str
        ``2-`` (the form of the key) and 64 hexadecimal digits, the same in every process. Coordinates count in steps of
        1e-6 Å.

    Raises
    ------
    InputError
        When coordinates are not finite, or the settings are not plain values.

    Examples
    --------
    >>> from ase.build import bulk
    >>> copper = bulk("Cu")
    >>> key = geometry_key(copper, {"functional": "PBE"})
    >>> len(key), key[:2]
    (66, '2-')
    >>> key == geometry_key(copper, {"functional": "PBEsol"})
    False
    """
    return f"{_VERSION}-{former_geometry_key(atoms, settings)}"


def former_geometry_key(atoms: Atoms, settings: Mapping[str, Any]) -> str:
    """The key that version 0.1.0 gave the same structure; arguments as those of :func:`geometry_key`.

    Examples
    --------
    >>> from ase.build import bulk
    >>> geometry_key(bulk("Cu"), {}) == "2-" + former_geometry_key(bulk("Cu"), {})
    True
    """
    digest = hashlib.sha256()
    digest.update(np.asarray(atoms.numbers).astype("<i4").tobytes())
    digest.update(np.asarray(atoms.pbc).astype("u1").tobytes())
    digest.update(_rounded("cell", atoms.cell.array))
    digest.update(_rounded("positions", atoms.positions))
    for name in ("initial_magmoms", "initial_charges"):
        if name in atoms.arrays:
            digest.update(name.encode() + _rounded(name, atoms.arrays[name]))
    for name, value in totals_of(atoms).items():
        digest.update(name.encode() + _rounded(name, value))
    digest.update(_canonical(settings).encode())
    return digest.hexdigest()


def is_former_geometry_key(key: str | None) -> bool:
    """Whether a stored key was written by version 0.1.0; False for None, which stands for no key.

    Examples
    --------
    >>> from ase.build import bulk
    >>> is_former_geometry_key(former_geometry_key(bulk("Cu"), {})), is_former_geometry_key(geometry_key(bulk("Cu"), {}))
    (True, False)
    """
    return key is not None and "-" not in key
