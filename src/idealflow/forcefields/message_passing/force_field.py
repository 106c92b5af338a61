"""Base of force fields by message passing: all that a campaign asks of one, around the network of its architecture."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray
from torch import Tensor

from idealflow.core.setting_types import is_number, is_whole
from idealflow.errors import ArtifactError, IdealflowError, InputError
from idealflow.forcefields.dataset import absolute_errors, check_dataset
from idealflow.forcefields.message_passing.calculator import MessagePassingCalculator, MessagePassingEnergies
from idealflow.forcefields.message_passing.devices import chosen_device, deterministic
from idealflow.forcefields.message_passing.evaluation import Evaluator
from idealflow.forcefields.message_passing.freezing import frozen
from idealflow.forcefields.message_passing.graph import Frame, frame_of
from idealflow.forcefields.message_passing.network import MessagePassingNetwork
from idealflow.forcefields.message_passing.training import GraphSample, loss_of, outputs_of, set_scales
from idealflow.forcefields.protocol import TrainReport
from idealflow.forcefields.species import KnownSpecies
from idealflow.forcefields.toolkit.checkpoint import read_checkpoint, write_checkpoint
from idealflow.forcefields.toolkit.draws import Draws
from idealflow.forcefields.toolkit.offsets import species_offsets
from idealflow.forcefields.toolkit.start import Start, labelled_by
from idealflow.forcefields.toolkit.training import Course, Training, affordable, falling, rise_and_fall, task_key

__all__ = ["MessagePassingForceField"]

_PRECISIONS = {"single": torch.float32, "double": torch.float64}


class MessagePassingForceField(ABC):
    """A force field whose network passes messages between atoms.

    An architecture derives a class: a ``name``, a constructor that hands its settings on, and :meth:`new_network`. Learning is in
    single precision. Results are the same to the bit for the same data, seed, machine type, device and torch thread count.

    Parameters
    ----------
    settings
        Arguments of the derived class, plain JSON, by which its file makes it again: ``species``, ``cutoff``, ``fit_steps``,
        ``batch_size``, ``fit_learning_rate``, ``precision`` and the architecture's own; ``freeze``, names of parameters that do
        not learn, may be among them. The device is none of them.
    device
        Torch device to learn and compute on; None takes ``IDEALFLOW_FORCE_FIELD_DEVICE`` from the environment, and else the CPU.

    Raises
    ------
    InputError
        For a setting that is impossible, or a device that is not there.

    Examples
    --------
    A derived class, whole but for its network, which is that of the example of
    :class:`~idealflow.forcefields.message_passing.MessagePassingNetwork`:

    >>> class Crowd(MessagePassingNetwork):
    ...     n_layers = 1
    ...     def __init__(self, n_species):
    ...         super().__init__(n_species)
    ...         self.weight = torch.nn.Parameter(torch.ones(n_species))
    ...     def start(self, kind, dtype):
    ...         return torch.zeros(len(kind), 1, dtype=dtype)
    ...     def geometry(self, graph, dtype):
    ...         return (torch.exp(-graph.vec.square().sum(1, keepdim=True)).to(dtype),)
    ...     def layer(self, number, nodes, pairs, graph, near):
    ...         return nodes[: graph.n_receivers] + graph.received(near[0]), None
    ...     def readout(self, nodes, kind):
    ...         return nodes[-1][:, 0] * self.weight.index_select(0, kind)
    >>> class CrowdForceField(MessagePassingForceField):
    ...     name = "crowd"
    ...     def __init__(self, species, cutoff=4.0, device=None):
    ...         learning = {"fit_steps": 10, "batch_size": 4, "fit_learning_rate": 1e-3, "precision": "double"}
    ...         super().__init__({"species": species, "cutoff": cutoff, **learning}, device)
    ...     def new_network(self):
    ...         return Crowd(len(self.species))
    >>> crowd = CrowdForceField(["Cu"])
    >>> crowd.cutoff, crowd.reach
    (4.0, 4.0)
    """

    name: ClassVar[str]

    def __init__(self, settings: dict[str, Any], device: str | None = None) -> None:
        self._known = KnownSpecies(settings["species"])
        self.species: tuple[str, ...] = self._known.symbols
        self.settings: dict[str, Any] = {**settings, "species": list(self.species)}
        _check(self.settings)
        self.cutoff = float(settings["cutoff"])
        self.device = chosen_device(device)
        self.network = self._seeded_network(0)
        self._optimiser_state: dict[str, Any] | None = None
        self._start: Start | None = None

    @abstractmethod
    def new_network(self) -> MessagePassingNetwork:
        """A network with random weights, as the settings have it."""

    @property
    def reach(self) -> float:
        """Distance up to which other atoms can change an atom's energy, Å: one cutoff a layer."""
        return self.network.n_layers * self.cutoff

    @property
    def n_parameters(self) -> int:
        """Number of learned parameters; frozen ones do not count."""
        return sum(parameter.numel() for parameter in self.network.parameters() if parameter.requires_grad)

    def calculator(self, pairs_at_once: int | None = None) -> Calculator:
        """ASE calculator of energy, forces and stress.

        Parameters
        ----------
        pairs_at_once
            Number of neighbour pairs from which a frame is computed in parts; None: what fits into the memory that
            :func:`~idealflow.forcefields.message_passing.devices.memory_budget` grants.

        Raises
        ------
        InputError
            If nothing has been learned yet.
        """
        self._check_trained()
        seen = self.network.seen.cpu().numpy().copy()
        return MessagePassingCalculator(self._evaluator(pairs_at_once), lambda atoms: self._frame(atoms, seen))

    def atomic_energies(self, pairs_at_once: int | None = None) -> MessagePassingEnergies:
        """Function of the energies of single atoms, and of their gradients; the parameter is that of :meth:`calculator`.

        Atoms of a species that was in no training structure are allowed; their energies mean nothing.

        Raises
        ------
        InputError
            If nothing has been learned yet.
        """
        self._check_trained()
        return MessagePassingEnergies(self._evaluator(pairs_at_once), self._frame)

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

        It begins from scratch; after :meth:`start_here` from the weights of then, whose energies of the species are first set to
        what suits the data best.

        Parameters
        ----------
        dataset, steps, seed, validation, progress
            As of :meth:`ForceField.fit <idealflow.forcefields.ForceField.fit>`.
        checkpoint, deadline
            File for the state of an unfinished fit, from which the same call goes on, to the bit; and value of
            ``time.monotonic()`` at which it stops.

        Raises
        ------
        InputError
            For an empty dataset, missing or non-finite labels, unknown species, or no steps.
        IdealflowError
            If the training diverges.
        """
        steps = int(self.settings["fit_steps"]) if steps is None else _checked_steps(steps)
        samples = self.samples(dataset)
        self._begin(samples, seed)
        rate = rise_and_fall(steps, float(self.settings["fit_learning_rate"]))
        course = self._whole_set(samples, rate, steps, seed, progress, checkpoint, deadline)
        if course.diverged:
            raise IdealflowError(
                f"training diverged: the loss became {course.loss[-1]}; lower fit_learning_rate, check the labels"
            )
        return self._report(course, samples, validation or dataset)

    def update(
        self, new: Sequence[Atoms], replay: Sequence[Atoms], *, steps: int, lr: float = 1e-4, seed: int = 0
    ) -> TrainReport:
        """Continue learning from the stored state of the optimiser; half of every batch is new, half is of the replay.

        The step size is ``lr``, and falls linearly to zero over the last third of the steps. Then the energies of the species are
        set to what suits all these structures best. If the training diverges, the losses of the report end with one that is not
        finite.

        Raises
        ------
        InputError
            If nothing was fitted yet, or the structures hold a species that the fit never saw.
        """
        self._check_trained()
        _checked_steps(steps)
        _check_rate(lr)
        seen = self.network.seen.cpu().numpy()
        for atoms in (*new, *replay):
            self._known.of(atoms, seen)
        check_dataset(new, self.species)
        samples = self.samples([*new, *replay])
        optimiser = self._optimiser()
        if self._optimiser_state is not None:
            optimiser.load_state_dict(copy.deepcopy(self._optimiser_state))
        size = int(self.settings["batch_size"])
        n_new = min(len(new), max(1, size // 2) if len(replay) else size)
        anchor = self._anchor()
        sets, shares = [len(new), len(replay)], [n_new, size - n_new]
        draws = Draws([*sets, *([len(anchor)] if anchor else [])], [*shares, *([size] if anchor else [])], seed)
        course = self._run(self._training([*samples, *anchor], optimiser, draws, falling(steps, lr), steps))
        return self._report(course, samples, new)

    def consolidate(
        self,
        dataset: Sequence[Atoms],
        *,
        steps: int,
        lr: float,
        seed: int = 0,
        atom_steps: int | None = None,
        progress: Callable[[int, int, float], None] | None = None,
        checkpoint: str | Path | None = None,
        deadline: float | None = None,
    ) -> TrainReport:
        """Learn all data together, from the present weights; as :meth:`idealflow.forcefields.Consolidating.consolidate`.

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
            return TrainReport(0, [], self.errors(dataset))
        self._meet(samples)
        course = self._whole_set(samples, rise_and_fall(steps, lr), steps, seed, progress, checkpoint, deadline)
        return self._report(course, samples, dataset)

    def errors(self, dataset: Sequence[Atoms]) -> NDArray[np.float64]:
        """Absolute errors of each structure, (n, 3): energy eV/atom, mean force eV/Å, mean stress eV/Å³ (NaN if absent)."""
        return absolute_errors(self.calculator(), dataset, self.species)

    def save(self, path: str | Path) -> Path:
        """Write weights, scales and the optimiser's state to one file, atomically and exactly; the device is not in it."""
        state = {"network": self.network.state_dict(), "optimiser": self._optimiser_state}
        if self._start is not None:
            state["start"] = self._start.state()
        return write_checkpoint(path, self.name, self.settings, _moved(state, torch.device("cpu")))

    @classmethod
    def load(cls, path: str | Path, device: str | None = None) -> Self:
        """Read what :meth:`save` wrote, onto a device.

        Raises
        ------
        ArtifactError
            If the file is missing, cut short, damaged, foreign, or of a newer format.
        """
        settings, state = read_checkpoint(path, cls.name)
        made = cls(**settings, device=device)
        try:
            made.network.load_state_dict(state["network"])
        except (RuntimeError, KeyError) as error:
            cause = " ".join(str(error).split())
            raise ArtifactError(f"{path} holds other weights than its settings ask for: {cause}") from error
        made._optimiser_state = _moved(state["optimiser"], made.device)
        if "start" in state:
            made._start = Start.of(_moved(state["start"], made.device), list(made.network.state_dict()))
        return made

    def copy(self) -> Self:
        """An independent copy."""
        return copy.deepcopy(self)

    def samples(self, dataset: Sequence[Atoms]) -> list[GraphSample]:
        """Prepare labelled structures for training: their neighbours and labels.

        Raises
        ------
        InputError
            For an empty dataset, missing or non-finite labels or positions, or a species that it was not made for.
        """
        targets = check_dataset(dataset, self.species)
        return [GraphSample(self._frame(atoms), target) for atoms, target in zip(dataset, targets, strict=True)]

    def take_weights(self, weights: dict[str, Tensor]) -> None:
        """Take over a trained network's state, scales and references included; what an optimiser knew is forgotten.

        Raises
        ------
        InputError
            If names or shapes are not those of this force field's network.

        Examples
        --------
        >>> from idealflow.forcefields import get_force_field
        >>> one, other = (get_force_field("m3gnet", species=["Cu"], n_blocks=1, units=4) for _ in range(2))
        >>> other.take_weights({**one.network.state_dict(), "seen": torch.ones(1, dtype=torch.bool)})
        >>> type(other.calculator()).__name__
        'MessagePassingCalculator'
        """
        try:
            self.network.load_state_dict(weights)
        except RuntimeError as error:
            raise InputError(f"these weights do not fit the force field {self.name!r}: {error}") from error
        self._optimiser_state = None

    @classmethod
    def with_weights(
        cls, settings: dict[str, Any], weights: dict[str, Tensor], species: Sequence[str] | None = None, **others: Any
    ) -> Self:
        """A trained force field with weights that were read from a file of another implementation.

        Parameters
        ----------
        settings, weights
            Arguments of the class, and state of its network.
        species
            Those to keep of the weights' species; None: all.
        others
            Further arguments of the class.

        Raises
        ------
        InputError
            If the weights know no such species, or do not fit the settings.

        Examples
        --------
        >>> from idealflow.forcefields.m3gnet import M3GNetForceField
        >>> trained = M3GNetForceField(["Al", "Cu"], n_blocks=1, units=4)
        >>> weights = {**trained.network.state_dict(), "seen": torch.ones(2, dtype=torch.bool)}
        >>> settings = {key: trained.settings[key] for key in ("species", "n_blocks", "units")}
        >>> M3GNetForceField.with_weights(settings, weights, species=["Cu"]).species
        ('Cu',)
        """
        known = list(settings["species"])
        kept = known if species is None else list(species)
        if unknown := [symbol for symbol in kept if symbol not in known]:
            raise InputError(f"the weights do not know {', '.join(unknown)}; they know {', '.join(known)}")
        made = cls(**{**settings, **others, "species": kept})
        rows = [known.index(symbol) for symbol in made.species]
        of_species = made.network.of_species
        made.take_weights({name: value[rows] if name in of_species else value for name, value in weights.items()})
        return made

    def with_settings(self, **changed: Any) -> Self:
        """A copy with other settings and the same weights; what an optimiser knew is forgotten.

        Raises
        ------
        InputError
            For a setting that is impossible or asks for other weights.
        """
        made = type(self)(**{**self.settings, **changed}, device=str(self.device))
        made.take_weights(self.network.state_dict())
        return made

    def start_here(self, anchor: Sequence[Atoms] = (), outside: Sequence[Atoms] = ()) -> None:
        """Let later fits begin from the present weights, and not from scratch; files keep them.

        Parameters
        ----------
        anchor
            Structures that are learned beside all data, as many in a batch as there are data, with the labels that the force
            field gives them now: they hold what it knows.
        outside
            Structures on which :meth:`force_shift` says how far it has moved.

        Raises
        ------
        InputError
            If nothing has been learned yet, or the structures hold a species that it does not know.
        """
        calculator = self.calculator()
        self._start = Start(
            {name: value.clone() for name, value in self.network.state_dict().items()},
            labelled_by(calculator, anchor),
            labelled_by(calculator, outside),
            self.network.reference.cpu().numpy().copy(),
        )

    def force_shift(self) -> float | None:
        """Mean change since :meth:`start_here` of the force components on structures outside, eV/Å; None without any."""
        return None if self._start is None else self._start.force_shift(self.calculator())

    def _anchor(self) -> list[GraphSample]:
        """Samples that are learned beside all data."""
        if self._start is None or not self._start.anchor:
            return []
        kinds = [self._known.of(atoms) for atoms in self._start.anchor]
        return self.samples(self._start.anchored(self.network.reference.cpu().numpy(), kinds))

    def _frame(self, atoms: Atoms, seen: NDArray[np.bool_] | None = None) -> Frame:
        return frame_of(atoms, self._known.of(atoms, seen), self.cutoff)

    def _evaluator(self, pairs_at_once: int | None) -> Evaluator:
        precision = _PRECISIONS[self.settings["precision"]]
        return Evaluator(self.network, self.cutoff, self.device, precision, pairs_at_once)

    def _check_trained(self) -> None:
        if not bool(self.network.seen.any()):
            raise InputError("the force field has learned nothing yet; call fit first, or load a trained one")

    def _seeded_network(self, seed: int) -> MessagePassingNetwork:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return frozen(self.new_network(), self.settings.get("freeze", [])).to(self.device)

    def _begin(self, samples: Sequence[GraphSample], seed: int) -> None:
        """Weights with which a fit begins."""
        self.network = self._seeded_network(seed)
        if self._start is None:
            set_scales(self.network, samples)
        else:
            self.network.load_state_dict(self._start.weights)
            self._meet(samples)
            self._refit_offsets(samples)

    def _meet(self, samples: Sequence[GraphSample]) -> None:
        """Count the samples' species as seen."""
        present = np.bincount(np.concatenate([s.frame.kind for s in samples]), minlength=len(self.species)) > 0
        self.network.seen |= torch.from_numpy(present).to(self.device)

    def _optimiser(self) -> torch.optim.Optimizer:
        learned = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        return torch.optim.Adam(learned or self.network.parameters(), lr=1e-3, betas=(0.9, 0.99))

    def _training(
        self,
        samples: Sequence[GraphSample],
        optimiser: torch.optim.Optimizer,
        draws: Draws,
        rate: Callable[[int], float],
        steps: int,
    ) -> Training:
        def loss(batch: list[int]) -> Tensor:
            return loss_of(self.network, [samples[i] for i in batch], self.device)

        return Training(self.network, optimiser, loss, draws, rate, steps)

    def _whole_set(
        self,
        samples: Sequence[GraphSample],
        rate: Callable[[int], float],
        steps: int,
        seed: int,
        progress: Callable[[int, int, float], None] | None,
        checkpoint: str | Path | None,
        deadline: float | None,
    ) -> Course:
        """Train on batches of the whole set, with a new optimiser."""
        size, anchor = int(self.settings["batch_size"]), self._anchor()
        sets = [len(part) for part in (samples, anchor) if part]
        draws = Draws(sets, [size] * len(sets), seed)
        samples = [*samples, *anchor]
        task = "" if checkpoint is None else self._task(samples, [rate(step) for step in range(steps)], seed)
        training = self._training(samples, self._optimiser(), draws, rate, steps)
        return self._run(training, progress, checkpoint=checkpoint, task=task, deadline=deadline)

    def _run(self, training: Training, progress: Callable[[int, int, float], None] | None = None, **how: Any) -> Course:
        if not any(parameter.requires_grad for parameter in self.network.parameters()):
            return Course()  # all is frozen: no steps, and then energies of the species
        with deterministic():
            course = training.run(progress, **how)
        self._optimiser_state = training.optimiser.state_dict()
        return course

    def _task(self, samples: Sequence[GraphSample], rates: list[float], seed: int) -> str:
        """Hash of what a training of the whole set depends on."""
        labels: list[Any] = []
        for sample in samples:
            label = sample.label
            labels += [sample.frame.kind, sample.frame.pairs.vec, label.energy, label.forces, label.force_weight]
            labels.append(None if label.stress is None else label.stress)
        weights = [value for _, value in sorted(self.network.state_dict().items())]
        return task_key(self.settings, rates, seed, *weights, *labels)

    def _report(self, course: Course, samples: Sequence[GraphSample], judged: Sequence[Atoms]) -> TrainReport:
        """Set the energies of the species to what suits the samples best, if training came to its end, and measure errors."""
        if course.finished and not course.diverged:
            self._refit_offsets(samples)
        cost = round(course.steps * self._cost(samples))
        return TrainReport(course.steps, course.loss, self.errors(judged), course.finished, cost)

    def _cost(self, samples: Sequence[GraphSample]) -> float:
        """Mean number of atoms in a batch."""
        size = int(self.settings["batch_size"])
        anchor = [] if self._start is None else self._start.anchor
        parts = ([len(sample.frame.kind) for sample in samples], [len(atoms) for atoms in anchor])
        return sum(min(size, len(part)) * sum(part) / len(part) for part in parts if part)

    def _refit_offsets(self, samples: Sequence[GraphSample]) -> None:
        n_species = len(self.species)
        fractions = np.array([np.bincount(s.frame.kind, minlength=n_species) / len(s.frame.kind) for s in samples])
        with deterministic(), torch.no_grad():
            outputs = [outputs_of(self.network, sample, self.device) for sample in samples]
        reference = self.network.reference.cpu().numpy()
        residuals = [
            (s.label.energy - (reference[s.frame.kind] + out).sum()) / len(s.frame.kind)
            for s, out in zip(samples, outputs, strict=True)
        ]
        if np.isfinite(residuals).all():
            self.network.reference += torch.from_numpy(species_offsets(fractions, residuals)).to(self.device)


def _moved(state: Any, device: torch.device) -> Any:
    """Nested containers with their tensors on a device."""
    if isinstance(state, Tensor):
        return state.to(device)
    if isinstance(state, dict):
        return {key: _moved(value, device) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(_moved(value, device) for value in state)
    return state


def _check(settings: dict[str, Any]) -> None:
    for label in ("cutoff", "fit_learning_rate"):
        if not (is_number(settings[label]) and settings[label] > 0):
            raise InputError(f"{label} must be a positive number, got {settings[label]!r}")
    for label in ("fit_steps", "batch_size"):
        if not is_whole(settings[label]) or settings[label] < 1:
            raise InputError(f"{label} must be a whole number, at least 1, got {settings[label]!r}")
    if settings["precision"] not in _PRECISIONS:
        raise InputError(f"precision must be single or double, got {settings['precision']!r}")


def _check_rate(lr: float) -> None:
    if not (np.isfinite(lr) and lr > 0):
        raise InputError(f"lr must be positive, got {lr}")


def _checked_steps(steps: int) -> int:
    if int(steps) != steps or steps < 1:
        raise InputError(f"steps must be a whole number, at least 1, got {steps}")
    return int(steps)
