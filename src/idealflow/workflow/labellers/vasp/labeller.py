"""The labeller for VASP: it knows what a site needs, why a run failed, and whether VASP ran what was asked for."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms
from monty.json import MontyDecoder
from pymatgen.core import Structure
from pymatgen.io.vasp import Kpoints
from pymatgen.io.vasp.inputs import BadIncarWarning

from idealflow.errors import InputError, LabelError
from idealflow.labelling import in_a_box
from idealflow.workflow.labellers.static import StaticLabeller, to_pymatgen
from idealflow.workflow.labellers.vasp.limits import LabelTimeHandler
from idealflow.workflow.labellers.vasp.site import check_vasp

__all__ = ["VaspLabeller", "check_inputs"]

#: tags that decide energy, forces and stress; custodian may change how a run gets there, not these
_DECISIVE = (
    "GGA",
    "METAGGA",
    "ENCUT",
    "PREC",
    "ISMEAR",
    "SIGMA",
    "ISPIN",
    "LASPH",
    "IVDW",
    "LHFCALC",
    "LDAUU",
    "NELECT",
)


@dataclass
class VaspLabeller(StaticLabeller):
    """Labels from a VASP maker of atomate2. Its fields are those of :class:`~idealflow.StaticLabeller`.

    Examples
    --------
    >>> from idealflow import vasp_static
    >>> from idealflow.workflow.labellers.vasp import VaspLabeller
    >>> VaspLabeller(vasp_static("metal"), reference="VASP PBE", cores=32).method
    'VASP PBE'
    """

    def check_site(self, species: Iterable[str]) -> None:
        """Refuse to start without VASP's command or pseudopotentials, as :func:`check_vasp` does."""
        check_vasp(self.maker, species)

    def maker_of_a_label(self) -> Any:
        """A copy of the maker, whose time limit begins now."""
        maker = super().maker_of_a_label()
        for handler in maker.run_vasp_kwargs.get("handlers", ()):
            if isinstance(handler, LabelTimeHandler):
                handler.restart()
        return maker

    def write_inputs(self, atoms: Atoms, directory: Path) -> str:
        """Write the files that VASP would be given, for a look or a dry run; they need no pseudopotentials.

        Parameters
        ----------
        atoms
            What would be labelled.
        directory
            Gets INCAR, KPOINTS, POSCAR and, in place of POTCAR, ``POTCAR.spec``, the names of the pseudopotentials.

        Returns
        -------
        str
            What is worth knowing of them: k points and spin.

        Raises
        ------
        InputError
            If a tag of INCAR is none that pymatgen knows, or has a value of another type.

        Examples
        --------
        >>> import tempfile
        >>> from ase.build import bulk
        >>> from idealflow import vasp_static
        >>> from idealflow.workflow.labellers.vasp import VaspLabeller
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     VaspLabeller(vasp_static("metal")).write_inputs(bulk("Li", a=3.44), Path(folder))
        'k points 13×13×13 Gamma, ISPIN 1'
        """
        inputs = deepcopy(self.maker.input_set_generator).get_input_set(to_pymatgen(in_a_box(atoms)), potcar_spec=True)
        with warnings.catch_warnings(record=True) as noted:
            warnings.simplefilter("always")
            inputs["INCAR"].check_params()
        if wrong := [str(each.message) for each in noted if issubclass(each.category, BadIncarWarning)]:
            raise InputError(f"{self.method}: VASP would not take these tags: {'; '.join(wrong)}; mend incar")
        inputs.write_input(directory)
        grid = _grid(inputs.get("KPOINTS"))
        k_points = f"KSPACING {inputs['INCAR']['KSPACING']}" if "KSPACING" in inputs["INCAR"] else _shown(grid)
        return f"k points {k_points}, ISPIN {inputs['INCAR'].get('ISPIN', 1)}"

    def _check_document(self, document: Any, structure: Structure) -> None:
        check_inputs(document, self.maker.input_set_generator, structure)

    def _cause(self, error: Exception, directory: Path) -> str:
        """What custodian met, beside the exception, without numbers and paths that differ from run to run."""
        return f"VASP failed: {_last_line(error)}{_corrections(directory)}{_last_words(directory)}"


