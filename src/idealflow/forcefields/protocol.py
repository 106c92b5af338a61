"""Protocols: the methods that a force field needs in order to learn during a campaign."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

__all__ = ["AtomicEnergies", "AtomicForceField", "Consolidating", "ForceField", "Startable", "TrainReport"]

Float = NDArray[np.float64]


@dataclass(frozen=True)
class TrainReport:
    """What a fit or update did.

    Attributes
    ----------
    steps
        Gradient steps taken.
    loss
        Training loss at intervals over the run, oldest first.
    errors : (n, 3)
        What :meth:`ForceField.errors` says of each validation structure, without any of each training structure, of an update of
        each new structure; it is not computed again.
    finished
        False if a deadline stopped it; the same call with the same checkpoint goes on.
    atom_steps
        Atoms in a batch, summed over the steps: what the training cost, whatever the machine. 0 where nobody counted.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.structure import set_label
    >>> from idealflow.forcefields import get_force_field
    >>> dataset = [set_label(bulk("Cu"), energy=-3.5, forces=np.zeros((1, 3)))]
    >>> report = get_force_field("local", species=["Cu"], cutoff=3.0, hidden=[4]).fit(dataset, steps=3)
    >>> report.steps, len(report.loss), report.errors.shape
    (3, 3, (1, 3))
    """

    steps: int
    loss: list[float]
    errors: NDArray[np.float64]
    finished: bool = True
    atom_steps: int = 0


@runtime_checkable
class ForceField(Protocol):
    """A machine-learning force field that can be fitted, and updated with new structures later.

    A labelled structure is an ase Atoms whose calculator holds ``energy`` (eV), ``forces`` (eV/Å) and optionally
    ``stress`` (eV/Å³, ASE's sign and Voigt order); an array ``force_weight`` (n_atoms,), if there is one, weights the forces in
    the loss.

    Examples
    --------
    >>> from idealflow.forcefields import get_force_field
    >>> force_field = get_force_field("local", species=["Cu"], cutoff=4.0)
    >>> isinstance(force_field, ForceField), force_field.species, force_field.cutoff
    (True, ('Cu',), 4.0)
    """

    @property
    def name(self) -> str:
        """Name in the registry."""

    @property
    def cutoff(self) -> float:
        """Distance up to which an atom sees neighbours, Å; with message passing, that of one layer."""

    @property
    def species(self) -> tuple[str, ...]:
        """Chemical symbols it can describe."""

    def calculator(self) -> Any:
        """ASE calculator of energy, forces and stress: a pure, deterministic function of the frame."""

    def fit(
        self,
        dataset: Sequence[Atoms],
        *,
        steps: int | None = None,
        seed: int = 0,
        validation: Sequence[Atoms] | None = None,
        progress: Callable[[int, int, float], None] | None = None,
    ) -> TrainReport:
        """Learn from scratch.

        Parameters
        ----------
        dataset
            Labelled structures.
        steps
            Gradient steps; None leaves the number to the force field.
        seed
            Seed of the initial weights and of the order of the data.
        validation
            Labelled structures on which the errors of the report are measured; None: the dataset.
        progress
            Called now and then as ``progress(step, steps, loss)``.
        """

    def update(self, new: Sequence[Atoms], replay: Sequence[Atoms], *, steps: int, lr: float, seed: int) -> TrainReport:
        """Continue learning from ``new`` structures and a ``replay`` of old ones, from the stored state of the optimiser.

        ``lr`` is the step size. A training that diverges does not raise: the losses of its report end with one that is not
        finite, and the caller discards the update.
        """

    def errors(self, dataset: Sequence[Atoms]) -> NDArray[np.float64]:
        """Absolute errors per structure, (n, 3): energy eV/atom, mean force eV/Å, mean stress eV/Å³ (NaN if absent)."""

    def save(self, path: str | Path) -> Path:
        """Write everything, the optimiser's state included, to one file, atomically and exactly.

        The file begins with one line of JSON whose ``force_field`` is the name in the registry.
        """

    @classmethod
    def load(cls, path: str | Path) -> ForceField:
        """Read what :meth:`save` wrote; raises ArtifactError for a file that is missing, damaged or no such force field."""

    def copy(self) -> ForceField:
        """An independent copy."""


@runtime_checkable
class Consolidating(ForceField, Protocol):
    """A force field whose trainings can be interrupted, and that can learn all its data together, from the weights it has.

    Optional: campaigns with any other :class:`ForceField` do without. ``checkpoint`` is a file for the state of an unfinished
    training, from which the same call goes on, to the bit; ``deadline`` a value of ``time.monotonic()`` at which it stops.
    :class:`~idealflow.forcefields.toolkit.Training` does both for any torch model. An attribute ``consolidation_rate``, if there
    is one, is the highest step size that a campaign's consolidations take unless the config says another.

    Examples
    --------
    >>> from idealflow.forcefields import get_force_field
    >>> isinstance(get_force_field("local", species=["Cu"]), Consolidating)
    True
    """

    def fit(
        self,
        dataset: Sequence[Atoms],
        *,
        steps: int | None = None,
        seed: int = 0,
        validation: Sequence[Atoms] | None = None,
        progress: Callable[[int, int, float], None] | None = None,
        checkpoint: str | Path | None = None,
        deadline: float | None = None,
    ) -> TrainReport:
        """Learn from scratch, as :meth:`ForceField.fit` does."""

    def consolidate(
        self,
        dataset: Sequence[Atoms],
        *,
        steps: int,
        lr: float,
        seed: int,
        atom_steps: int | None = None,
        progress: Callable[[int, int, float], None] | None = None,
        checkpoint: str | Path | None = None,
        deadline: float | None = None,
    ) -> TrainReport:
        """Learn a whole dataset from the present weights.

        ``lr`` is the highest step size, from which it falls to zero. No more ``steps`` are taken than cost ``atom_steps`` in all
        (:attr:`TrainReport.atom_steps`); if these are too few to help, none is, and the force field stays as it is. A training
        that diverges does not raise: the losses of its report end with one that is not finite.
        """

    def copy(self) -> Consolidating:
        """An independent copy."""


@runtime_checkable
class Startable(ForceField, Protocol):
    """A force field that can begin to learn from weights it has, and be held near them.

    Optional: ``bootstrap.pretrained`` needs it. :class:`~idealflow.forcefields.toolkit.Start` keeps what it takes.

    Examples
    --------
    >>> from idealflow.forcefields import get_force_field
    >>> isinstance(get_force_field("local", species=["Cu"]), Startable)
    True
    """

    def start_here(self, anchor: Sequence[Atoms] = (), outside: Sequence[Atoms] = ()) -> None:
        """Let later fits begin from the present weights; what is given stays with the force field, in its files too.

        Parameters
        ----------
        anchor
            Structures that are learned beside all data, with the labels that the force field gives them now.
        outside
            Structures on which :meth:`force_shift` says how far it has moved.

        Raises
        ------
        InputError
            If nothing has been learned yet, or the structures hold a species that it does not know.
        """

    def force_shift(self) -> float | None:
        """Mean change since :meth:`start_here` of the force components on structures outside, eV/Å; None without any."""

    def copy(self) -> Startable:
        """An independent copy."""


class AtomicEnergies(Protocol):
    """Energies of single atoms, and gradients of weighted sums of them: a pure, deterministic function of the frame.

    Examples
    --------
    The weights choose whose energy is differentiated; with ones, the gradient is minus the forces:

    >>> from ase.build import bulk
    >>> from idealflow.core.structure import set_label
    >>> from idealflow.forcefields import get_force_field
    >>> atoms = bulk("Cu", cubic=True)
    >>> atoms.rattle(0.1, seed=0)
    >>> learner = get_force_field("local", species=["Cu"], cutoff=3.0, hidden=[4])
    >>> _ = learner.fit([set_label(atoms.copy(), energy=-14.0, forces=np.zeros((4, 3)))], steps=3)
    >>> energies, pull = learner.atomic_energies().linearised(atoms)
    >>> in_positions, in_cell = pull(np.ones(4))
    >>> atoms.calc = learner.calculator()
    >>> bool(np.allclose(energies.sum(), atoms.get_potential_energy())), bool(np.allclose(in_positions, -atoms.get_forces()))
    (True, True)
    """

    def __call__(self, atoms: Atoms, indices: ArrayLike | None = None) -> Float:
        """Energies of all atoms or of those at ``indices``, (n,), eV.

        Raises InputError for a species that the force field was not made for, and for positions that are not finite. A species
        that it was made for but never trained on is allowed; energies of such atoms mean nothing.
        """
        ...

    def linearised(
        self, atoms: Atoms, indices: ArrayLike | None = None
    ) -> tuple[Float, Callable[[Float], tuple[Float, Float]]]:
        """Energies (n,), eV, and a function that maps weights (n,) to the gradient of Σ weight · energy.

        The function returns two gradients: in the positions (n_atoms, 3), eV/Å, and in the cell at fixed Cartesian positions
        (3, 3), eV/Å.
        """
        ...


@runtime_checkable
class AtomicForceField(ForceField, Protocol):
    """A force field whose energy is a sum over atoms, so that a committee can compare members atom by atom.

    Examples
    --------
    >>> from idealflow.forcefields import get_force_field
    >>> isinstance(get_force_field("local", species=["Cu"]), AtomicForceField)
    True
    """

    def atomic_energies(self) -> AtomicEnergies:
        """Function of the energies of single atoms, as learned so far; later learning does not change it."""

    def copy(self) -> AtomicForceField:
        """An independent copy."""
