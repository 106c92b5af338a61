"""What computes labels: any ASE calculator in a worker of its own, or any atomate2 static maker."""

from __future__ import annotations

import contextlib
import json
import time
import traceback
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from ase import Atoms
from jobflow import Flow, Job, Maker, Response
from monty.json import MontyEncoder
from pymatgen.io.ase import AseAtomsAdaptor

from idealflow.errors import InputError, LabelError
from idealflow.labelling import AseEngine, Label, in_a_box, label_from_document
from idealflow.workflow.jobs.identity import StableName
from idealflow.workflow.labellers.importing import check_calculator, import_class, one_line

__all__ = [
    "AseLabeller",
    "Labeller",
    "StaticLabeller",
    "labeller_from_settings",
    "static_labeller",
    "to_pymatgen",
    "vasp_labeller",
]


#: settings of atomate2's makers that say how a program is run and its files are handled, and nothing of its results
_OF_THE_RUN = frozenset(
    f"{verb}_{engine}_{noun}"
    for engine in ("vasp", "cp2k", "abinit")
    for verb, noun in (("run", "kwargs"), ("copy", "kwargs"))
) | {"name", "task_document_kwargs", "stop_children_kwargs", "store_output_data", "tags", "@version"}


@runtime_checkable
class Labeller(Protocol):
    """Anything that labels: give it atoms and an empty directory, get energy, forces and maybe stress."""

    @property
    def method(self) -> str:
        """What the labels are; stand-ins for DFT say so."""

    def check_site(self, species: Iterable[str]) -> None:
        """Raise InputError, naming the setting to make, where this machine cannot label these species."""

    def label(self, atoms: Atoms, directory: Path) -> tuple[Label, bytes | None]:
        """Label (eV, eV/Å, eV/Å³) and the engine's own whole document as JSON, if it has one.

        Raises
        ------
        LabelError
            With the cause, if there is no label.
        """

    @property
    def cores(self) -> int:
        """Cores that a label takes, where the engine does not say."""

    def science(self) -> dict[str, Any]:
        """What decides a label, as plain values: a stored label of the same science and geometry is used again."""

    def as_dict(self) -> dict[str, Any]:
        """MSON form, from which the labeller is made again; a change of its hash lifts the quarantine."""


