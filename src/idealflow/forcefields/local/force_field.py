"""The built-in force field: its settings, learning and files."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray
from torch import Tensor

from idealflow.core.setting_types import is_number, is_whole
from idealflow.errors import IdealflowError, InputError
from idealflow.forcefields.dataset import check_dataset
from idealflow.forcefields.local.atomic import LocalAtomicEnergies
from idealflow.forcefields.local.calculator import LocalCalculator
from idealflow.forcefields.local.model import LocalModel
from idealflow.forcefields.local.polish import polish
from idealflow.forcefields.local.samples import Sample, samples_of
from idealflow.forcefields.local.scales import rescale, set_scales
from idealflow.forcefields.local.training import errors_of, loss_of, refit_energies, refit_references
from idealflow.forcefields.protocol import TrainReport
from idealflow.forcefields.toolkit.checkpoint import read_checkpoint, write_checkpoint
from idealflow.forcefields.toolkit.draws import Draws
from idealflow.forcefields.toolkit.start import Start, labelled_by
from idealflow.forcefields.toolkit.training import Course, Training, affordable, falling, rise_and_fall, task_key
from idealflow.former_names import FORMER, first_names, formerly

__all__ = ["LocalForceField"]


@formerly(**FORMER["LocalForceField"])
class LocalForceField:
    """Force field with a local descriptor and a small network per species; it learns on one CPU core.

    Results are the same to the bit for the same data, seed, machine type and torch thread count.

    Parameters
    ----------
    species
        Chemical symbols it can describe.
    cutoff
        Distance up to which atoms are neighbours, Å.
    n_radial, n_channels
        Number of radial functions, and of channels after their learned contraction.
    hidden
        Widths of the networks' hidden layers.
    fit_steps, batch_size, fit_learning_rate
        Defaults of :meth:`fit`: gradient steps, structures per step, highest step size of Adam.
    polish_steps
        Iterations of L-BFGS that end an :meth:`update` in place of a closed form; 0: the closed form.

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

    def __init__(
        self,
        species: Sequence[str],
        cutoff: float = 5.0,
        n_radial: int = 8,
        n_channels: int = 8,
        hidden: Sequence[int] = (32, 32),
        fit_steps: int = 2000,
        batch_size: int = 8,
        fit_learning_rate: float = 5e-3,
        polish_steps: int = 0,
    ) -> None:
        self.settings: dict[str, Any] = {
            "species": sorted(set(species), key=lambda symbol: atomic_numbers.get(symbol, 0)),
            "cutoff": cutoff,
            "n_radial": n_radial,
            "n_channels": n_channels,
            "hidden": list(hidden) if isinstance(hidden, list | tuple) else hidden,
            "fit_steps": fit_steps,
            "batch_size": batch_size,
            "fit_learning_rate": fit_learning_rate,
            "polish_steps": polish_steps,
        }
        _check(self.settings)
        self.species: tuple[str, ...] = tuple(self.settings["species"])
        self.cutoff = float(cutoff)
        self._numbers = [atomic_numbers[symbol] for symbol in self.species]
        self._kind = np.full(len(chemical_symbols), -1, dtype=np.int64)
        self._kind[self._numbers] = np.arange(len(self._numbers))
        self.model = self._new_model(0)
        self._optimiser_state: dict[str, Any] | None = None
        self._start: Start | None = None

    @property
    def n_parameters(self) -> int:
        """Number of learned parameters."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def calculator(self) -> Calculator:
        """ASE calculator of energy, forces and stress, computed in double precision.

        Raises
        ------
        InputError
            If nothing has been learned yet.
        """
        self._check_trained()
        return LocalCalculator(self.model, self._numbers, self.cutoff, self._kinds)

    def atomic_energies(self) -> LocalAtomicEnergies:
        """Function of the energies of single atoms, and of their gradients, in double precision.

        Atoms of a species that was in no training structure are allowed; their energies mean nothing.

        Raises
        ------
        InputError
            If nothing has been learned yet.
        """
        self._check_trained()
        return LocalAtomicEnergies(self.model, self._numbers, self.cutoff, self._known_kinds)

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
        """Learn by Adam, whose step size rises over the first tenth of the steps and falls to zero as a cosine.

        It begins from scratch; after :meth:`start_here` from the weights of then, whose reference energies are first set to what
        suits the data best.

        With a ``checkpoint``, a file of the caller's, the fit can be stopped: at ``deadline``, a value of ``time.monotonic()``,
        or by a kill. The same call then goes on where it was, to the bit (:class:`~idealflow.forcefields.toolkit.Training`).

        Raises
        ------
        InputError
            For an empty dataset, missing or non-finite labels, unknown species, or no steps.
        IdealflowError
            If the training diverges.
        """
        steps = int(self.settings["fit_steps"]) if steps is None else _checked_steps(steps)
        samples = self.samples(dataset)
        self.model = self._new_model(seed)
        if self._start is None:
            set_scales(self.model, samples, self.cutoff)
        else:
            self.model.load_state_dict(self._start.weights)
            refit_references(self.model, samples, self.cutoff)
            rescale(self.model, samples, self.cutoff)
        rate = rise_and_fall(steps, float(self.settings["fit_learning_rate"]))
        course = self._whole_set(samples, rate, steps, seed, progress, checkpoint, deadline)
        if course.diverged:
            raise IdealflowError(
                f"training diverged: the loss became {course.loss[-1]}; lower fit_learning_rate, check the labels"
            )
        if self._start is not None and course.finished:
            refit_energies(self.model, samples, self.cutoff)
        judged = samples if validation is None else self.samples(validation)
        return self._report(course, judged, self._cost(samples))

    def update(
        self, new: Sequence[Atoms], replay: Sequence[Atoms], *, steps: int, lr: float = 1e-4, seed: int = 0
    ) -> TrainReport:
        """Continue learning from the stored state of the optimiser; half of every batch is new, half is of the replay.

        Reference energies are set first, to what suits these structures. The step size is ``lr``, and falls linearly to zero over
        the last third of the steps. Then energies are mended in closed form
        (:func:`~idealflow.forcefields.local.training.refit_energies`), or, with ``polish_steps``, by so many iterations over all
        structures at once (:func:`~idealflow.forcefields.local.polish.polish`). If the training diverges, the losses of the
        report end with one that is not finite.

        Raises
        ------
        InputError
            If nothing was fitted yet, or the structures hold a species that the fit never saw.
        """
        self._check_trained()
        _checked_steps(steps)
        _check_rate(lr)
        for atoms in (*new, *replay):
            self._kinds(atoms)
        samples = self.samples([*new, *replay])
        refit_references(self.model, samples, self.cutoff)
        optimiser = self._optimiser()
        if self._optimiser_state is not None:
            optimiser.load_state_dict(copy.deepcopy(self._optimiser_state))
        size = int(self.settings["batch_size"])
        n_new = min(len(new), max(1, size // 2) if len(replay) else size)
        anchor = self._anchor()
        sets, shares = [len(new), len(replay)], [n_new, size - n_new]
        draws = Draws([*sets, *([len(anchor)] if anchor else [])], [*shares, *([size] if anchor else [])], seed)
        course = self._training([*samples, *anchor], optimiser, draws, falling(steps, lr), steps).run()
        self._optimiser_state = optimiser.state_dict()
        if not course.diverged:
            if polish_steps := int(self.settings["polish_steps"]):
                end = polish(self.model, samples, self.cutoff, polish_steps)
                if not np.isfinite(end):
                    course.loss.append(end)
            else:
                refit_energies(self.model, samples, self.cutoff)
        cost = n_new * _mean_size(samples[: len(new)]) + min(size - n_new, len(replay)) * _mean_size(
            samples[len(new) :]
        )
        return self._report(course, samples[: len(new)], cost)

    def consolidate(
        self,
        dataset: Sequence[Atoms],
        *,
        steps: int,
        lr: float = 2e-3,
        seed: int = 0,
        atom_steps: int | None = None,
        progress: Callable[[int, int, float], None] | None = None,
        checkpoint: str | Path | None = None,
        deadline: float | None = None,
    ) -> TrainReport:
        """Learn all data together, from the present weights.

        Scales are set anew for the data (:func:`~idealflow.forcefields.local.scales.rescale`). The step size rises to ``lr``
        over the first tenth of the steps and falls to zero as a cosine. In the end energies are mended in closed form. If the
        training diverges, the losses of the report end with one that is not finite. If ``atom_steps`` allows less than a
        twentieth of the steps, none is taken.

        Raises
        ------
        InputError
            If nothing was fitted yet, for an empty dataset or a bad label, or for a species that it was not made for.
        """
        self._check_trained()
        _checked_steps(steps)
        _check_rate(lr)
        samples = self.samples(dataset)
        steps = affordable(steps, self._cost(samples), atom_steps)
        if not steps:
            return TrainReport(0, [], self._errors(samples))
        refit_references(self.model, samples, self.cutoff)
        rescale(self.model, samples, self.cutoff)
        course = self._whole_set(samples, rise_and_fall(steps, lr), steps, seed, progress, checkpoint, deadline)
        if course.finished and not course.diverged:
            refit_energies(self.model, samples, self.cutoff)
        return self._report(course, samples, self._cost(samples))

    def _whole_set(
        self,
        samples: Sequence[Sample],
        rate: Callable[[int], float],
        steps: int,
        seed: int,
        progress: Callable[[int, int, float], None] | None,
        checkpoint: str | Path | None,
        deadline: float | None,
    ) -> Course:
        """Train on batches of the whole set, with a new optimiser."""
        optimiser, size, anchor = self._optimiser(), int(self.settings["batch_size"]), self._anchor()
        sets = [len(part) for part in (samples, anchor) if part]
        draws = Draws(sets, [size] * len(sets), seed)
        samples = [*samples, *anchor]
        task = "" if checkpoint is None else self._task(samples, [rate(step) for step in range(steps)], seed)
        training = self._training(samples, optimiser, draws, rate, steps)
        course = training.run(progress, checkpoint=checkpoint, task=task, deadline=deadline)
        self._optimiser_state = optimiser.state_dict()
        return course

    def _training(
        self,
        samples: Sequence[Sample],
        optimiser: torch.optim.Optimizer,
        draws: Draws,
        rate: Callable[[int], float],
        steps: int,
    ) -> Training:
        def loss(batch: list[int]) -> Tensor:
            return loss_of(self.model, [samples[i] for i in batch], self.cutoff)

        return Training(self.model, optimiser, loss, draws, rate, steps)

    def _task(self, samples: Sequence[Sample], rates: list[float], seed: int) -> str:
        """Hash of what a training of the whole set depends on."""
        labels = [
            part for s in samples for part in (s.frame.kind, s.frame.vec, s.energy, s.forces, s.stress, s.force_weight)
        ]
        weights = [value for _, value in sorted(self.model.state_dict().items())]
        return task_key(self.settings, rates, seed, *weights, *labels)

    def _report(self, course: Course, judged: Sequence[Sample], cost: float) -> TrainReport:
        """What a training did; ``cost`` is the mean number of atoms in a batch."""
        return TrainReport(course.steps, course.loss, self._errors(judged), course.finished, round(course.steps * cost))

    def _cost(self, samples: Sequence[Sample]) -> float:
        """Mean number of atoms in a batch of the whole set."""
        size = int(self.settings["batch_size"])
        anchor = [] if self._start is None else [len(atoms) for atoms in self._start.anchor]
        beside = min(size, len(anchor)) * sum(anchor) / max(1, len(anchor))
        return min(size, len(samples)) * _mean_size(samples) + beside

    def _errors(self, samples: Sequence[Sample]) -> NDArray[np.float64]:
        return errors_of(self.model, samples, self.cutoff)

    def errors(self, dataset: Sequence[Atoms]) -> NDArray[np.float64]:
        """Absolute errors of each structure, (n, 3): energy eV/atom, mean force eV/Å, mean stress eV/Å³ (NaN if absent)."""
        self._check_trained()
        return self._errors(self.samples(dataset)) if len(dataset) else np.zeros((0, 3))

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

    def copy(self) -> LocalForceField:
        """An independent copy."""
        return copy.deepcopy(self)

    def with_settings(self, **changed: Any) -> LocalForceField:
        """A copy with other settings and the same weights; what an optimiser knew is forgotten.

        Raises
        ------
        InputError
            For a setting that is impossible or asks for other weights.
        """
        made = LocalForceField(**{**self.settings, **changed})
        try:
            made.model.load_state_dict(self.model.state_dict())
        except RuntimeError as error:
            raise InputError(f"these settings ask for other weights: {' '.join(str(error).split())}") from error
        return made

    def start_here(self, anchor: Sequence[Atoms] = (), outside: Sequence[Atoms] = ()) -> None:
        """Let later fits begin from the present weights, as :meth:`idealflow.forcefields.Startable.start_here`."""
        calculator = self.calculator()
        self._start = Start(
            {name: value.clone() for name, value in self.model.state_dict().items()},
            labelled_by(calculator, anchor),
            labelled_by(calculator, outside),
            self.model.reference.numpy().copy(),
        )

    def force_shift(self) -> float | None:
        """Mean change since :meth:`start_here` of the force components on structures outside, eV/Å; None without any."""
        return None if self._start is None else self._start.force_shift(self.calculator())

    def _anchor(self) -> list[Sample]:
        """Samples that are learned beside all data."""
        if self._start is None or not self._start.anchor:
            return []
        kinds = [self._kinds(atoms) for atoms in self._start.anchor]
        return self.samples(self._start.anchored(self.model.reference.numpy(), kinds))

    def _known_kinds(self, atoms: Atoms) -> NDArray[np.int64]:
        """Species index of every atom; refuses species that the force field was not made for."""
        kinds: NDArray[np.int64] = self._kind[atoms.numbers]
        if (kinds < 0).any():
            unknown = sorted({chemical_symbols[z] for z in atoms.numbers[kinds < 0]})
            raise InputError(
                f"species {', '.join(unknown)} not among the force field's {', '.join(self.species)}; make the force field "
                "with every species the system holds"
            )
        return kinds

    def _kinds(self, atoms: Atoms) -> NDArray[np.int64]:
        """Species index of every atom; refuses species that were never trained on, and positions that are not finite."""
        kinds = self._known_kinds(atoms)
        unseen = ~self.model.seen.numpy()[kinds]
        if unseen.any():
            names = sorted({self.species[k] for k in kinds[unseen]})
            raise InputError(
                f"species {', '.join(names)} was in none of the structures the force field was fitted to; fit again with some "
                "that hold it"
            )
        if not np.isfinite(atoms.positions).all():
            bad = int(np.flatnonzero(~np.isfinite(atoms.positions).all(axis=1))[0])
            raise InputError(f"positions must be finite, atom {bad} is at {atoms.positions[bad].tolist()}")
        return kinds

    def _check_trained(self) -> None:
        if not bool(self.model.seen.any()):
            raise InputError("the force field has learned nothing yet; call fit first, or load a trained one")

    def _new_model(self, seed: int) -> LocalModel:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            s = self.settings
            return LocalModel(len(self.species), s["n_radial"], s["n_channels"], s["hidden"])

    def _optimiser(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.model.parameters(), lr=1e-3, betas=(0.9, 0.99))

    def samples(self, dataset: Sequence[Atoms]) -> list[Sample]:
        """Prepare labelled structures for training.

        Raises
        ------
        InputError
            For an empty dataset, missing or non-finite labels, or a species that the force field was not made for.
        """
        return samples_of(dataset, check_dataset(dataset, self.species), self._kind, self.settings)


def _check(settings: dict[str, Any]) -> None:
    species = settings["species"]
    if not species or any(symbol not in atomic_numbers or symbol == "X" for symbol in species):
        raise InputError(f"species must be chemical symbols, at least one, got {species}")
    for label in ("cutoff", "fit_learning_rate"):
        if not (is_number(settings[label]) and settings[label] > 0):
            raise InputError(f"{label} must be a positive number, got {settings[label]!r}")
    for label in ("n_radial", "n_channels", "fit_steps", "batch_size"):
        if not is_whole(settings[label]) or settings[label] < 1:
            raise InputError(f"{label} must be a whole number, at least 1, got {settings[label]!r}")
    if not is_whole(settings["polish_steps"]) or settings["polish_steps"] < 0:
        raise InputError(f"polish_steps must be a whole number, at least 0, got {settings['polish_steps']!r}")
    widths = settings["hidden"]
    if not isinstance(widths, list) or not widths or not all(is_whole(width) and width >= 1 for width in widths):
        raise InputError(f"hidden must be a list of whole numbers, at least one of them, e.g. [32, 32], got {widths!r}")


def _mean_size(samples: Sequence[Sample]) -> float:
    """Mean number of atoms."""
    return sum(len(sample.frame.kind) for sample in samples) / max(1, len(samples))


def _check_rate(lr: float) -> None:
    if not (np.isfinite(lr) and lr > 0):
        raise InputError(f"lr must be positive, got {lr}")


def _checked_steps(steps: int) -> int:
    if int(steps) != steps or steps < 1:
        raise InputError(f"steps must be a whole number, at least 1, got {steps}")
    return int(steps)
