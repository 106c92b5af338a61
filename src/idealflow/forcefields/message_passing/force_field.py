"""Base of force fields by message passing: all that a campaign asks of one, around the network of its architecture."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray
from torch import Tensor

from idealflow.errors import ArtifactError, InputError
from idealflow.forcefields.dataset import check_dataset, errors_of_predictions
from idealflow.forcefields.message_passing.calculator import (
    MessagePassingCalculator,
    MessagePassingEnergies,
    predictions,
)
from idealflow.forcefields.message_passing.devices import chosen_device, deterministic
from idealflow.forcefields.message_passing.evaluation import Evaluator
from idealflow.forcefields.message_passing.freezing import frozen
from idealflow.forcefields.message_passing.graph import Frame, frame_of
from idealflow.forcefields.message_passing.network import MessagePassingNetwork
from idealflow.forcefields.message_passing.training import GraphSample, loss_of, outputs_of, set_scales
from idealflow.forcefields.toolkit.checkpoint import read_checkpoint, write_checkpoint
from idealflow.forcefields.toolkit.learner import GradientLearner, Phase
from idealflow.forcefields.toolkit.offsets import species_offsets
from idealflow.forcefields.toolkit.settings import check_positive, check_whole
from idealflow.forcefields.toolkit.start import Start
from idealflow.forcefields.toolkit.training import Course, Training

__all__ = ["MessagePassingForceField"]

_PRECISIONS = {"single": torch.float32, "double": torch.float64}


class MessagePassingForceField(GradientLearner[GraphSample]):
    """A force field whose network passes messages between atoms.

    An architecture derives a class: a ``name``, a constructor that hands its settings on, and :meth:`new_network`. Learning is in
    single precision, and ends with the energies of the species that suit the data best. Results are the same to the bit for the
    same data, seed, machine type, device and torch thread count.

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

    def __init__(self, settings: dict[str, Any], device: str | None = None) -> None:
        super().__init__(settings)
        _check(self.settings)
        self.cutoff = float(settings["cutoff"])
        self.device = chosen_device(device)
        self.network = self._seeded_network(0)

    @property
    def module(self) -> MessagePassingNetwork:
        """The network."""
        return self.network

    @abstractmethod
    def new_network(self) -> MessagePassingNetwork:
        """A network with random weights, as the settings have it."""

    @property
    def reach(self) -> float:
        """Distance up to which other atoms can change an atom's energy, Å: one cutoff a layer."""
        return self.network.n_layers * self.cutoff

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
        kinds = self._seen_kinds
        return MessagePassingCalculator(self._evaluator(pairs_at_once), lambda atoms: self._frame(atoms, kinds))

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

    def errors(self, dataset: Sequence[Atoms]) -> NDArray[np.float64]:
        """Absolute errors of each structure, (n, 3): energy eV/atom, mean force eV/Å, mean stress eV/Å³ (NaN if absent).

        They are computed many structures at once, and equal those of a calculator but for rounding.
        """
        self._check_trained()
        targets, kinds = check_dataset(dataset, self.species), self._seen_kinds
        frames = [self._frame(atoms, kinds) for atoms in dataset]
        return errors_of_predictions(predictions(self._evaluator(None), frames), targets)

    def samples(self, dataset: Sequence[Atoms]) -> list[GraphSample]:
        """Prepare labelled structures for training: their neighbours and labels.

        Raises
        ------
        InputError
            For an empty dataset, missing or non-finite labels or positions, or a species that it was not made for.
        """
        targets = check_dataset(dataset, self.species)
        return [GraphSample(self._frame(atoms), target) for atoms, target in zip(dataset, targets, strict=True)]

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
        made._take_species(known, weights)
        return made

    def _begin_with(
        self,
        pretrained: str,
        settings: dict[str, Any],
        known: list[str],
        weights: dict[str, Tensor],
        device: str | None,
    ) -> None:
        """What a constructor does for weights that have a name: the base's, with some of the species that they know."""
        if unknown := [symbol for symbol in settings["species"] if symbol not in known]:
            raise InputError(f"the weights {pretrained} do not know {', '.join(unknown)}; they know {', '.join(known)}")
        MessagePassingForceField.__init__(self, settings, device)
        self._take_species(known, weights)
        self.start_here()

    def _take_species(self, known: list[str], weights: dict[str, Tensor]) -> None:
        """Take over the rows of its species from weights that know these."""
        rows = [known.index(symbol) for symbol in self.species]
        of_species = self.network.of_species
        self.take_weights({name: value[rows] if name in of_species else value for name, value in weights.items()})

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

    def _made(self, settings: dict[str, Any]) -> Self:
        return type(self)(**settings, device=str(self.device))

    def _frame(self, atoms: Atoms, kinds: Callable[[Atoms], NDArray[np.int64]] | None = None) -> Frame:
        return frame_of(atoms, (kinds or self._known.of)(atoms), self.cutoff, undirected=self.network.undirected)

    def _evaluator(self, pairs_at_once: int | None) -> Evaluator:
        precision = _PRECISIONS[self.settings["precision"]]
        return Evaluator(self.network, self.cutoff, self.device, precision, pairs_at_once)

    def _seeded_network(self, seed: int) -> MessagePassingNetwork:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return frozen(self.new_network(), self.settings.get("freeze", [])).to(self.device)

    def _begin(self, samples: Sequence[GraphSample], seed: int) -> None:
        self.network = self._seeded_network(seed)
        if self._start is None:
            set_scales(self.network, samples)
        else:
            self.network.load_state_dict(self._start.weights)
            self._meet(samples, "fit")
            self._refit_offsets(samples)

    def _meet(self, samples: Sequence[GraphSample], phase: Phase) -> None:
        """Count the samples' species as seen; an update's are."""
        if phase != "update":
            present = np.bincount(np.concatenate([s.frame.kind for s in samples]), minlength=len(self.species)) > 0
            self.network.seen |= torch.from_numpy(present).to(self.device)

    def _settle(self, samples: Sequence[GraphSample], phase: Phase) -> Iterable[float]:  # noqa: ARG002  # all phases alike
        self._refit_offsets(samples)
        return []

    def _loss(self, batch: list[GraphSample]) -> Tensor:
        return loss_of(self.network, batch, self.device)

    def _size(self, sample: GraphSample) -> int:
        return len(sample.frame.kind)

    def _parts(self, sample: GraphSample) -> Iterable[Any]:
        frame, label = sample.frame, sample.label
        return frame.kind, frame.pairs.vec, label.energy, label.forces, label.force_weight, label.stress

    def _run(self, training: Training, progress: Callable[[int, int, float], None] | None = None, **how: Any) -> Course:
        with deterministic():
            return super()._run(training, progress, **how)

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
    check_positive(settings, "cutoff", "fit_learning_rate")
    check_whole(settings, "fit_steps", "batch_size")
    if settings["precision"] not in _PRECISIONS:
        raise InputError(f"precision must be single or double, got {settings['precision']!r}")
