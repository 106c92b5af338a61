"""Finding force fields by name; their modules are imported only when they are asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import Any

from idealflow.errors import ArtifactError, IdealflowError, InputError, did_you_mean
from idealflow.forcefields.protocol import ForceField
from idealflow.former_names import FORMER, present_names
from idealflow.plugins import Plugins

__all__ = [
    "FORCE_FIELDS",
    "available",
    "check_registered",
    "default_settings",
    "get_force_field",
    "load_force_field",
    "present_settings",
    "register_force_field",
]

_LONGEST_HEADER = 1 << 20  # a foreign file may be one long line

FORCE_FIELDS = Plugins(
    "force field",
    "idealflow.forcefields",
    "register_force_field",
    {
        "local": ("idealflow.forcefields.local:LocalForceField", None),
        "m3gnet": ("idealflow.forcefields.m3gnet:M3GNetForceField", None),
        "m3gnet-small": ("idealflow.forcefields.m3gnet:SmallM3GNetForceField", None),
        "sevennet": ("idealflow.forcefields.sevennet:SevenNetForceField", "sevennet"),
        "chgnet": ("idealflow.forcefields.chgnet:CHGNetForceField", "chgnet"),
        "mace": ("idealflow.forcefields.mace:MACEForceField", "mace"),
    },
)


def available() -> list[str]:
    """Names of all force fields: built in, registered, and entry points ``idealflow.forcefields`` of installed packages.

    Examples
    --------
    >>> "local" in available()
    True
    """
    return FORCE_FIELDS.names()


def register_force_field(name: str, kind: type) -> None:
    """Make a class that follows :class:`~idealflow.forcefields.ForceField` available under ``name``, in this process.

    Examples
    --------
    >>> from idealflow.forcefields.local import LocalForceField
    >>> class Short(LocalForceField):
    ...     name = "short"
    ...     def __init__(self, species, cutoff=3.0):
    ...         super().__init__(species, cutoff)
    >>> register_force_field("short", Short)
    >>> get_force_field("short", species=["Cu"]).cutoff
    3.0
    >>> del FORCE_FIELDS.registered["short"]
    """
    FORCE_FIELDS.registered[name] = kind


def get_force_field(name: str, **settings: Any) -> ForceField:
    """Make an untrained force field.

    Parameters
    ----------
    name
        One of :func:`available`, or the import path ``module:Class`` of a class of your own, whose ``name`` must be that same
        path.
    settings
        ``species`` and whatever else the class takes.

    Raises
    ------
    InputError
        For an unknown name or setting.
    MissingExtraError
        If it needs a package that is not installed; the message holds the pip command.

    Examples
    --------
    >>> get_force_field("local", species=["Ag", "Cu"], cutoff=4.5).species  # by atomic number
    ('Cu', 'Ag')
    >>> get_force_field("locl", species=["Cu"])
    Traceback (most recent call last):
    idealflow.errors.InputError: unknown force field 'locl' (did you mean 'local'?); available: ...
    """
    made = FORCE_FIELDS.find(name)
    settings = present_settings(name, settings)
    try:
        signature(made).bind(**settings)
    except TypeError as error:
        known = [each for each in signature(made).parameters if each != "species"]
        unknown = next((key for key in settings if key not in (*known, "species")), None)
        raise InputError(
            f"force field {name!r}: {error}{did_you_mean(unknown, known) if unknown else ''}; its settings are "
            f"{', '.join(known) or 'none'}"
        ) from error
    force_field: ForceField = made(**settings)  # what a constructor raises is its own: a bug is no wrong setting
    return force_field


def check_registered(kind: type) -> None:
    """Refuse a class whose files nobody could open, because its ``name`` leads nowhere or to another class.

    Raises
    ------
    InputError
        Saying how to register it.

    Examples
    --------
    >>> from idealflow.forcefields.local import LocalForceField
    >>> check_registered(LocalForceField)
    >>> class Mine(LocalForceField):
    ...     name = "mine"
    >>> check_registered(Mine)
    Traceback (most recent call last):
    idealflow.errors.InputError: the force field Mine is not registered: its files name 'mine'; call ...
    """
    name = getattr(kind, "name", None)
    plain = kind.__name__.lower()
    if not isinstance(name, str):
        raise InputError(
            f'the force field {kind.__name__} has no name by which its files are found; set name = "{plain}" in the class, and '
            f'call register_force_field("{plain}", {kind.__name__})'
        )
    try:
        found = FORCE_FIELDS.find(name)
    except InputError as error:
        raise InputError(
            f'the force field {kind.__name__} is not registered: its files name {name!r}; call register_force_field("{name}", '
            f"{kind.__name__}), or declare the entry point in your package ({error})"
        ) from error
    if found is not kind:
        raise InputError(
            f"the force field {kind.__name__} calls itself {name!r}, which is {found.__module__}:{found.__qualname__}; give it a "
            f'name of its own in the class, and call register_force_field("{plain}", {kind.__name__})'
        )


def default_settings(name: str) -> dict[str, Any]:
    """Default values of a force field's settings, by name.

    Returns
    -------
    dict
        As a config would write them: sequences are lists. Settings without default, such as ``species``, are left out. Empty
        if there is no such force field or its package is not installed.

    Examples
    --------
    >>> defaults = default_settings("local")
    >>> defaults["cutoff"], defaults["hidden"], "species" in defaults
    (5.0, [32, 32], False)
    """
    try:
        parameters = signature(FORCE_FIELDS.find(name)).parameters.values()
    except IdealflowError:
        return {}
    found = {each.name: each.default for each in parameters if each.default is not each.empty}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}


def present_settings(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a force field, those under names of earlier versions renamed to what they are called now.

    Parameters
    ----------
    name
        Name of the force field; settings of one that is not built in are returned as they are.
    settings
        Values by name, present or former.

    Raises
    ------
    InputError
        When a setting is given under both names.

    Examples
    --------
    >>> present_settings("local", {"cutoff": 4.0, "fit_lr": 0.01})
    {'cutoff': 4.0, 'fit_learning_rate': 0.01}
    """
    location, _ = FORCE_FIELDS.built_in.get(name, ("", None))
    former = {} if name in FORCE_FIELDS.registered else FORMER.get(location.rpartition(":")[2], {})
    return present_names(settings, former, f"force field {name!r}")


def load_force_field(path: str | Path) -> ForceField:
    """Read a trained force field from its file; which class it is stands in the file.

    Raises
    ------
    ArtifactError
        If the file is missing, cut short, damaged or no force field.
    InputError
        If the force field that the file names is not known here.

    Examples
    --------
    >>> load_force_field(get_force_field("local", species=["Cu"]).save("copper.ff")).species
    ('Cu',)
    >>> load_force_field("absent.ff")
    Traceback (most recent call last):
    idealflow.errors.ArtifactError: force field absent.ff does not exist
    """
    name = _architecture(Path(path))
    try:
        kind = FORCE_FIELDS.find(name)
    except InputError as error:
        raise InputError(f"{path} holds a force field that is not known here: {error}") from error
    force_field: ForceField = kind.load(path)
    return force_field


def _architecture(path: Path) -> str:
    """Name of the force field in a file: each such file begins with one line of JSON."""
    try:
        with path.open("rb") as handle:
            header = json.loads(handle.readline(_LONGEST_HEADER))
        return str(header["force_field"])
    except FileNotFoundError as error:
        raise ArtifactError(f"force field {path} does not exist") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path} is no force field: its first line must name one as JSON") from error
