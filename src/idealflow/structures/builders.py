"""Builders by name, with the keys of a config as arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from ase import Atoms

from idealflow.core.setting_types import check_types
from idealflow.errors import InputError, did_you_mean
from idealflow.structures.cells import cell_around
from idealflow.structures.crystals import crystal, slab
from idealflow.structures.gases import gas_around
from idealflow.structures.particles import particle
from idealflow.structures.polycrystals import polycrystal

__all__ = ["available_builders", "from_builder"]

_BUILDERS: dict[str, Callable[..., Atoms]] = {
    "cell_around": cell_around,
    "crystal": crystal,
    "gas_around": gas_around,
    "particle": particle,
    "polycrystal": polycrystal,
    "slab": slab,
}


def available_builders() -> list[str]:
    """Names of the builders.

    Examples
    --------
    >>> available_builders()
    ['cell_around', 'crystal', 'gas_around', 'particle', 'polycrystal', 'slab']
    """
    return sorted(_BUILDERS)


def from_builder(settings: Mapping[str, Any], make: Callable[[Any], Atoms]) -> Atoms:
    """Build what a mapping with the key ``builder`` describes.

    Parameters
    ----------
    settings
        The builder's name, and its arguments by name.
    make
        What makes ``atoms``, the body that a builder works on, from its own description.

    Raises
    ------
    InputError
        For an unknown builder, an unknown or missing key, or what the builder refuses; it names the builder.

    Examples
    --------
    >>> made = from_builder({"builder": "crystal", "element": "Li", "crystal": "9R", "repeat": 2}, make=None)
    >>> len(made)
    72
    >>> from_builder({"builder": "crystal", "element": "Li", "cystal": "9R"}, make=None)
    Traceback (most recent call last):
    idealflow.errors.InputError: unknown key 'cystal' of the builder crystal (did you mean 'crystal'?); it has element, crystal, \
a, c, cubic, repeat
    """
    given = dict(settings)
    name = given.pop("builder")
    build = _BUILDERS.get(name) if isinstance(name, str) else None
    if build is None:
        raise InputError(
            f"there is no builder {name!r}{did_you_mean(name, _BUILDERS)}; available: {', '.join(available_builders())}"
        )
    parameters = inspect.signature(build).parameters
    for key in sorted(set(given) - set(parameters), key=str):
        raise InputError(
            f"unknown key {key!r} of the builder {name}{did_you_mean(key, parameters)}; it has {', '.join(parameters)}"
        )
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in given:
            raise InputError(f"the builder {name} needs `{key}`")
    try:
        check_types(get_type_hints(build), given)
        if "atoms" in parameters:
            given["atoms"] = make(given["atoms"])
        return build(**given)
    except InputError as error:
        raise InputError(f"builder {name}: {error}") from error
