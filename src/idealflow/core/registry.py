"""Uncertainties by name, imported when asked for; and their files, which say their name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from idealflow.core.archive import archive_kind
from idealflow.core.protocols import FirstEnvironments, ForceFieldFit, Uncertainty
from idealflow.errors import InputError, did_you_mean
from idealflow.plugins import Plugins

__all__ = [
    "UNCERTAINTIES",
    "available_uncertainties",
    "check_registered",
    "check_settings",
    "default_uncertainty_settings",
    "file_kind",
    "load_uncertainty",
    "missing_members",
    "register_uncertainty",
    "uncertainty_class",
]

UNCERTAINTIES = Plugins(
    "uncertainty",
    "idealflow.uncertainties",
    "register_uncertainty",
    {
        "soap": ("idealflow.core.uncertainty:UncertaintyModel", None),
        "mixture": ("idealflow.core.mixture:MixtureModel", None),
        "committee": ("idealflow.forcefields.committee:CommitteeUncertainty", None),
    },
)

#: what the first lines of files say, which are older than the registry
_BUILT_IN_KINDS = {"soap": "idealflow uncertainty model", "committee": "idealflow committee uncertainty"}
_PREFIX = "uncertainty:"


def available_uncertainties() -> list[str]:
    """Names of all uncertainties: built in, registered, and of installed packages (entry points ``idealflow.uncertainties``).

    Examples
    --------
    >>> {"soap", "mixture", "committee"} <= set(available_uncertainties())
    True
    """
    return UNCERTAINTIES.names()


def register_uncertainty(name: str, kind: type[Uncertainty]) -> None:
    """Make a class that keeps :class:`~idealflow.core.Uncertainty` available under a name in this process.

    Parameters
    ----------
    name
        As configs and files are to have it.
    kind
        The class. Where it says no ``name`` of its own, it gets this one.

    Raises
    ------
    InputError
        If it is no class, the class calls itself otherwise (its files would not be found), or the name is a built-in one (whose
        files could not be read any more).

    Examples
    --------
    >>> from idealflow.core import UncertaintyModel
    >>> class Mine(UncertaintyModel):
    ...     name = "mine"
    >>> register_uncertainty("mine", Mine)
    >>> uncertainty_class("mine") is Mine
    True
    """
    if not isinstance(kind, type):
        raise InputError(f"register_uncertainty takes a class, got {kind!r}; give the class of the uncertainty")
    if name in UNCERTAINTIES.built_in and UNCERTAINTIES.find(name) is not kind:
        raise InputError(
            f"{name!r} is the uncertainty of the package itself, and files name it; register {kind.__name__} under another name"
        )
    if getattr(kind, "name", name) not in (name, _import_path(kind)):
        raise InputError(
            f"{kind.__name__} calls itself {kind.name!r}, and its files say so; register it under that name, or set "
            f'name = "{name}" in the class'
        )
    kind.name = name
    UNCERTAINTIES.registered[name] = kind


def uncertainty_class(name: str) -> type[Uncertainty]:
    """The class of a name.

    Parameters
    ----------
    name
        One of :func:`available_uncertainties`, or the import path ``module:Class`` of one's own.

    Raises
    ------
    InputError
        For an unknown name, a class that lacks a member of the protocol, or one that calls itself otherwise.

    Examples
    --------
    >>> uncertainty_class("soap").__name__
    'UncertaintyModel'
    """
    kind: type[Uncertainty] = UNCERTAINTIES.find(name)
    if missing := missing_members(kind):
        raise InputError(
            f"uncertainty {name!r} is no idealflow.core.Uncertainty: {kind.__name__} has no {', '.join(missing)}; derive it from "
            "idealflow.core.SOAPCoverage, which has most of them"
        )
    check_registered(kind)
    return kind


def missing_members(kind: type) -> list[str]:
    """Members of :class:`~idealflow.core.Uncertainty` that a class does not have.

    Examples
    --------
    >>> from idealflow.core import SOAPCoverage
    >>> missing_members(SOAPCoverage)
    ['begin', 'name', 'value_and_gradient', '__call__']
    """
    wanted = {member for member in dir(Uncertainty) if not member.startswith("_")} | {*Uncertainty.__annotations__}
    missing = [member for member in sorted(wanted) if not hasattr(kind, member)]
    if not any("__call__" in vars(each) for each in kind.__mro__):
        missing.append("__call__")
    return missing


def check_registered(kind: type[Uncertainty]) -> None:
    """Refuse a class whose files nobody could open, because its name leads nowhere or to another class.

    Raises
    ------
    InputError
        Saying how to register it.

    Examples
    --------
    >>> from idealflow.core import UncertaintyModel
    >>> check_registered(UncertaintyModel)
    """
    if not isinstance(getattr(kind, "name", None), str):
        raise InputError(
            f"an uncertainty has a name by which its files are found, {kind.__name__} has none; derive the class from "
            "idealflow.core.SOAPCoverage, or give it one"
        )
    try:
        found = UNCERTAINTIES.find(kind.name)
    except InputError as error:
        raise InputError(
            f"the uncertainty {kind.__name__} is not registered: files name it {kind.name!r}, which leads nowhere; call "
            f'register_uncertainty("{_plain(kind)}", {kind.__name__}), or make {_import_path(kind)} importable ({error})'
        ) from error
    if found is not kind:
        raise InputError(
            f"the uncertainty {kind.__name__} calls itself {kind.name!r}, which is {found.__module__}:{found.__qualname__}; give "
            f'it a name of its own in the class, name = "{_plain(kind)}", and register_uncertainty("{_plain(kind)}", '
            f"{kind.__name__})"
        )


def check_settings(kind: type[Uncertainty], settings: Mapping[str, Any]) -> None:
    """Refuse settings that :meth:`~idealflow.core.Uncertainty.begin` of a class does not take, or that it lacks.

    Raises
    ------
    InputError
        Naming the setting and those there are.

    Examples
    --------
    >>> check_settings(uncertainty_class("committee"), {"members": 3})
    """
    signature = inspect.signature(kind.begin)
    try:
        signature.bind(FirstEnvironments, ForceFieldFit, **settings)
    except TypeError as error:
        known = list(signature.parameters)[2:]
        unknown = next((key for key in settings if key not in known), None)
        raise InputError(
            f"uncertainty {kind.name!r}: {error}{did_you_mean(unknown, known) if unknown else ''}; its settings are "
            f"{', '.join(known) or 'none'}"
        ) from error


def default_uncertainty_settings(name: str) -> dict[str, Any]:
    """Default values of an uncertainty's settings, by name; empty if there is no such uncertainty.

    Examples
    --------
    >>> default_uncertainty_settings("committee")
    {'members': 4}
    """
    try:
        parameters = inspect.signature(uncertainty_class(name).begin).parameters.values()
    except InputError:
        return {}
    return {each.name: each.default for each in parameters if each.default is not each.empty}


def file_kind(name: str) -> str:
    """What the file of an uncertainty says it is: the ``kind`` of its archive, which leads to the class.

    Parameters
    ----------
    name
        The class's ``name``.

    Examples
    --------
    >>> file_kind("mine")
    'uncertainty:mine'
    """
    return _BUILT_IN_KINDS.get(name, f"{_PREFIX}{name}")


def load_uncertainty(path: str | Path, device: str | None = None) -> Uncertainty:
    """The uncertainty in a file, whichever it is.

    Parameters
    ----------
    path
        File that ``save`` wrote.
    device
        Torch device to compute on, for measures that can; None: the processor.

    Raises
    ------
    ArtifactError
        If the file is missing, cut short, damaged or holds something else.
    InputError
        If the class that it names is not there, or the device is not.

    Examples
    --------
    >>> import tempfile
    >>> from ase.build import bulk
    >>> from idealflow.core import SOAP, UncertaintyModel
    >>> u = UncertaintyModel.fit([bulk("Cu")], SOAP(["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     loaded = load_uncertainty(u.save(f"{folder}/u.npz"))
    >>> type(loaded).__name__, loaded.n_samples
    ('UncertaintyModel', {'Cu': 1})
    """
    kind = archive_kind(path)
    names = {written: name for name, written in _BUILT_IN_KINDS.items()}
    if kind in names:
        name = names[kind]
    elif kind is not None and kind.startswith(_PREFIX):
        name = kind.removeprefix(_PREFIX)
    else:  # foreign or damaged: the default's own reader says which
        name = "soap"
    try:
        found = UNCERTAINTIES.find(name)
    except InputError as error:
        raise InputError(f"{path} holds an uncertainty that is not there: {error}") from error
    loaded: Uncertainty = found.load(path, device)
    return loaded


def _import_path(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _plain(kind: type) -> str:
    return kind.__name__.lower()
