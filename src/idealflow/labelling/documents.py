"""Labels from the documents of atomate2's static calculations.

The documents of all engines have energy, forces and stress at the same place, but in different units:

=========  ==========  =========  =====================  =======================================================
engine     energy      forces     stress                 known from
=========  ==========  =========  =====================  =======================================================
ASE        eV          eV/Å       kbar, VASP's sign      finite differences of EMT, Lennard-Jones and GFN1-xTB
                                                         run by atomate2's makers (a test)
VASP       eV          eV/Å       kbar, VASP's sign      VASP's own output, which emmet's ``TaskDoc`` keeps as it is
CP2K       eV          Ha/Bohr    GPa, pressure          finite differences of CP2K 2023.1 (a test)
ABINIT     eV          eV/Å       GPa, ASE's sign        finite differences of ABINIT 9.6 (a test)
=========  ==========  =========  =====================  =======================================================

With an engine at hand, its line can be verified by :func:`idealflow.testing.check_labeller`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import Bohr, GPa, Hartree
from numpy.typing import NDArray

from idealflow.errors import LabelError
from idealflow.labelling.label import Label
from idealflow.labelling.sites import order_of, sites_of

__all__ = ["DOCUMENT_TYPES", "Engine", "label_from_document"]


def _at(document: Any, *path: str | int) -> Any:
    """Item or attribute of a document at the end of a path; None if any part of the path is missing."""
    for part in path:
        if document is None:
            return None
        if isinstance(part, int):
            document = document[part] if isinstance(document, list | tuple) and document else None
        elif isinstance(document, Mapping):
            document = document.get(part)
        else:
            document = getattr(document, part, None)
    return document


def _total_energy(document: Any) -> Any:
    return _at(document, "output", "energy")


def _vasp_free_energy(document: Any) -> Any:
    """Free energy, whose derivative VASP's forces are; ``output.energy`` is extrapolated to zero smearing."""
    free = _at(document, "calcs_reversed", 0, "output", "ionic_steps", -1, "e_fr_energy")
    return _total_energy(document) if free is None else free


def _vasp_seconds(document: Any) -> Any:
    return _at(document, "run_stats", "overall", "elapsed_time")


def _vasp_cores(document: Any) -> Any:
    return _at(document, "calcs_reversed", 0, "output", "run_stats", "cores")


def _vasp_electrons(document: Any) -> Any:
    return _at(document, "calcs_reversed", 0, "input", "parameters", "NELECT")


def _unknown(document: Any) -> None:  # noqa: ARG001  # for engines whose documents do not say it
    return None


def _ase_seconds(document: Any) -> Any:
    return _at(document, "output", "elapsed_time")


def _ase_name(document: Any) -> str:
    return str(_at(document, "forcefield_name") or _at(document, "ase_calculator_name") or "ASE")


@dataclass(frozen=True)
class Engine:
    """How one kind of document is read.

    Parameters
    ----------
    name
        Returns the method's name, given the document.
    force_unit
        Unit of the document's forces, in eV/Å.
    stress_unit
        Unit of the document's stress, in eV/Å³; negative where its sign is opposite to ASE's.
    energy
        Function of the document that returns the energy in eV.
    seconds, cores, electrons
        Functions of the document that return the wall time (s), the number of cores and the number of electrons treated; None
        where the document does not say.
    states
        Whether the document's ``state`` says if the calculation failed. (In ASE documents it says if a relaxation converged.)

    Examples
    --------
    A document type of your own, with forces in eV/Å and stress in GPa with ASE's sign:

    >>> from ase.units import GPa
    >>> from idealflow.labelling.documents import DOCUMENT_TYPES, Engine
    >>> DOCUMENT_TYPES["my_package.MyTaskDoc"] = Engine(lambda document: "my engine", force_unit=1.0, stress_unit=GPa)
    >>> del DOCUMENT_TYPES["my_package.MyTaskDoc"]
    """

    name: Callable[[Any], str]
    force_unit: float
    stress_unit: float
    energy: Callable[[Any], Any] = _total_energy
    seconds: Callable[[Any], Any] = _vasp_seconds
    cores: Callable[[Any], Any] = _unknown
    electrons: Callable[[Any], Any] = _unknown
    states: bool = True


_ASE = Engine(_ase_name, 1.0, -0.1 * GPa, seconds=_ase_seconds, states=False)
_VASP = Engine(
    lambda _: "VASP", 1.0, -0.1 * GPa, energy=_vasp_free_energy, cores=_vasp_cores, electrons=_vasp_electrons
)
_CP2K = Engine(lambda _: "CP2K", Hartree / Bohr, -GPa)
_ABINIT = Engine(lambda _: "ABINIT", 1.0, GPa)

DOCUMENT_TYPES: dict[str, Engine] = {
    "atomate2.ase.schemas.AseTaskDoc": _ASE,
    "atomate2.ase.schemas.AseStructureTaskDoc": _ASE,
    "atomate2.ase.schemas.AseMoleculeTaskDoc": _ASE,
    "atomate2.forcefields.schemas.ForceFieldTaskDocument": _ASE,
    "atomate2.forcefields.schemas.ForceFieldMoleculeTaskDocument": _ASE,
    "emmet.core.tasks.TaskDoc": _VASP,
    "atomate2.cp2k.schemas.task.TaskDocument": _CP2K,
    "atomate2.abinit.schemas.task.AbinitTaskDoc": _ABINIT,
}
"""Engine by the path of the document's class; add the path of your own type to have it converted too."""