def check_inputs(document: Any, generator: Any, structure: Structure) -> None:
    """Refuse a finished run whose k points or decisive tags are not those that were asked for.

    Labels made with different settings do not belong in one dataset, and custodian may have changed the settings of a run.

    Parameters
    ----------
    document
        emmet's TaskDoc of the run.
    generator
        The input set generator of the run.
    structure
        What was labelled.

    Raises
    ------
    LabelError
        With what was asked for and what VASP ran with.

    Examples
    --------
    >>> from types import SimpleNamespace as Namespace
    >>> from pymatgen.core import Lattice, Structure
    >>> from idealflow import vasp_static
    >>> generator = vasp_static("metal").input_set_generator
    >>> lithium = Structure(Lattice.cubic(3.44), ["Li", "Li"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> inputs = generator.get_input_set(lithium, potcar_spec=True)
    >>> ran = Namespace(kpoints=inputs["KPOINTS"], incar=dict(inputs["INCAR"]) | {"SIGMA": 0.05})
    >>> check_inputs(Namespace(calcs_reversed=[Namespace(input=ran)]), generator, lithium)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    idealflow.errors.LabelError: VASP ran with SIGMA = 0.05, not 0.2 as asked for; ...
    """
    wanted = deepcopy(generator).get_input_set(structure, potcar_spec=True)
    ran = document.calcs_reversed[0].input
    asked, got = _grid(wanted.get("KPOINTS")), _grid(ran.kpoints)
    if asked is not None and asked != got:
        raise LabelError(f"VASP ran with other k points than asked for: {_shown(got)}, not {_shown(asked)}")
    tags = {str(key).upper(): value for key, value in (ran.incar or {}).items()}
    for name in _DECISIVE:
        if name in wanted["INCAR"] and not _equal(wanted["INCAR"][name], tags.get(name)):
            raise LabelError(
                f"VASP ran with {name} = {tags.get(name)}, not {wanted['INCAR'][name]} as asked for; a handler of custodian "
                "or a file in the run's folder changed it"
            )


_Grid = tuple[str, tuple[int, ...], tuple[float, ...]]


def _grid(kpoints: Kpoints | None) -> _Grid | None:
    """Style, divisions and shift of an automatic grid of k points; None without a KPOINTS file or with an explicit list."""
    if kpoints is None or kpoints.style not in (Kpoints.supported_modes.Gamma, Kpoints.supported_modes.Monkhorst):
        return None
    shift = tuple(round(float(value), 6) for value in kpoints.kpts_shift)
    return str(kpoints.style.name), tuple(int(n) for n in kpoints.kpts[0]), shift


def _shown(grid: _Grid | None) -> str:
    return "no regular grid" if grid is None else f"{'×'.join(map(str, grid[1]))} {grid[0]}"


def _equal(asked: Any, got: Any) -> bool:
    if isinstance(asked, bool | str):
        return str(asked).strip(".")[:1].upper() == str(got).strip(".")[:1].upper()
    if isinstance(asked, int | float) and isinstance(got, int | float):
        return abs(asked - got) <= 1e-6 * max(1.0, abs(asked))
    return bool(asked == got)


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _corrections(directory: Path) -> str:
    """Errors that custodian counted in its log, such as ``; custodian met 2× Unconverged``."""
    log = directory / "custodian.json"
    if not log.exists():
        return ""
    runs = json.loads(log.read_text(), cls=MontyDecoder)
    met = Counter(str(entry) for run in runs for correction in run["corrections"] for entry in correction["errors"])
    return "; custodian met " + ", ".join(f"{count}× {entry}" for entry, count in met.items()) if met else ""


def _last_words(directory: Path) -> str:
    """Whether there is a vasprun.xml, and what VASP wrote to its error output last."""
    told = "" if list(directory.glob("vasprun.xml*")) else "; there is no vasprun.xml"
    log = directory / "std_err.txt"
    lines = (
        [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()] if log.exists() else []
    )
    return told + (f"; its last error output: {lines[-1][:200]}" if lines else "")
