"""What a sampler is: a protocol, and a registry of the known ones.

A :class:`Sampler` is a small immutable bag of settings. :meth:`Sampler.start` binds it to atoms, a generator and the
memory of an earlier stretch, and gives a :class:`Motion`, which moves the atoms one step at a time and can tell its
memory. Molecular dynamics is ASE's; nothing is integrated here.

Exactness rests on two rules. A motion may carry nothing from one step to the next beyond positions, momenta, cell,
generator and what :meth:`Motion.memory` returns; and the calculator must be a pure function of the frame. ASE's own
EMT and Lennard-Jones calculators are *not*: their neighbour lists keep a skin, so the order of summation, and with it
the last bit, depends on earlier frames.
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
    """A sampler at work on one ``Atoms`` object, which it moves in place."""

    def step(self, temperature: float) -> None:
        """Move one step at the target temperature, K."""

    def observe(self) -> Observation:
        """Energy, forces and temperature of the current frame."""

    def memory(self) -> dict[str, NDArray[Any]]:
        """Everything carried to the next step that is not in the atoms or the generator."""


@runtime_checkable
class Sampler(Protocol):
    """Settings of one way to move atoms.

    Third parties add theirs with :func:`register_sampler`; a frozen dataclass is the usual shape.
    """

    name: ClassVar[str]

    def time_step(self, state: MDState) -> float:
        """Return the time of one step, fs; NaN if steps have no time."""

    def check(self, state: MDState) -> None:
        """Raise InputError if this sampler cannot move such a state."""

    def start(self, state: MDState, atoms: Atoms, rng: np.random.Generator, temperature: float) -> Motion:
        """Bind to ``atoms`` (which hold the state's frame and a calculator), drawing from ``rng``."""


def check_memory(name: str, own: frozenset[str], state: MDState) -> None:
    """Refuse a state whose sampler memory is not this sampler's: silently dropping it would hide a mistake."""
    found = frozenset(state.sampler_state)
    if found and found != own:
        raise InputError(
            f"the state holds the memory of another sampler than {name!r}, {sorted(found)}; pass "
            "state.without_memory() when changing the sampler"
        )


_REGISTRY: dict[str, type[Sampler]] = {}
S = TypeVar("S", bound=Sampler)


def register_sampler(sampler: type[S]) -> type[S]:
    """Make a sampler, a frozen dataclass, available under its ``name``; usable as a class decorator."""
    if not is_dataclass(sampler):
        raise InputError(f"a sampler is a frozen dataclass of settings, got {sampler!r}; decorate it")
    _REGISTRY[sampler.name] = sampler
    return sampler


def available_samplers() -> list[str]:
    """Names that :func:`get_sampler` knows."""
    return sorted(_REGISTRY)


def get_sampler(name: str, **settings: Any) -> Sampler:
    """Build a sampler from its name and settings.

    Raises
    ------
    InputError
        If the name or a setting is unknown, a setting is not of the type that its field is annotated with, or is impossible.
    """
    if not isinstance(name, str) or name not in _REGISTRY:
        raise InputError(
            f"unknown sampler {name!r}{did_you_mean(name, _REGISTRY)}; available: {', '.join(available_samplers())}"
        )
    kind: Any = _REGISTRY[name]
    known = [setting.name for setting in fields(kind)]
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise InputError(
            f"sampler {name!r} has no setting {unknown[0]!r}{did_you_mean(unknown[0], known)}; its settings are "
            f"{', '.join(known)}"
        )
    try:
        check_settings(kind, settings)
    except InputError as error:
        raise InputError(f"sampler {name!r}: {error}") from error
    sampler: Sampler = kind(**settings)
    return sampler


def sampler_to_dict(sampler: Sampler) -> dict[str, Any]:
    """Plain form of a dataclass sampler, for documents; inverse of :func:`sampler_from_dict`."""
    settings: Any = sampler
    return {"name": sampler.name, **asdict(settings)}


def sampler_from_dict(data: Mapping[str, Any]) -> Sampler:
    """Rebuild from :func:`sampler_to_dict`."""
    return get_sampler(**data)