# fields by which the engine of a dictionary without class is recognised: each occurs in the documents of one engine only
_MARKS = {"ase_calculator_name": _ASE, "vasp_objects": _VASP, "cp2k_objects": _CP2K, "abinit_objects": _ABINIT}


def _engine_of(document: Any) -> Engine:
    if isinstance(document, Mapping):
        if "@class" in document:
            names = [f"{document.get('@module')}.{document['@class']}"]
        else:
            marked = [engine for mark, engine in _MARKS.items() if mark in document]
            if len(marked) == 1:
                return marked[0]
            names = [f"dictionary with keys {sorted(map(str, document))[:8]}"]
    else:
        names = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(document).__mro__]
    for name in names:
        if name in DOCUMENT_TYPES:
            return DOCUMENT_TYPES[name]
    raise LabelError(
        f"documents of type {names[0]} are not converted; known: {', '.join(DOCUMENT_TYPES)}. Use a static maker of "
        "VASP, CP2K, ABINIT, an ASE calculator or a force field, or add the type to "
        "idealflow.labelling.documents.DOCUMENT_TYPES"
    )


def label_from_document(doc: Any, atoms: Atoms | None = None) -> Label:
    """Convert a static document of atomate2 to a label.

    Parameters
    ----------
    doc
        The document, as an object or as the dictionary a job store returns.
    atoms
        What was sent to be labelled: sites that the engine reordered or wrapped are put back. None keeps the document's
        own order.

    Returns
    -------
    Label
        Energy in eV, forces in eV/Å, stress in eV/Å³ (ASE's sign and order; None when the document has none or
        some direction is not periodic).

    Raises
    ------
    LabelError
        When the type is unknown, the calculation failed, a quantity is missing or not finite, or the document's structure
        is not `atoms`.

    Examples
    --------
    >>> from idealflow.labelling import label_from_document
    >>> document = {
    ...     "@module": "atomate2.forcefields.schemas",
    ...     "@class": "ForceFieldTaskDocument",
    ...     "forcefield_name": "EMT",
    ...     "output": {"energy": -0.5, "forces": [[0.0, 0.0, 0.0]], "stress": [[-10, 0, 0], [0, -10, 0], [0, 0, -10]]},  # kbar
    ... }
    >>> label = label_from_document(document)
    >>> label.method, label.energy, label.stress[:3].round(5).tolist()  # eV/Å³
    ('EMT', -0.5, [0.00624, 0.00624, 0.00624])
    """
    engine = _engine_of(doc)
    method = engine.name(doc)
    state = getattr(_at(doc, "state"), "value", _at(doc, "state"))
    if engine.states and state is not None and str(state).lower() in {"failed", "error", "unsuccessful", "unconverged"}:
        raise LabelError(f"{method} did not finish or converge: the document's state is {state!r}")
    energy, forces = engine.energy(doc), _at(doc, "output", "forces")
    if energy is None or forces is None:
        raise LabelError(
            f"the {method} document has no {'energy' if energy is None else 'forces'}; ask the engine for it"
        )
    unordered = Label(energy, forces)
    stress = _voigt(_at(doc, "output", "stress"), engine.stress_unit)
    order: Any = slice(None)
    if atoms is not None:
        order = order_of(sites_of(_structure(doc, method)), atoms)
        if len(order) != unordered.n_atoms:
            raise LabelError(f"the {method} document has {len(order)} sites and {unordered.n_atoms} forces")
        if not atoms.pbc.all():
            stress = None
    seconds, cores, electrons = (_number(read(doc)) for read in (engine.seconds, engine.cores, engine.electrons))
    ordered = unordered.forces[order] * engine.force_unit
    cost = seconds * cores if seconds is not None and cores else None  # a document without cores says 0
    return Label(energy, ordered, stress, method, seconds, cost, electrons)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _structure(document: Any, method: str) -> Any:
    places = (("output", "structure"), ("output", "mol_or_struct"), ("structure",), ("mol_or_struct",), ("molecule",))
    for place in places:
        structure = _at(document, *place)
        if structure is not None:
            return structure
    raise LabelError(f"the {method} document has no structure, so the order of its forces is not known")


def _voigt(stress: Any, unit: float) -> NDArray[np.float64] | None:
    """A (3, 3) stress as (6,) in the order xx, yy, zz, yz, xz, xy, multiplied by `unit`."""
    if stress is None:
        return None
    matrix = np.asarray(stress, dtype=float)
    if matrix.shape != (3, 3):
        raise LabelError(f"stress of a document must be a (3, 3) matrix, got shape {matrix.shape}")
    if np.abs(matrix - matrix.T).max() > 1e-3 * max(np.abs(matrix).max(), 1e-12):
        raise LabelError(f"stress of a document must be symmetric, got {matrix.tolist()}")
    matrix = (matrix + matrix.T) / 2
    return np.array([matrix[0, 0], matrix[1, 1], matrix[2, 2], matrix[1, 2], matrix[0, 2], matrix[0, 1]]) * unit
