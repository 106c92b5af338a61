"""The built-in force field: its settings, its model and files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import atomic_numbers
from numpy.typing import NDArray
from torch import Tensor

from idealflow.core.setting_types import is_whole
from idealflow.errors import InputError
from idealflow.forcefields.dataset import check_dataset
from idealflow.forcefields.local.atomic import LocalAtomicEnergies
from idealflow.forcefields.local.calculator import LocalCalculator
from idealflow.forcefields.local.model import LocalModel
from idealflow.forcefields.local.polish import polish
from idealflow.forcefields.local.samples import Sample, samples_of
from idealflow.forcefields.local.scales import rescale, set_scales
from idealflow.forcefields.local.training import errors_of, loss_of, refit_energies, refit_references
from idealflow.forcefields.toolkit.checkpoint import read_checkpoint, write_checkpoint
from idealflow.forcefields.toolkit.learner import GradientLearner, Phase
from idealflow.forcefields.toolkit.settings import check_positive, check_whole
from idealflow.forcefields.toolkit.start import Start
from idealflow.former_names import FORMER, first_names, formerly

__all__ = ["LocalForceField"]


@formerly(**FORMER["LocalForceField"])
class LocalForceField(GradientLearner[Sample]):
    """Force field with a local descriptor and a small network per species; it learns on one CPU core.

    An update sets the energies of the species first. After it, as after a consolidation, energies are mended in closed form by
    the least change of the model (:func:`~idealflow.forcefields.local.training.refit_energies`). Before a consolidation, scales
    are set anew for the data (:func:`~idealflow.forcefields.local.scales.rescale`). Results are the same to the bit for the same
    data, seed, machine type and torch thread count.

    Parameters
    ----------
    species
        Chemical symbols it can describe.
    cutoff
        Distance up to which atoms are neighbours, Å.
    n_radial, n_channels
        Number of radial functions, and of channels after their learned contraction. Eight radial functions were the default of
        earlier versions; sixteen take a fifth more time and halve errors (docs/explanation/learning.md).
    hidden
        Widths of the networks' hidden layers.
    fit_steps, batch_size, fit_learning_rate
        Defaults of :meth:`fit`: gradient steps, structures per step, highest step size of Adam.
    polish_steps
        Iterations of L-BFGS over all its structures at once that end an :meth:`update` in place of a closed form
        (:func:`~idealflow.forcefields.local.polish.polish`); 0: the closed form.

    Raises
    ------
    InputError
        For a setting that is impossible.

    Examples
    --------
    Fitted to four structures that EMT labelled (a fit for use takes some hundred, and 2000 steps):

    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> def labelled(seed):
    ...     atoms = bulk("Cu", cubic=True)
    ...     atoms.rattle(0.1, seed=seed)
    ...     atoms.calc = EMT()
    ...     atoms.get_stress()  # computes energy and forces too
    ...     return atoms
    >>> force_field = LocalForceField(["Cu"], cutoff=3.0, hidden=[4])
    >>> report = force_field.fit([labelled(seed) for seed in range(4)], steps=20)
    >>> report.loss[-1] < report.loss[0]
    True
    >>> atoms = bulk("Cu", cubic=True)
    >>> atoms.calc = force_field.calculator()
    >>> atoms.get_forces().shape
    (4, 3)
    """

    name: ClassVar[str] = "local"
    consolidation_rate: ClassVar[float] = 8e-3

    def __init__(
        self,
        species: Sequence[str],
        cutoff: float = 5.0,
        n_radial: int = 16,
        n_channels: int = 8,
        hidden: Sequence[int] = (32, 32),
        fit_steps: int = 2000,
        batch_size: int = 8,
        fit_learning_rate: float = 5e-3,
        polish_steps: int = 0,
    ) -> None:
        settings: dict[str, Any] = {
            "species": species,
            "cutoff": cutoff,
            "n_radial": n_radial,
            "n_channels": n_channels,
            "hidden": list(hidden) if isinstance(hidden, list | tuple) else hidden,
            "fit_steps": fit_steps,
            "batch_size": batch_size,
            "fit_learning_rate": fit_learning_rate,
            "polish_steps": polish_steps,
        }
        super().__init__(settings)
        _check(self.settings)
        self.cutoff = float(cutoff)
        self._numbers = [atomic_numbers[symbol] for symbol in self.species]
        self.model = self._new_model(0)

    @property
    def module(self) -> LocalModel:
        """The model."""
        return self.model

    def calculator(self) -> Calculator:
        """ASE calculator of energy, forces and stress, computed in double precision.

        Raises
        ------
        InputError
            If nothing has been learned yet.
        """
        self._check_trained()
        return LocalCalculator(self.model, self._numbers, self.cutoff, self._seen_kinds)

    def atomic_energies(self) -> LocalAtomicEnergies:
        """Function of the energies of single atoms, and of their gradients, in double precision.

        Atoms of a species that was in no training structure are allowed; their energies mean nothing.

        Raises
        ------
        InputError
            If nothing has been learned yet.
        """
        self._check_trained()
        return LocalAtomicEnergies(self.model, self._numbers, self.cutoff, self._known.of)

    def errors(self, dataset: Sequence[Atoms]) -> NDArray[np.float64]:
        """Absolute errors of each structure, (n, 3): energy eV/atom, mean force eV/Å, mean stress eV/Å³ (NaN if absent)."""
        self._check_trained()
        return errors_of(self.model, self.samples(dataset), self.cutoff) if len(dataset) else np.zeros((0, 3))

    def samples(self, dataset: Sequence[Atoms]) -> list[Sample]:
        """Prepare labelled structures for training.

        Raises
        ------
        InputError
            For an empty dataset, missing or non-finite labels, or a species that the force field was not made for.
        """
        return samples_of(dataset, check_dataset(dataset, self.species), self._known, self.settings)

    def save(self, path: str | Path) -> Path:
        """Write weights, scales and optimiser state to one file, atomically and exactly."""
        state = {"model": self.model.state_dict(), "optimiser": self._optimiser_state}
        if self._start is not None:
            state["start"] = self._start.state()
        return write_checkpoint(path, self.name, first_names(self.settings), state)

    @classmethod
    def load(cls, path: str | Path) -> LocalForceField:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ArtifactError
            If the file is missing, cut short, damaged, foreign, or of a newer format.
        """
        settings, state = read_checkpoint(path, cls.name)
        made = cls(**settings)
        made.model.load_state_dict(state["model"])
        made._optimiser_state = state["optimiser"]
        if "start" in state:
            made._start = Start.of(state["start"], list(made.model.state_dict()))
        return made

    def _new_model(self, seed: int) -> LocalModel:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            s = self.settings
            return LocalModel(len(self.species), s["n_radial"], s["n_channels"], s["hidden"])

    def _begin(self, samples: Sequence[Sample], seed: int) -> None:
        self.model = self._new_model(seed)
        if self._start is None:
            set_scales(self.model, samples, self.cutoff)
        else:
            self.model.load_state_dict(self._start.weights)
            self._meet(samples, "fit")

    def _meet(self, samples: Sequence[Sample], phase: Phase) -> None:
        refit_references(self.model, samples, self.cutoff)
        if phase != "update":
            rescale(self.model, samples, self.cutoff)

    def _settle(self, samples: Sequence[Sample], phase: Phase) -> Iterable[float]:
        iterations = int(self.settings["polish_steps"])
        if phase == "update" and iterations:
            end = polish(self.model, samples, self.cutoff, iterations)
            return [] if np.isfinite(end) else [end]
        if phase != "fit" or self._start is not None:
            refit_energies(self.model, samples, self.cutoff)
        return []

    def _loss(self, batch: list[Sample]) -> Tensor:
        return loss_of(self.model, batch, self.cutoff)

    def _size(self, sample: Sample) -> int:
        return len(sample.frame.kind)

    def _parts(self, sample: Sample) -> Iterable[Any]:
        s = sample
        return s.frame.kind, s.frame.vec, s.energy, s.forces, s.stress, s.force_weight


def _check(settings: dict[str, Any]) -> None:
    check_positive(settings, "cutoff", "fit_learning_rate")
    check_whole(settings, "n_radial", "n_channels", "fit_steps", "batch_size")
    check_whole(settings, "polish_steps", least=0)
    widths = settings["hidden"]
    if not isinstance(widths, list) or not widths or not all(is_whole(width) and width >= 1 for width in widths):
        raise InputError(f"hidden must be a list of whole numbers, at least one of them, e.g. [32, 32], got {widths!r}")
