"""The label source as the engine of dynamics: what it says of every step, for runs that a learned model is held against."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, ClassVar

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from idealflow.labelling import AseLabeller
from idealflow.workflow.labellers.importing import import_class
from idealflow.workflow.labellers.protocol import Labeller

__all__ = ["LabellerCalculator", "reference_calculator"]


class LabellerCalculator(Calculator):
    """Energy (eV), forces (eV/Å) and stress (eV/Å³) of a labeller, a label for each frame.

    Parameters
    ----------
    labeller
        Any labeller that computes labels itself.

    Examples
    --------
    >>> from ase.build import bulk
    >>> copper = bulk("Cu", cubic=True)
    >>> copper.calc = LabellerCalculator(AseLabeller("ase.calculators.emt.EMT"))
    >>> round(copper.get_potential_energy(), 3), copper.get_stress().shape
    (-0.023, (6,))
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "stress"]

    def __init__(self, labeller: Labeller) -> None:
        super().__init__()
        self.labeller = labeller

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """Label the frame; LabelError with the cause where there is no label. Called by ASE."""
        super().calculate(atoms, properties, system_changes)
        with tempfile.TemporaryDirectory(prefix="idealflow-label-") as folder:
            label, _ = self.labeller.label(self.atoms, Path(folder))
        self.results = {"energy": label.energy, "forces": label.forces}
        if label.stress is not None:
            self.results["stress"] = label.stress


def reference_calculator(labeller: Labeller) -> Calculator:
    """Make an ASE calculator of a labeller, so that it can move atoms: the reference's own dynamics, lattices and melting.

    Of an :class:`~idealflow.AseLabeller` it is the calculator itself, made in this process and kept from step to step: without
    the process, the time limit and the new start that each label has. Whether its results depend on nothing but the frame is
    then up to the calculator. Any other labeller is asked for a label at each step.

    Parameters
    ----------
    labeller
        The labeller, as ``LabelMaker.labeller``.

    Raises
    ------
    InputError
        If the calculator can not be imported.

    Examples
    --------
    Ten steps of copper, by what labels it:

    >>> from ase.build import bulk
    >>> from idealflow.core.dynamics import MDState, Schedule, Stage, md_segment
    >>> engine = reference_calculator(AseLabeller("ase.calculators.emt.EMT"))
    >>> start = MDState.initial(bulk("Cu", cubic=True), temperature=300.0, seed=0)
    >>> md_segment(engine, start, schedule=Schedule([Stage("hold", 300.0, steps=10)])).state.step
    10
    """
    if isinstance(labeller, AseLabeller):
        made: Calculator = import_class(labeller.path, labeller.import_from)(**labeller.kwargs)
        return made
    return LabellerCalculator(labeller)
