"""The labeller that a config, a Maker or a mapping describes."""

from __future__ import annotations

from typing import Any

from jobflow import Maker

from idealflow.errors import InputError
from idealflow.workflow.labellers.ase import AseLabeller
from idealflow.workflow.labellers.importing import check_calculator, import_class, one_line
from idealflow.workflow.labellers.protocol import Labeller
from idealflow.workflow.labellers.static import StaticLabeller

__all__ = ["labeller_from_settings", "static_labeller", "vasp_labeller"]


def vasp_labeller() -> StaticLabeller:
    """The default labeller: VASP through atomate2's StaticMaker, with this package's input set for metals."""
    from idealflow.workflow.labellers.vasp import VaspLabeller, vasp_static

    return VaspLabeller(vasp_static(), reference="VASP PBE")


def static_labeller(maker: Maker, reference: str | None = None, cores: int = 1) -> StaticLabeller:
    """The labeller of an atomate2 maker: one that knows VASP for a maker of VASP."""
    if any(kind.__module__ == "atomate2.vasp.jobs.base" for kind in type(maker).__mro__):
        from idealflow.workflow.labellers.vasp import VaspLabeller

        return VaspLabeller(maker, reference=reference, cores=cores)
    return StaticLabeller(maker, reference=reference, cores=cores)


def labeller_from_settings(settings: Any) -> Labeller:
    """The labeller that a config section, a Maker or a labeller describes.

    A mapping has either ``calculator`` (with ``kwargs``, ``time_limit_s``, ``reference``) for ASE, or ``maker`` (the
    import path of an atomate2 maker, with ``kwargs``, ``reference`` and ``cores``); either may have ``import_from``, the
    folder of a module that is not installed.

    Raises
    ------
    InputError
        For anything else, naming what is accepted.
    """
    if isinstance(settings, Maker):
        return static_labeller(settings)
    if isinstance(settings, Labeller):
        return settings
    if not isinstance(settings, dict):
        raise InputError(f"a labeller is a Maker, a labeller or a mapping, got {type(settings).__name__}")
    keys = set(settings) - {"@module", "@class", "@version"}
    folder = settings.get("import_from")
    if "calculator" in keys and keys <= {"calculator", "kwargs", "time_limit_s", "reference", "import_from"}:
        check_calculator(settings["calculator"], import_class(settings["calculator"], folder))
        labeller = AseLabeller(**{key: settings[key] for key in keys})
        labeller.engine()
        return labeller
    if "maker" in keys and keys <= {"maker", "kwargs", "reference", "cores", "import_from"}:
        return static_labeller(_made(settings, folder), settings.get("reference"), settings.get("cores", 1))
    raise InputError(
        f"labeller has keys {sorted(keys)}; give either calculator (kwargs, time_limit_s, reference) for an ASE "
        "calculator, or maker (kwargs, reference, cores) for an atomate2 static maker"
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
