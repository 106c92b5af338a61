"""What a sampler is: a protocol, and a registry of the known ones.

A :class:`Sampler` is a small immutable set of settings. :meth:`Sampler.start` takes atoms, a random generator and the memory
of an earlier segment, and returns a :class:`Motion`, which moves the atoms one step at a time and can return its memory.
Molecular dynamics is ASE's; no equation of motion is integrated here.

Two rules make a resumed run equal an uninterrupted one to the bit. A motion may carry nothing from one step to the next
except positions, momenta, cell, generator and what :meth:`Motion.memory` returns; and the calculator must be a pure function
of the frame. ASE's own EMT and Lennard-Jones calculators are *not*: their neighbour lists are reused over several frames, so
the order of summation, and with it the last bit, depends on earlier frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from idealflow.core.dynamics.outcome import Observation
from idealflow.core.dynamics.state import MDState
from idealflow.core.setting_types import check_settings
from idealflow.errors import InputError, did_you_mean

__all__ = [
    "Motion",
    "Sampler",
    "available_samplers",
    "check_memory",
    "get_sampler",
    "register_sampler",
    "sampler_from_dict",
    "sampler_to_dict",
]


class Motion(Protocol):
    """A sampler at work on one ``Atoms`` object, which it moves in place.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> state = MDState.initial(bulk("Cu", cubic=True), temperature=300.0, seed=0)
    >>> atoms = state.atoms()
    >>> atoms.calc = EMT()
    >>> motion = get_sampler("nve").start(state, atoms, state.rng(), 300.0)
    >>> motion.step(300.0)
    >>> motion.observe().forces.shape, motion.memory()
    ((4, 3), {})
    """

    def step(self, temperature: float) -> None:
        """Move one step at the target temperature, K."""

    def observe(self) -> Observation:
        """Energy, forces and temperature of the current frame."""

    def memory(self) -> dict[str, NDArray[Any]]:
        """Return everything that the next step depends on besides atoms and generator, as arrays by name."""


@runtime_checkable
class Sampler(Protocol):
    """Settings of one way to move atoms, a frozen dataclass. Add your own with :func:`register_sampler`.

    Examples
    --------
    >>> isinstance(get_sampler("langevin"), Sampler)
    True
    """

    name: ClassVar[str]

    def time_step(self, state: MDState) -> float:
        """Return the time of one step, fs; NaN if steps have no time."""

    def check(self, state: MDState) -> None:
        """Raise InputError if this sampler cannot move such a state."""

    def start(self, state: MDState, atoms: Atoms, rng: np.random.Generator, temperature: float) -> Motion:
        """Start moving ``atoms``, which hold the state's frame and a calculator, with random numbers from ``rng``."""


def check_memory(name: str, own: frozenset[str], state: MDState) -> None:
    """Refuse a state with the memory of another sampler: dropping it silently would hide a mistake.

    Parameters
    ----------
    name
        Name of this sampler.
    own
        Names of the arrays in its memory.
    state
        The state to start from.

    Raises
    ------
    InputError
        If the state's memory has other names.

    Examples
    --------
    >>> from ase import Atoms
    >>> check_memory("nve", frozenset(), MDState.initial(Atoms("Cu"), temperature=None, seed=0))
    """
    found = frozenset(state.sampler_state)
    if found and found != own:
        raise InputError(
            f"the state holds the memory of another sampler than {name!r}, {sorted(found)}; pass "
            "state.without_memory() when changing the sampler"
        )


_REGISTRY: dict[str, type[Sampler]] = {}
S = TypeVar("S", bound=Sampler)


def register_sampler(sampler: type[S]) -> type[S]:
    """Make a sampler, a frozen dataclass, available under its ``name``; a class decorator.

    Raises
    ------
    InputError
        If it is no dataclass.

    Examples
    --------
    >>> from idealflow.core.dynamics import LangevinSampler
    >>> register_sampler(LangevinSampler) is LangevinSampler
    True
    """
    if not is_dataclass(sampler):
        raise InputError(f"a sampler is a frozen dataclass of settings, got {sampler!r}; decorate it")
    _REGISTRY[sampler.name] = sampler
    return sampler


def available_samplers() -> list[str]:
    """Names that :func:`get_sampler` knows.

    Examples
    --------
    >>> [name for name in available_samplers() if name in ("langevin", "nve", "npt", "bussi", "monte-carlo")]
    ['bussi', 'langevin', 'monte-carlo', 'npt', 'nve']
    """
    return sorted(_REGISTRY)


def get_sampler(name: str, **settings: Any) -> Sampler:
    """Build a sampler from its name and settings.

    Raises
    ------
    InputError
        If the name or a setting is unknown, or a setting has the wrong type or an impossible value.

    Examples
    --------
    >>> get_sampler("langevin", friction=0.02)
    LangevinSampler(timestep=None, friction=0.02)
    """
    if not isinstance(name, str) or name not in _REGISTRY:
        raise InputError(
            f"unknown sampler {name!r}{did_you_mean(name, _REGISTRY)}; available: {', '.join(available_samplers())}"
        )
    sampler_class: Any = _REGISTRY[name]
    known = [setting.name for setting in fields(sampler_class)]
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise InputError(
            f"sampler {name!r} has no setting {unknown[0]!r}{did_you_mean(unknown[0], known)}; its settings are "
            f"{', '.join(known)}"
        )
    try:
        check_settings(sampler_class, settings)
    except InputError as error:
        raise InputError(f"sampler {name!r}: {error}") from error
    sampler: Sampler = sampler_class(**settings)
    return sampler


def sampler_to_dict(sampler: Sampler) -> dict[str, Any]:
    """Write a sampler as plain data, for documents; inverse of :func:`sampler_from_dict`.

    Examples
    --------
    >>> sampler_to_dict(get_sampler("nve", timestep=2.0))
    {'name': 'nve', 'timestep': 2.0}
    """
    settings: Any = sampler
    return {"name": sampler.name, **asdict(settings)}


def sampler_from_dict(data: Mapping[str, Any]) -> Sampler:
    """Build the sampler that :func:`sampler_to_dict` wrote; errors are those of :func:`get_sampler`.

    Examples
    --------
    >>> sampler_from_dict({"name": "nve", "timestep": 2.0})
    NVESampler(timestep=2.0)
    """
    return get_sampler(**data)
