"""What a force field has to offer to learn on the fly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

__all__ = ["AtomicEnergies", "AtomicForceField", "ForceField", "TrainReport"]

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
        Mean absolute errors on the structures to validate with (or trained on, without any): energy eV/atom, forces
        eV/Å, stress eV/Å³ (NaN where a label has none).
    """

    steps: int
    loss: list[float]
    errors: NDArray[np.float64]


@runtime_checkable
class ForceField(Protocol):
    """A machine-learning force field.

    A labelled structure is an ase Atoms whose calculator holds ``energy`` (eV), ``forces`` (eV/Å) and optionally
    ``stress`` (eV/Å³, ASE's sign and Voigt order); an array ``force_weight`` (n_atoms,) masks forces in the loss.
    """

    @property
    def name(self) -> str:
        """Name in the registry."""

    @property
    def cutoff(self) -> float:
        """Local cutoff (of one layer, for message passing), Å."""

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
        """Learn from scratch; ``progress(step, steps, loss)`` is called now and then."""

    def update(self, new: Sequence[Atoms], replay: Sequence[Atoms], *, steps: int, lr: float, seed: int) -> TrainReport:
        """Go on learning from new structures and a replay of old ones, with the stored optimiser state.

        A training that diverges does not raise: its report ends with a loss that is not finite, and whoever asked for
        the update throws it away.
        """

    def errors(self, dataset: Sequence[Atoms]) -> NDArray[np.float64]:
        """Absolute errors per structure, (n, 3): energy eV/atom, mean force eV/Å, mean stress eV/Å³ (NaN if absent)."""

    def save(self, path: str | Path) -> Path:
        """Write everything, the optimiser's state included, to one file, atomically and exactly.

        The file begins with one line of JSON whose ``force_field`` is the name in the registry.
        """

    @classmethod
    def load(cls, path: str | Path) -> ForceField:
        """Read what :meth:`save` wrote; ArtifactError for a file that is missing, damaged or foreign."""

    def copy(self) -> ForceField:
        """An independent copy."""


class AtomicEnergies(Protocol):
    """Energies of single atoms, and the gradient of any scalar of them: a pure, deterministic function of the frame."""

    def __call__(self, atoms: Atoms, indices: ArrayLike | None = None) -> Float:
        """Energies of all atoms or of those at ``indices``, (n,), eV.

        InputError for a species outside the force field's, or positions that are not finite. A species that was in no
        training structure is allowed; its energies mean nothing.
        """
        ...

    def linearised(
        self, atoms: Atoms, indices: ArrayLike | None = None
    ) -> tuple[Float, Callable[[Float], tuple[Float, Float]]]:
        """Energies, and a function of weights (n,) that gives the gradient of Σ weight · energy.

        The gradient is that in the positions (n_atoms, 3), eV/Å, and in the cell at fixed Cartesian positions (3, 3), eV/Å.
        """
        ...


@runtime_checkable
class AtomicForceField(ForceField, Protocol):
    """A force field whose energy is a sum over atoms, which a committee can compare."""

    def atomic_energies(self) -> AtomicEnergies:
        """Energies of single atoms as learned so far; later learning does not change them."""

    def copy(self) -> AtomicForceField:
        """An independent copy."""
