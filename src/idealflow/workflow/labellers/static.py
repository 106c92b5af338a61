"""Labels from any atomate2 static maker."""

from __future__ import annotations

import contextlib
import json
import time
import traceback
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from atomate2 import SETTINGS
from jobflow import Flow, Job, Maker, Response
from monty.json import MontyEncoder
from pymatgen.io.ase import AseAtomsAdaptor

from idealflow.errors import InputError, LabelError
from idealflow.labelling import Label, in_a_box, label_from_document
from idealflow.workflow.jobs.identity import StableName
from idealflow.workflow.labellers.programs import absent_program

__all__ = ["StaticLabeller", "to_pymatgen"]


#: settings of atomate2's makers that decide how a program is run and its files are handled, but not its results
_OF_THE_RUN = frozenset(
    f"{verb}_{engine}_{noun}"
    for engine in ("vasp", "cp2k", "abinit")
    for verb, noun in (("run", "kwargs"), ("copy", "kwargs"))
) | {"name", "task_document_kwargs", "stop_children_kwargs", "store_output_data", "tags", "@version"}


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
        Cores that a calculation takes, for its cost in core-seconds. Not used where the documents say it, as VASP's do.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from atomate2.ase.jobs import EmtRelaxMaker
    >>> from idealflow import LabelMaker, StaticLabeller
    >>> labeller = StaticLabeller(EmtRelaxMaker(steps=0, relax_cell=False), reference="EMT (stands in for DFT)")
    >>> labeller.method
    'EMT (stands in for DFT)'
    >>> LabelMaker(labeller).labeller is labeller
    True
    """

    maker: Maker
    reference: str | None = None
    cores: int = 1

    @property
    def method(self) -> str:
        """Name of the method that the labels are of."""
        return self.reference or f"{type(self.maker).__module__.split('.')[1]} {self.maker.name}"

    def check_site(self, species: Iterable[str]) -> None:  # noqa: ARG002  # for engines whose pseudopotentials are known
        """Refuse to start where the engine's program is missing, if it is known which that is.

        Raises
        ------
        InputError
            Naming the program and the setting.
        """
        for engine in ("cp2k", "abinit"):
            if any(kind.__module__ == f"atomate2.{engine}.jobs.base" for kind in type(self.maker).__mro__):
                run = getattr(self.maker, f"run_{engine}_kwargs", None) or {}
                command = run.get(f"{engine}_cmd") or getattr(SETTINGS, f"{engine.upper()}_CMD")
                if (absent := absent_program(command, engine, f"{engine.upper()}_CMD")) is not None:
                    raise InputError(f"{engine.upper()} cannot label on this machine: {absent}")

    def maker_of_a_label(self) -> Maker:
        """The maker for one label: a copy, because makers change their own settings while they run."""
        return deepcopy(self.maker)

    def _check_document(self, document: Any, structure: Any) -> None:
        """Raise LabelError when the engine did not compute what was asked for."""

    def _cause(self, error: Exception, directory: Path) -> str:  # noqa: ARG002  # for engines that leave a log there
        """Why the maker failed, as it is recorded and counted."""
        last = traceback.format_exception_only(error)[-1].strip().splitlines()[-1]
        return f"{type(self.maker).__name__} failed: {last}"

    def science(self) -> dict[str, Any]:
        """The maker's settings, without those of how its program is run and its files are handled."""
        settings = self.maker.as_dict()
        return {key: value for key, value in settings.items() if key not in _OF_THE_RUN}

    def label(self, atoms: Atoms, directory: Path) -> tuple[Label, bytes | None]:
        """Run the maker's job in ``directory`` and convert its document.

        The engine gets a right-handed cell, periodic in three directions, with vacuum where ``atoms`` are not periodic.

        Raises
        ------
        LabelError
            With the cause, if the maker fails or its document has no label of ``atoms``.
        """
        if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
            raise LabelError(f"{self.method}: positions or cell are not finite")
        boxed = in_a_box(atoms)
        structure = to_pymatgen(boxed)
        started = time.perf_counter()
        self.check_site(atoms.get_chemical_symbols())
        with contextlib.chdir(directory):
            try:
                document = _run_body(self.maker_of_a_label(), structure)
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


def to_pymatgen(boxed: Atoms) -> Any:
    """The pymatgen Structure of a boxed structure, with its charge; moments are in ``magmom``, spin is in ``properties``.

    Examples
    --------
    >>> from ase.build import bulk
    >>> to_pymatgen(bulk("Cu")).formula
    'Cu1'
    """
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
