"""ASE calculator and atomic energies of a force field by message passing: pure functions of the frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import ArrayLike, NDArray

from idealflow.core.descriptors import chosen_atoms
from idealflow.core.descriptors.kernel import scatter
from idealflow.forcefields.dataset import Prediction
from idealflow.forcefields.message_passing.evaluation import Evaluator
from idealflow.forcefields.message_passing.graph import Frame, side_by_side

__all__ = ["MessagePassingCalculator", "MessagePassingEnergies", "predictions"]

Float = NDArray[np.float64]


class MessagePassingCalculator(Calculator):
    """Energy (eV), forces (eV/Å) and stress (eV/Å³).

    Made by :meth:`MessagePassingForceField.calculator
    <idealflow.forcefields.message_passing.MessagePassingForceField.calculator>`. Nothing, not even a neighbour list, is kept from
    one frame to the next.

    Parameters
    ----------
    evaluator
        The trained network.
    frame
        Function that finds the neighbours of a structure; it refuses unknown species and positions that are not finite.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.structure import set_label
    >>> from idealflow.forcefields import get_force_field
    >>> atoms = bulk("Cu", cubic=True)
    >>> learner = get_force_field("m3gnet", species=["Cu"], n_blocks=1, units=4)
    >>> _ = learner.fit([set_label(atoms.copy(), energy=-14.0, forces=np.zeros((4, 3)))], steps=2)
    >>> atoms.calc = learner.calculator()
    >>> atoms.get_forces().shape, atoms.get_stress().shape
    ((4, 3), (6,))
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "energies", "free_energy", "forces", "stress"]
    #: results depend on the structure alone, so one calculator may serve for several
    pure: ClassVar[bool] = True

    def __init__(self, evaluator: Evaluator, frame: Callable[[Atoms], Frame]) -> None:
        super().__init__()
        self._evaluator, self._frame = evaluator, frame

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """Evaluate; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        frame = self._frame(self.atoms)
        energies, slopes = self._evaluator.with_slopes(frame)
        energy, forces, stress = _predicted(frame, energies, slopes)
        self.results = {"energy": energy, "free_energy": energy, "energies": energies, "forces": forces}
        if stress is not None:
            self.results["stress"] = stress


class MessagePassingEnergies:
    """Energies of single atoms (eV), and gradients of weighted sums of them.

    Made by :meth:`MessagePassingForceField.atomic_energies
    <idealflow.forcefields.message_passing.MessagePassingForceField.atomic_energies>`; parameters as of
    :class:`MessagePassingCalculator`.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.structure import set_label
    >>> from idealflow.forcefields import get_force_field
    >>> atoms = bulk("Cu", cubic=True)
    >>> learner = get_force_field("m3gnet", species=["Cu"], n_blocks=1, units=4)
    >>> _ = learner.fit([set_label(atoms.copy(), energy=-14.0, forces=np.zeros((4, 3)))], steps=2)
    >>> learner.atomic_energies()(atoms, [0, 2]).shape
    (2,)
    """

    def __init__(self, evaluator: Evaluator, frame: Callable[[Atoms], Frame]) -> None:
        self._evaluator, self._frame = evaluator, frame

    def __call__(self, atoms: Atoms, indices: ArrayLike | None = None) -> Float:
        """Energies of all atoms or of those at ``indices``, (n,), eV.

        Energies of atoms whose species was in no training structure mean nothing.

        Raises
        ------
        InputError
            For an unknown species, or positions that are not finite.
        """
        frame = self._frame(atoms)
        return self._evaluator.energies(frame, None if indices is None else chosen_atoms(atoms, indices))

    def linearised(
        self, atoms: Atoms, indices: ArrayLike | None = None
    ) -> tuple[Float, Callable[[Float], tuple[Float, Float]]]:
        """Energies (n,), eV, and a function that maps weights (n,) to the gradient of Σ weight · energy.

        The function returns two gradients: in the positions (n_atoms, 3), eV/Å, and in the cell at fixed Cartesian positions
        (3, 3), eV/Å.
        """
        frame = self._frame(atoms)
        energies, pull = self._evaluator.linearised(frame, None if indices is None else chosen_atoms(atoms, indices))
        return energies, lambda weights: _gathered(frame, pull(np.asarray(weights, dtype=float)))


def predictions(evaluator: Evaluator, frames: Sequence[Frame]) -> Iterator[Prediction]:
    """Energy, forces and stress of each structure; as many as fit the memory's budget are computed at once.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.forcefields import get_force_field
    >>> from idealflow.forcefields.message_passing import frame_of
    >>> network = get_force_field("m3gnet-small", species=["Cu"]).network
    >>> frame = frame_of(bulk("Cu", cubic=True), np.zeros(4, dtype=np.int64), cutoff=5.0)
    >>> [forces.shape for _, forces, _ in predictions(Evaluator(network, 5.0), [frame] * 2)]
    [(4, 3), (4, 3)]
    """
    start = 0
    while start < len(frames):
        sizes = np.cumsum([len(frame.pairs.j) for frame in frames[start:]])
        n = max(1, int(np.searchsorted(sizes, evaluator.pairs_at_once, side="right")))
        group = frames[start : start + n]
        energies, slopes = evaluator.with_slopes(side_by_side(group) if n > 1 else group[0])
        by_atom = np.cumsum([len(frame.kind) for frame in group])[:-1]
        parts = zip(group, np.split(energies, by_atom), np.split(slopes, sizes[: n - 1]), strict=True)
        yield from (_predicted(*part) for part in parts)
        start += n


def _predicted(frame: Frame, energies: Float, slopes: Float) -> Prediction:
    """Energy, forces and stress of a structure, from energies of its atoms and slopes in its pairs' vectors."""
    in_positions, _ = _gathered(frame, slopes)
    stress = None
    if frame.volume > 0.0:
        virial = frame.pairs.vec.T @ slopes
        stress = full_3x3_to_voigt_6_stress(0.5 * (virial + virial.T) / frame.volume)
    return float(energies.sum()), -in_positions, stress


def _gathered(frame: Frame, slopes: Float) -> tuple[Float, Float]:
    """Gradients in positions (n, 3) and cell (3, 3), from those in the pairs' vectors."""
    in_positions, in_cell = np.zeros((len(frame.kind), 3)), np.zeros((3, 3))
    centres = np.arange(len(frame.kind))
    scatter(frame.pairs.offsets, frame.pairs.j, frame.pairs.shift, centres, slopes, in_positions, in_cell)
    return in_positions, in_cell