@dataclass
class AseLabeller(StableName):
    """Labels from an ASE calculator, computed in a separate process with a time limit.

    Attributes
    ----------
    calculator
        Import path of the calculator class, e.g. ``ase.calculators.emt.EMT``.
    kwargs
        Keyword arguments of the calculator; plain values.
    time_limit_s
        Seconds after which a label counts as failed.
    reference
        Name shown in output and documents, e.g. ``EMT (stands in for DFT)``; default: the class name.
    import_from
        Folder of the calculator's module, where that is neither installed nor on PYTHONPATH; a config sets it to its own
        folder if need be.
    """

    calculator: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    time_limit_s: float | None = 600.0
    reference: str | None = None
    import_from: str | None = None

    @property
    def method(self) -> str:
        """What the labels are."""
        return self.reference or self.calculator.rsplit(".", 1)[-1]

    def as_dict(self) -> dict[str, Any]:
        """Fields as they are: monty would spread an attribute named ``kwargs`` over the mapping, past reading back."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        if self.import_from is None:  # as labellers were stored before they had one
            del values["import_from"]
        return {"@module": self.stored_module(), "@class": type(self).__name__, **values}

    @property
    def cores(self) -> int:
        """Threads of the worker."""
        return self.engine().threads

    def check_site(self, species: Iterable[str]) -> None:
        """The calculator was imported when the labeller was made; it needs nothing else."""

    def science(self) -> dict[str, Any]:
        """The calculator and its arguments; not its time limit or the name it is shown by."""
        return {"calculator": self.calculator, "kwargs": self.kwargs}

    def label(self, atoms: Atoms, directory: Path) -> tuple[Label, bytes | None]:  # noqa: ARG002  # no files needed
        """Label atoms in the worker; there is no document beyond the label itself."""
        return self.engine().label(atoms), None

    def engine(self) -> AseEngine:
        """The engine that labels; InputError for impossible settings."""
        return AseEngine(
            self.calculator,
            self.kwargs,
            time_limit_s=self.time_limit_s,
            name=self.method,
            import_from=self.import_from,
        )


@dataclass
class StaticLabeller(StableName):
    """Labels from a static maker of atomate2 (VASP, CP2K, ABINIT, xTB, force fields).

    Attributes
    ----------
    maker
        A jobflow Maker whose ``make(structure)`` is one job with a static document as output.
    reference
        Name shown in output and documents; default: the maker's name.
    cores
        Cores that a calculation takes, for its cost in core-seconds. VASP's own documents tell, and then this is not used.
    """

    maker: Maker
    reference: str | None = None
    cores: int = 1

    @property
    def method(self) -> str:
        """What the labels are."""
        return self.reference or f"{type(self.maker).__module__.split('.')[1]} {self.maker.name}"

    def check_site(self, species: Iterable[str]) -> None:
        """Refuse to start where the engine cannot run; nothing is known of engines in general."""

    def _maker_of_a_label(self) -> Maker:
        """The maker for one label: a copy, since makers write into their own settings."""
        return deepcopy(self.maker)

    def _check_document(self, document: Any, structure: Any) -> None:
        """Raise LabelError when the engine did not compute what was asked for."""

    def _cause(self, error: Exception, directory: Path) -> str:  # noqa: ARG002  # for engines that leave a log there
        """Why the maker failed, as it is recorded and counted."""
        last = traceback.format_exception_only(error)[-1].strip().splitlines()[-1]
        return f"{type(self.maker).__name__} failed: {last}"

    def science(self) -> dict[str, Any]:
        """The maker's settings without those of where and how its program is run and its files are read."""
        settings = self.maker.as_dict()
        return {key: value for key, value in settings.items() if key not in _OF_THE_RUN}

    def label(self, atoms: Atoms, directory: Path) -> tuple[Label, bytes | None]:
        """Run the maker's job body in ``directory`` and convert its document.

        The engine gets a right-handed cell, periodic in three directions, with vacuum where ``atoms`` are not periodic.
        """
        if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
            raise LabelError(f"{self.method}: positions or cell are not finite")
        boxed = in_a_box(atoms)
        structure = to_pymatgen(boxed)
        started = time.perf_counter()
        self.check_site(atoms.get_chemical_symbols())
        with contextlib.chdir(directory):
            try:
                document = _run_body(self._maker_of_a_label(), structure)
            except LabelError:
                raise
            except Exception as error:  # engines fail in every way; the cause is recorded, not lost
                raise LabelError(self._cause(error, directory)) from error
        label = label_from_document(document, boxed)
        if not atoms.pbc.all():
            label = label.without_stress()  # its volume is that of the box
        self._check_document(document, structure)
        seconds = time.perf_counter() - started
        whole = json.dumps(document, cls=MontyEncoder).encode()
        cost = seconds * self.cores if label.core_seconds is None else label.core_seconds
        return label.with_details(method=self.method, seconds=seconds, core_seconds=cost), whole


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


def to_pymatgen(boxed: Atoms) -> Any:
    """The pymatgen Structure of a boxed structure; its moments are `magmom`, its spin stands in `properties`."""
    structure = AseAtomsAdaptor.get_structure(boxed)
    if "charge" in boxed.info:
        structure.set_charge(boxed.info["charge"])
    return structure


def _run_body(maker: Maker, structure: Any) -> Any:
    """Run the body of ``maker.make(structure)`` here and return its output."""
    body = getattr(type(maker).make, "original", None)
    if body is None:
        made = maker.make(structure)
        kind = "a Flow" if isinstance(made, Flow) else type(made).__name__
        if not isinstance(made, Job):
            raise LabelError(f"{type(maker).__name__}.make returns {kind}; a labeller is a maker of one static job")
        body = made.function
    response = body(maker, structure)
    return response.output if isinstance(response, Response) else response
