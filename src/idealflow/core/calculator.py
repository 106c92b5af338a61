"""The uncertainty as an ASE calculator, with which any optimiser or sampler of ASE can lower or explore it."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import ArrayLike, NDArray

from idealflow.core.protocols import Uncertainty
from idealflow.errors import InputError

__all__ = ["UncertaintyCalculator"]


class UncertaintyCalculator(Calculator):  # type: ignore[misc]  # ase ships no types
    """The objective of the uncertainties as an energy.

    ``energy`` is the objective of :meth:`UncertaintyModel.value_and_gradient` (dimensionless, not eV), ``forces`` its
    negative gradient in positions, (n_atoms, 3) per Å, ``stress`` its derivative in the strain divided by the volume, (6,)
    per Å³ (if the cell has one), and ``uncertainties`` are the values of all atoms, (n_atoms,).

    Parameters
    ----------
    model
        The uncertainty.
    weights, reference : (n_atoms,), optional
        As in :meth:`UncertaintyModel.value_and_gradient`.

    Examples
    --------
    A crystal under strain relaxes towards what is known, by an optimiser of ASE:

    >>> from ase.build import bulk
    >>> from ase.optimize import BFGS
    >>> from idealflow.core import SOAP, UncertaintyCalculator, UncertaintyModel
    >>> def crystal(seed, amplitude):
    ...     atoms = bulk("Cu", cubic=True)
    ...     atoms.rattle(amplitude, seed=seed)
    ...     return atoms
    >>> soap = SOAP(["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3)
    >>> u = UncertaintyModel.fit([crystal(seed, 0.05) for seed in range(20)], soap)
    >>> atoms = crystal(50, 0.3)
    >>> atoms.calc = UncertaintyCalculator(u)
    >>> before = atoms.get_potential_energy()
    >>> _ = BFGS(atoms, logfile=None).run(fmax=0.1, steps=20)
    >>> atoms.get_potential_energy() < before
    True
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "stress", "uncertainties"]

    def __init__(
        self, model: Uncertainty, weights: ArrayLike | None = None, reference: ArrayLike | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.weights = weights
        self.reference = reference

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """Evaluate; called by ASE.

        Raises
        ------
        InputError
            If the objective is infinite: then no direction lowers it.
        """
        super().calculate(atoms, properties, system_changes)
        if "uncertainties" in properties:
            self.results["uncertainties"] = self.model(self.atoms)
        value, gradient, cell_gradient = self.model.value_and_gradient(self.atoms, self.weights, self.reference)
        if not np.isfinite(value):
            raise InputError(_nothing_to_lower(self.atoms, self.model(self.atoms)))
        self.results |= {"energy": value, "forces": -gradient}
        if self.atoms.cell.rank == 3:
            # a strain moves positions and cell together: dU/dε = Σ r ⊗ dU/dr + h ⊗ dU/dh
            strain = self.atoms.positions.T @ gradient + np.asarray(self.atoms.cell).T @ cell_gradient
            virial = (strain + strain.T) / 2.0
            self.results["stress"] = full_3x3_to_voigt_6_stress(virial / self.atoms.get_volume())


def _nothing_to_lower(atoms: Atoms, values: NDArray[np.float64]) -> str:
    unknown = ~np.isfinite(values)
    species = ", ".join(sorted({atom.symbol for atom in atoms[unknown]}))
    return (
        f"the uncertainty of {int(unknown.sum())} atoms ({species}) is infinite, and no step lowers it: an environment is judged "
        "where its species was seen in enough distinct ones; label structures with that species, or give its atoms weight 0"
    )
