"""Labellers from what describes them: a section of a config, an atomate2 Maker, or a labeller."""

from __future__ import annotations

from typing import Any

from jobflow import Maker

from idealflow.core.setting_types import check_types
from idealflow.errors import InputError, MissingExtraError, did_you_mean
from idealflow.labelling import AseLabeller
from idealflow.labelling.universal import UNIVERSAL
from idealflow.workflow.labellers.external import ExternalLabeller
from idealflow.workflow.labellers.importing import check_calculator, import_class, one_line
from idealflow.workflow.labellers.protocol import Labeller
from idealflow.workflow.labellers.static import StaticLabeller

__all__ = ["labeller_from_settings", "static_labeller", "vasp_labeller"]

#: the keys of a labeller's mapping and their types, by the key that decides of which kind it is
_TYPES: dict[str, dict[str, Any]] = {
    "calculator": {
        "calculator": str,
        "kwargs": dict,
        "time_limit_s": float | None,
        "reference": str | None,
        "import_from": str | None,
        "threads": int,
    },
    "external": {"external": str, "settings": dict, "vasp": dict | None},
    "maker": {"maker": str, "kwargs": dict, "reference": str | None, "cores": int, "import_from": str | None},
}
_STORED = {"@module", "@class", "@version"}  # names of our classes in stored settings


def vasp_labeller() -> StaticLabeller:
    """The default labeller: VASP through atomate2's StaticMaker, with this package's input set for metals.

    Examples
    --------
    >>> from idealflow.workflow.labellers import vasp_labeller
    >>> vasp_labeller().method
    'VASP PBE'
    """
    from idealflow.workflow.labellers.vasp import VaspLabeller, vasp_static

    return VaspLabeller(vasp_static(), reference="VASP PBE")


def static_labeller(maker: Maker, reference: str | None = None, cores: int = 1) -> StaticLabeller:
    """The labeller of an atomate2 maker. For a maker of VASP it is one that checks VASP's site, inputs and failures.

    Parameters
    ----------
    maker
        A Maker whose ``make(structure)`` is one static job.
    reference, cores
        As of :class:`~idealflow.StaticLabeller`.

    Examples
    --------
    >>> from atomate2.ase.jobs import EmtRelaxMaker
    >>> from idealflow import vasp_static
    >>> from idealflow.workflow.labellers import static_labeller
    >>> [type(static_labeller(maker)).__name__ for maker in (vasp_static("oxide"), EmtRelaxMaker(steps=0))]
    ['VaspLabeller', 'StaticLabeller']
    """
    if any(kind.__module__ == "atomate2.vasp.jobs.base" for kind in type(maker).__mro__):
        from idealflow.workflow.labellers.vasp import VaspLabeller

        return VaspLabeller(maker, reference=reference, cores=cores)
    return StaticLabeller(maker, reference=reference, cores=cores)


def labeller_from_settings(settings: Any) -> Labeller:
    """The labeller that a config section, a Maker or a labeller describes.

    A mapping has either ``calculator`` (with the other fields of :class:`~idealflow.AseLabeller`), ``maker`` (the
    import path of an atomate2 maker, with ``kwargs``, ``reference`` and ``cores``), or ``external`` (with the other fields of
    :class:`~idealflow.workflow.labellers.ExternalLabeller`). The first two may have ``import_from``, the
    folder of a module that is not installed.

    Raises
    ------
    InputError
        For anything else, naming the key and what is accepted.

    Examples
    --------
    >>> from idealflow.workflow.labellers import labeller_from_settings
    >>> labeller_from_settings({"calculator": "ase.calculators.emt.EMT", "time_limit_s": 60}).method
    'EMT'
    >>> labeller_from_settings({"calculator": "ase.calculators.emt.EMT", "time_limit": 60})
    Traceback (most recent call last):
    idealflow.errors.InputError: unknown key labeller.time_limit (did you mean 'time_limit_s'?); a labeller with calculator has \
calculator, kwargs, time_limit_s, reference, import_from, threads
    """
    if isinstance(settings, Maker):
        return static_labeller(settings)
    if isinstance(settings, Labeller):
        return settings
    if not isinstance(settings, dict):
        raise InputError(f"a labeller is a Maker, a labeller or a mapping, got {type(settings).__name__}")
    given = {key: value for key, value in settings.items() if key not in _STORED}
    kind = _kind_of(given)
    try:
        check_types(_TYPES[kind], given)
    except InputError as error:
        raise InputError(f"labeller: {error}") from error
    folder = given.get("import_from")
    if kind == "calculator":
        labeller = AseLabeller(**given)
        if labeller.path != labeller.calculator:
            _check_universal(labeller.calculator)
        else:
            check_calculator(labeller.path, import_class(labeller.path, folder))
        return labeller
    if kind == "external":
        return ExternalLabeller(**given)
    cores = given.get("cores", 1)
    if cores < 1:
        raise InputError(f"labeller: `cores` must be at least 1, got {cores}")
    return static_labeller(_made(given, folder), given.get("reference"), cores)


def _check_universal(name: str) -> None:
    try:
        UNIVERSAL[name].check_available()
    except MissingExtraError as error:
        raise InputError(f"labeller: {error}") from error


def _kind_of(given: dict[str, Any]) -> str:
    """``calculator``, ``external`` or ``maker``: the kind of a mapping.

    InputError for neither, both, or a key that this kind does not have.
    """
    kinds = [kind for kind in _TYPES if kind in given]
    if len(kinds) == 1:
        known = _TYPES[kinds[0]]
        unknown = sorted((key for key in given if key not in known), key=str)
        if not unknown:
            return kinds[0]
        raise InputError(
            f"unknown key labeller.{unknown[0]}{did_you_mean(unknown[0], known)}; a labeller with {kinds[0]} has "
            f"{', '.join(known)}"
        )
    near = next((found for key in given if (found := did_you_mean(key, _TYPES))), "") if not kinds else ""
    what = f"both {' and '.join(kinds)}" if kinds else f"the keys {sorted(map(str, given))}{near}"
    raise InputError(
        f"labeller has {what}; give either calculator (kwargs, time_limit_s, reference) for an ASE calculator, or maker "
        "(kwargs, reference, cores) for an atomate2 static maker, or external (settings, vasp) for labels computed elsewhere"
    )


def _made(settings: dict[str, Any], folder: str | None) -> Maker:
    """The maker that a mapping with ``maker`` and ``kwargs`` describes."""
    make, kwargs = import_class(settings["maker"], folder), settings.get("kwargs", {})
    try:
        maker = make(**kwargs)
    except Exception as error:  # a maker refuses its arguments in its own way; the cause is passed on
        raise InputError(f"maker {settings['maker']} with kwargs {kwargs}: {one_line(error)}") from error
    if not isinstance(maker, Maker):
        raise InputError(
            f"{settings['maker']} is no atomate2 static maker: it makes {type(maker).__name__}; calculators go to `calculator`"
        )
    return maker
