"""Base of the force fields whose model is a torch module: species, weights, and where learning began."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray
from torch import Tensor

from idealflow.errors import InputError
from idealflow.forcefields.species import KnownSpecies
from idealflow.forcefields.toolkit.start import Start, labelled_by

__all__ = ["S", "TorchForceField"]

S = TypeVar("S")  #: a labelled structure as the model reads it


class TorchForceField(ABC, Generic[S]):
    """A force field whose model is a torch module.

    Parameters
    ----------
    settings
        Arguments of the derived class, plain JSON, by which its file makes it again; ``species`` is among them.

    Raises
    ------
    InputError
        For species that are no chemical symbols.

    Examples
    --------
    >>> from idealflow.forcefields.local import LocalForceField
    >>> isinstance(LocalForceField(["Cu"]), TorchForceField)
    True
    """

    name: ClassVar[str]

    def __init__(self, settings: dict[str, Any]) -> None:
        self._known = KnownSpecies(settings["species"])
        self.species: tuple[str, ...] = self._known.symbols
        self.settings: dict[str, Any] = {**settings, "species": list(self.species)}
        self._optimiser_state: dict[str, Any] | None = None
        self._start: Start | None = None

    @property
    @abstractmethod
    def module(self) -> torch.nn.Module:
        """What learns; its buffer ``seen`` tells the species that were in training, ``reference`` has their energies in eV."""

    @abstractmethod
    def calculator(self) -> Calculator:
        """ASE calculator of energy, forces and stress."""

    @abstractmethod
    def samples(self, dataset: Sequence[Atoms]) -> list[S]:
        """Prepare labelled structures for training: their neighbours and labels.

        Raises
        ------
        InputError
            For an empty dataset, missing or non-finite labels or positions, or a species that it was not made for.
        """

    @property
    def n_parameters(self) -> int:
        """Number of learned parameters; frozen ones do not count."""
        return sum(parameter.numel() for parameter in self._learned())

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
            {name: value.clone() for name, value in self.module.state_dict().items()},
            labelled_by(calculator, anchor),
            labelled_by(calculator, outside),
            self._buffer("reference").copy(),
        )

    def force_shift(self) -> float | None:
        """Mean change since :meth:`start_here` of the force components on structures outside, eV/Å; None without any."""
        return None if self._start is None else self._start.force_shift(self.calculator())

    def copy(self) -> Self:
        """An independent copy."""
        return copy.deepcopy(self)

    def take_weights(self, weights: dict[str, Tensor]) -> None:
        """Take over the state of a trained model, scales and references included; what an optimiser knew is forgotten.

        Raises
        ------
        InputError
            If names or shapes are not those of this force field's model.

        Examples
        --------
        >>> from idealflow.forcefields import get_force_field
        >>> one, other = (get_force_field("m3gnet", species=["Cu"], n_blocks=1, units=4) for _ in range(2))
        >>> other.take_weights({**one.network.state_dict(), "seen": torch.ones(1, dtype=torch.bool)})
        >>> type(other.calculator()).__name__
        'MessagePassingCalculator'
        """
        try:
            self.module.load_state_dict(weights)
        except RuntimeError as error:
            cause = " ".join(str(error).split())
            raise InputError(
                f"these weights do not fit the settings of the force field {self.name!r}: {cause}"
            ) from error
        self._optimiser_state = None

    def with_settings(self, **changed: Any) -> Self:
        """A copy with other settings and the same weights; what an optimiser knew is forgotten.

        Raises
        ------
        InputError
            For a setting that is impossible or asks for other weights.
        """
        made = self._made({**self.settings, **changed})
        made.take_weights(self.module.state_dict())
        return made

    def _made(self, settings: dict[str, Any]) -> Self:
        """An untrained one with these settings, where this one is."""
        return type(self)(**settings)

    def _buffer(self, name: str) -> NDArray[Any]:
        values: NDArray[Any] = self.module.get_buffer(name).cpu().numpy()
        return values

    def _check_trained(self) -> None:
        if not self._buffer("seen").any():
            raise InputError("the force field has learned nothing yet; call fit first, or load a trained one")

    @property
    def _seen_kinds(self) -> Callable[[Atoms], NDArray[np.int64]]:
        """Function of the species index of every atom, which refuses species that were never trained on."""
        return partial(self._known.of, seen=self._buffer("seen").copy())

    def _anchor(self) -> list[S]:
        """Samples that are learned beside all data."""
        if self._start is None or not self._start.anchor:
            return []
        kinds = [self._known.of(atoms) for atoms in self._start.anchor]
        return self.samples(self._start.anchored(self._buffer("reference"), kinds))

    def _learned(self) -> list[torch.nn.Parameter]:
        return [parameter for parameter in self.module.parameters() if parameter.requires_grad]
