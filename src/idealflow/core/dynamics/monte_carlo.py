"""Metropolis Monte Carlo as a sampler like those of molecular dynamics."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from idealflow.core.dynamics.outcome import Observation
from idealflow.core.dynamics.protocol import Motion, check_memory, register_sampler
from idealflow.core.dynamics.state import MDState
from idealflow.errors import InputError

__all__ = ["MonteCarloSampler"]


@register_sampler
@dataclass(frozen=True)
class MonteCarloSampler:
    """Canonical ensemble by displacing and swapping atoms (Metropolis et al., J. Chem. Phys. 21, 1087, 1953).

    One step is one trial. Either ``n_moved`` random free atoms are displaced uniformly within ±``max_displacement`` along
    each axis in which they are free; or, with probability ``swap_probability``, two atoms of different elements that are free
    in all directions change places. The trial is accepted with probability min(1, exp(−ΔE/kT)). The state's memory counts
    trials and acceptances.

    Parameters
    ----------
    max_displacement
        Largest displacement along an axis, Å.
    n_moved
        Number of atoms displaced together.
    swap_probability
        0 to 1; above 0 it needs two elements among the free atoms.

    Raises
    ------
    InputError
        If a setting is out of range.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from idealflow.core.dynamics import Schedule, Stage, md_segment
    >>> start = MDState.initial(bulk("Cu", cubic=True), temperature=None, seed=0)
    >>> hold = Schedule([Stage("hold", 300.0, steps=20)])
    >>> end = md_segment(EMT(), start, schedule=hold, sampler=MonteCarloSampler(max_displacement=0.05)).state
    >>> trials, accepted = end.sampler_state["trials_accepted"].tolist()
    >>> trials, 0 < accepted <= 20
    (20, True)
    """

    name: ClassVar[str] = "monte-carlo"
    max_displacement: float = 0.1
    n_moved: int = 1
    swap_probability: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.max_displacement) and self.max_displacement > 0.0):
            raise InputError(f"`max_displacement` must be positive, got {self.max_displacement} Å")
        if self.n_moved < 1:
            raise InputError(f"`n_moved` must be at least 1, got {self.n_moved}")
        if not 0.0 <= self.swap_probability <= 1.0:
            raise InputError(f"`swap_probability` must lie in 0 to 1, got {self.swap_probability}")

    def time_step(self, state: MDState) -> float:  # noqa: ARG002 - the protocol's signature
        """Return NaN: Monte Carlo steps have no time."""
        return math.nan

    def check(self, state: MDState) -> None:
        """Refuse a state without enough free atoms, or swaps within one element."""
        check_memory(self.name, frozenset({"trials_accepted"}), state)
        free = ~state.fixed
        if int(free.sum()) < self.n_moved:
            raise InputError(f"`n_moved`={self.n_moved} exceeds the {int(free.sum())} free atoms; lower it")
        loose = ~state.fixed_directions.any(axis=1)
        if self.swap_probability > 0.0 and len(np.unique(state.numbers[loose])) < 2:
            raise InputError("swaps need two elements among the free atoms, got one; set swap_probability=0")

    def start(self, state: MDState, atoms: Atoms, rng: np.random.Generator, temperature: float) -> Motion:  # noqa: ARG002 - the protocol's signature
        """Start moving ``atoms``."""
        return _MonteCarloMotion(self, state, atoms, rng)


class _MonteCarloMotion:
    def __init__(self, settings: MonteCarloSampler, state: MDState, atoms: Atoms, rng: np.random.Generator) -> None:
        self.settings = settings
        self.atoms = atoms
        self.rng = rng
        self.free = np.flatnonzero(~state.fixed)
        self.moves = ~state.fixed_directions
        self.loose = np.flatnonzero(self.moves.all(axis=1))
        self.counts = np.array(state.sampler_state.get("trials_accepted", np.zeros(2, dtype=np.int64)))
        self.energy = self._evaluate()

    def _evaluate(self) -> float:
        return float(self.atoms.get_potential_energy(apply_constraint=False))

    def _propose(self) -> NDArray[np.float64]:
        positions: NDArray[np.float64] = self.atoms.positions.copy()
        if self.settings.swap_probability > 0.0 and self.rng.random() < self.settings.swap_probability:
            first = self.rng.choice(self.loose)
            others = self.loose[self.atoms.numbers[self.loose] != self.atoms.numbers[first]]
            second = self.rng.choice(others)
            positions[[first, second]] = positions[[second, first]]
            return positions
        moved = self.rng.choice(self.free, size=self.settings.n_moved, replace=False)
        width = self.settings.max_displacement
        positions[moved] += self.rng.uniform(-width, width, size=(len(moved), 3)) * self.moves[moved]
        return positions

    def step(self, temperature: float) -> None:
        old = self.atoms.positions.copy()
        self.atoms.positions[:] = self._propose()
        energy = self._evaluate()
        rise = energy - self.energy
        chance = self.rng.random()  # always drawn, so that later random numbers do not depend on the outcome
        if math.isnan(rise):
            accepted = True  # the frame is kept, so that the segment sees it and reports a blow-up
        elif rise <= 0.0:
            accepted = True
        else:
            accepted = temperature > 0.0 and chance < math.exp(-rise / (units.kB * temperature))
        self.counts += (1, int(accepted))
        if accepted:
            self.energy = energy
        else:
            self.atoms.positions[:] = old

    def observe(self) -> Observation:
        return Observation(self.energy, None, math.nan)

    def memory(self) -> dict[str, NDArray[Any]]:
        return {"trials_accepted": self.counts.copy()}
