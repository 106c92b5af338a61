"""The complete state of a walker: everything the next MD step depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import FixCom
from ase.md.velocitydistribution import thermalize_momenta
from numpy.typing import NDArray

from idealflow.core.archive import read_archive, write_archive
from idealflow.core.dynamics.startable import check_atoms
from idealflow.core.fixed_atoms import constraints_of, fixed_directions, set_fixed
from idealflow.core.structure import totals_of
from idealflow.errors import InputError

__all__ = ["MDState", "frame_arrays", "motion_constraints"]

#: arrays by name, as files hold them
Arrays = Mapping[str, NDArray[Any]]

_FILE_TYPE = "idealflow MD state"
_VERSION = 1
_OWN_ARRAYS = ("numbers", "positions", "momenta", "masses")


@dataclass(frozen=True, eq=False)
class MDState:
    """State of one walker at one frame: immutable, with read-only copies of arrays; :meth:`initial` makes the first.

    Together with the calculator, the schedule and the sampler's settings it determines every later frame to the bit.

    Parameters
    ----------
    numbers : (n_atoms,) int
        Atomic numbers.
    positions : (n_atoms, 3), Å
        Unwrapped: atoms that leave the cell are not moved back into it.
    momenta : (n_atoms, 3), √(u·eV), ASE's unit
    masses : (n_atoms,), u
    cell : (3, 3), Å
    pbc : (3,) bool
    fixed : (n_atoms,) bool
        Atoms that never move.
    held : (n_atoms, 3) bool, or None
        Cartesian directions in which the other atoms are fixed; None if there are none.
    step
        Number of this frame, counted from the start of the walker.
    rng_state
        ``bit_generator.state`` of the PCG64 generator of the walker.
    sampler_state
        Memory of the sampler besides positions, momenta and cell, for instance a barostat's momentum; arrays by name.
    extra
        Other numeric per-atom arrays of the structure (initial magnetic moments, tags, ...), which stay unchanged.
    totals
        ``charge`` (e) and ``spin`` (multiplicity) of the whole structure, if it has them.

    Examples
    --------
    >>> from ase.build import bulk
    >>> state = MDState.initial(bulk("Cu", cubic=True) * 2, temperature=300.0, seed=1)
    >>> state.step, state.n_atoms, bool(abs(state.momenta.sum()) < 1e-9)
    (0, 32, True)
    >>> MDState.from_arrays(*state.to_arrays()).digest() == state.digest()
    True
    """

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    momenta: NDArray[np.float64]
    masses: NDArray[np.float64]
    cell: NDArray[np.float64]
    pbc: NDArray[np.bool_]
    fixed: NDArray[np.bool_]
    step: int
    rng_state: Mapping[str, Any]
    sampler_state: Arrays = field(default_factory=dict)
    extra: Arrays = field(default_factory=dict)
    held: NDArray[np.bool_] | None = None
    totals: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        dtypes = {
            "numbers": np.int64, "positions": np.float64, "momenta": np.float64, "masses": np.float64,
            "cell": np.float64, "pbc": np.bool_, "fixed": np.bool_,
        }  # fmt: skip
        for name, dtype in dtypes.items():
            object.__setattr__(self, name, _frozen(getattr(self, name), dtype))
        for name in ("sampler_state", "extra"):
            object.__setattr__(self, name, {key: _frozen(value) for key, value in getattr(self, name).items()})
        held = None if self.held is None else np.asarray(self.held, dtype=bool) & ~self.fixed[:, None]
        object.__setattr__(self, "held", None if held is None or not held.any() else _frozen(held))

    @property
    def fixed_directions(self) -> NDArray[np.bool_]:
        """(n_atoms, 3): Cartesian directions in which each atom is fixed."""
        whole = np.repeat(self.fixed[:, None], 3, axis=1)
        return whole if self.held is None else whole | self.held

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.numbers)

    @classmethod
    def initial(cls, atoms: Atoms, temperature: float | None, seed: int | Sequence[int]) -> MDState:
        """Make the state at step 0.

        Parameters
        ----------
        atoms
            Structure; its constraints say which atoms are fixed (``FixAtoms``), or in which Cartesian directions.
        temperature
            Momenta are drawn from the Maxwell–Boltzmann distribution at this temperature, K; their sum is zero unless atoms are
            fixed. None keeps the momenta of ``atoms``.
        seed
            Seed of the walker's generator, which draws the momenta and is then used by the sampler.

        Raises
        ------
        InputError
            If the temperature is negative or not finite, or dynamics cannot start from the structure.
        """
        check_atoms(atoms)
        if temperature is not None and not (np.isfinite(temperature) and temperature >= 0.0):
            raise InputError(f"the start temperature must be at least 0 K and finite, got {temperature}; give kelvin")
        rng = np.random.Generator(np.random.PCG64(seed))
        directions = fixed_directions(atoms)
        fixed = np.asarray(directions.all(axis=1), dtype=np.bool_)
        work = atoms.copy()
        work.calc = None
        if temperature is not None:
            work.set_constraint(motion_constraints(directions))
            thermalize_momenta(work, temperature, rng=rng)
        extra = {
            name: array for name, array in work.arrays.items() if name not in _OWN_ARRAYS and array.dtype.kind in "bifu"
        }
        return cls(
            numbers=work.numbers,
            positions=work.positions,
            momenta=work.get_momenta(),
            masses=work.get_masses(),
            cell=np.asarray(work.cell),
            pbc=work.pbc,
            fixed=fixed,
            step=0,
            rng_state=rng.bit_generator.state,
            extra=extra,
            held=directions,
            totals=totals_of(atoms),
        )

    def atoms(self) -> Atoms:
        """Return a new ``Atoms`` of this frame, unwrapped, with momenta, and constraints if atoms are fixed."""
        atoms = Atoms(numbers=self.numbers, positions=self.positions, cell=self.cell, pbc=self.pbc, masses=self.masses)
        atoms.set_momenta(self.momenta)
        for name, array in self.extra.items():
            atoms.set_array(name, array)
        atoms.info.update(self.totals)
        set_fixed(atoms, self.fixed_directions)
        return atoms

    def rng(self) -> np.random.Generator:
        """Return a generator that continues exactly where this state left it."""
        generator = np.random.Generator(np.random.PCG64())
        generator.bit_generator.state = dict(self.rng_state)
        return generator

    def advanced(self, atoms: Atoms, step: int, rng: np.random.Generator, sampler_state: Arrays) -> MDState:
        """Return the state of the same walker at another frame, that of ``atoms``."""
        return replace(
            self,
            positions=atoms.positions,
            momenta=atoms.arrays["momenta"],
            cell=np.asarray(atoms.cell),
            step=step,
            rng_state=rng.bit_generator.state,
            sampler_state=sampler_state,
        )

    def without_memory(self) -> MDState:
        """Return the same frame without the sampler's memory, as a walker needs it to go on with another sampler."""
        return replace(self, sampler_state={})

    def digest(self) -> str:
        """Sha256 of the complete state, as hexadecimal digits."""
        arrays, meta = self.to_arrays()
        digest = hashlib.sha256(json.dumps(meta, sort_keys=True).encode())
        for name in sorted(arrays):
            digest.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}".encode())
            digest.update(np.ascontiguousarray(arrays[name]).tobytes())
        return digest.hexdigest()

    def to_arrays(self) -> tuple[Arrays, dict[str, Any]]:
        """Split into named arrays and JSON-serialisable metadata; inverse of :meth:`from_arrays`."""
        arrays = {
            "numbers": self.numbers, "positions": self.positions, "momenta": self.momenta, "masses": self.masses,
            "cell": self.cell, "pbc": self.pbc, "fixed": self.fixed,
            **{f"sampler.{name}": array for name, array in self.sampler_state.items()},
            **{f"extra.{name}": array for name, array in self.extra.items()},
            **{f"total.{name}": np.array(value) for name, value in self.totals.items()},
            **({} if self.held is None else {"held": self.held}),
        }  # fmt: skip
        return arrays, {"step": int(self.step), "rng_state": dict(self.rng_state)}

    @classmethod
    def from_arrays(cls, arrays: Arrays, meta: Mapping[str, Any]) -> MDState:
        """Build the state that :meth:`to_arrays` wrote; arrays of unknown names are ignored."""
        groups: dict[str, dict[str, NDArray[Any]]] = {"sampler": {}, "extra": {}, "total": {}}
        for name, array in arrays.items():
            group, dot, key = name.partition(".")
            if dot and group in groups:
                groups[group][key] = array
        return cls(
            numbers=arrays["numbers"],
            positions=arrays["positions"],
            momenta=arrays["momenta"],
            masses=arrays["masses"],
            cell=arrays["cell"],
            pbc=arrays["pbc"],
            fixed=arrays["fixed"],
            step=meta["step"],
            rng_state=meta["rng_state"],
            sampler_state=groups["sampler"],
            extra=groups["extra"],
            held=arrays.get("held"),
            totals={name: float(value) for name, value in groups["total"].items()},
        )

    def save(self, path: str | Path) -> Path:
        """Write to one ``.npz`` file, atomically and exactly; equal states give equal bytes."""
        arrays, meta = self.to_arrays()
        return write_archive(path, _FILE_TYPE, _VERSION, arrays, meta)

    @classmethod
    def load(cls, path: str | Path) -> MDState:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ArtifactError
            If the file is missing, cut short, damaged or foreign.
        """
        return cls.from_arrays(*read_archive(path, _FILE_TYPE, _VERSION))


def frame_arrays(arrays: Arrays) -> Arrays:
    """Rename the arrays of an MD state to those of its frame, as :func:`idealflow.core.structure.from_arrays` reads them.

    Examples
    --------
    >>> from idealflow.core.structure import from_arrays
    >>> arrays, _ = MDState.initial(Atoms("Cu", info={"charge": 1.0}), temperature=None, seed=0).to_arrays()
    >>> from_arrays(frame_arrays(arrays)).info
    {'charge': 1.0}
    """
    names = {"extra.initial_magmoms": "moments", "total.charge": "charge", "total.spin": "spin"}
    frame = {names.get(name, name): array for name, array in arrays.items()}
    if "held" in frame:
        frame["fixed"] = frame["held"] | frame["fixed"][:, None]
    return frame


def _frozen(value: Any, dtype: Any = None) -> NDArray[Any]:
    array = np.array(value, dtype=dtype)
    array.setflags(write=False)
    return array


def motion_constraints(fixed: NDArray[np.bool_]) -> list[Any]:
    """Constraints for ASE's integrators: fixed directions, (n, 3) bool; if none is fixed, the centre of mass of several atoms.

    Examples
    --------
    >>> [type(one).__name__ for one in motion_constraints(np.zeros((4, 3), dtype=bool))]
    ['FixCom']
    """
    if fixed.any():
        return [*constraints_of(fixed)]
    return [FixCom()] if len(fixed) > 1 else []
