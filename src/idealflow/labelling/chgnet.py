"""CHGNet as an ASE calculator that is right for every cell, for labels that stand in for DFT."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from idealflow.errors import InputError
from idealflow.labelling.box import in_a_box

__all__ = ["GuardedCHGNet", "chgnet_calculator"]


def chgnet_calculator(model: str = "0.3.0") -> GuardedCHGNet:
    """CHGNet with weights that its package ships: ``0.3.0``, ``0.2.0`` or ``r2scan``.

    Raises
    ------
    ImportError
        If the package ``chgnet`` is not installed.

    Examples
    --------
    >>> chgnet_calculator("0.3.0")  # doctest: +SKIP
    """
    from chgnet.model import CHGNet
    from chgnet.model.dynamics import CHGNetCalculator

    loaded = CHGNet.load(model_name=model, use_device="cpu", verbose=False)
    return GuardedCHGNet(CHGNetCalculator(loaded, use_device="cpu", on_isolated_atoms="ignore"))


class GuardedCHGNet(Calculator):
    """A calculator around CHGNet's own, whose faults it keeps out.

    CHGNet 0.4 takes positions that are not finite, is wrong in the stress of left-handed cells, and takes every direction as
    periodic. Here the first are refused, cells are turned into right-handed ones of the same lattice, and open directions get
    vacuum, without a stress.

    Parameters
    ----------
    inner
        CHGNet's calculator.

    Examples
    --------
    Around another calculator:

    >>> from ase.calculators.emt import EMT
    >>> atoms = Atoms("Cu2", [[0, 0, 0], [0, 0, np.nan]], calculator=GuardedCHGNet(EMT()))
    >>> atoms.get_potential_energy()
    Traceback (most recent call last):
    idealflow.errors.InputError: positions must be finite, atom 1 is at [0.0, 0.0, nan]
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]
    #: results depend on the structure alone, so one calculator may serve for several
    pure: ClassVar[bool] = True

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self._inner = inner

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """Evaluate; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        bad = np.flatnonzero(~np.isfinite(self.atoms.positions).all(axis=1))
        if len(bad):
            raise InputError(
                f"positions must be finite, atom {int(bad[0])} is at {self.atoms.positions[bad[0]].tolist()}"
            )
        boxed = in_a_box(self.atoms)
        boxed.calc = self._inner
        self._inner.reset()
        energy = float(boxed.get_potential_energy())
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "forces": np.asarray(boxed.get_forces(), dtype=float),
        }
        if self.atoms.pbc.all():
            self.results["stress"] = np.asarray(boxed.get_stress(), dtype=float)
