"""A uniform sample, of bounded size, of all labelled structures so far, each with a mask of the atoms that count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from idealflow.core.structure import set_label
from idealflow.errors import InputError
from idealflow.forcefields.dataset import targets_of

__all__ = ["KEPT", "KeptFrames"]

#: largest number of structures that are kept
KEPT = 128


class KeptFrames:
    """Sample of labelled structures in which every structure that was ever added is with equal probability.

    Attributes
    ----------
    frames
        The labelled structures of the sample.
    masks
        For each structure (n_atoms,) bool: the atoms that count as training environments.
    n_seen
        Structures added so far.

    Examples
    --------
    Of 300 structures 128 are kept:

    >>> import numpy as np
    >>> from ase.build import bulk
    >>> from idealflow.core.structure import set_label
    >>> labelled = [set_label(bulk("Cu"), energy=-3.5, forces=np.zeros((1, 3))) for _ in range(300)]
    >>> kept = KeptFrames().with_more(labelled, None, np.random.default_rng(0))
    >>> len(kept), kept.n_seen
    (128, 300)
    """

    def __init__(self) -> None:
        self.frames: list[Atoms] = []
        self.masks: list[NDArray[np.bool_]] = []
        self.n_seen = 0

    def __len__(self) -> int:
        return len(self.frames)

    def with_more(
        self, frames: Sequence[Atoms], masks: Sequence[ArrayLike] | None, rng: np.random.Generator
    ) -> KeptFrames:
        """Return the sample after more structures were added (Vitter's algorithm R); this one stays as it is.

        Raises
        ------
        InputError
            If masks are not one per structure and one value per atom.
        """
        if masks is not None and len(masks) != len(frames):
            raise InputError(f"masks must be one per structure, got {len(masks)} for {len(frames)}")
        more = KeptFrames()
        more.frames, more.masks, more.n_seen = [*self.frames], [*self.masks], self.n_seen
        for number, atoms in enumerate(frames):
            mask = np.ones(len(atoms), dtype=bool) if masks is None else np.asarray(masks[number], dtype=bool)
            if mask.shape != (len(atoms),):
                raise InputError(f"a mask must have one value per atom, {len(atoms)}, got shape {mask.shape}")
            slot = len(more.frames) if len(more.frames) < KEPT else int(rng.integers(0, more.n_seen + 1))
            more.n_seen += 1
            if slot < KEPT:
                more.frames[slot : slot + 1] = [_bare_copy(atoms)]
                more.masks[slot : slot + 1] = [mask]
        return more

    def drawn(self, n: int, rng: np.random.Generator) -> list[Atoms]:
        """Draw ``n`` different structures, or all if there are fewer."""
        return [self.frames[i] for i in rng.choice(len(self.frames), min(n, len(self.frames)), replace=False).tolist()]

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Write the whole sample, exactly, as arrays by name, for a file."""
        targets = [targets_of(atoms) for atoms in self.frames]
        none = np.full(6, np.nan)
        return {
            "sizes": np.array([len(atoms) for atoms in self.frames], dtype=np.int64),
            "numbers": np.concatenate([np.zeros(0, dtype=np.int64), *(atoms.numbers for atoms in self.frames)]),
            "positions": np.concatenate([np.zeros((0, 3)), *(atoms.positions for atoms in self.frames)]),
            "cells": np.array([atoms.cell.array for atoms in self.frames]).reshape(-1, 3, 3),
            "pbc": np.array([atoms.pbc for atoms in self.frames], dtype=bool).reshape(-1, 3),
            "masks": np.concatenate([np.zeros(0, dtype=bool), *self.masks]),
            "energies": np.array([target.energy for target in targets]),
            "forces": np.concatenate([np.zeros((0, 3)), *(target.forces for target in targets)]),
            "stresses": np.array([none if t.stress is None else t.stress for t in targets]).reshape(-1, 6),
            "force_weights": np.concatenate([np.zeros(0), *(target.force_weight for target in targets)]),
            "n_seen": np.array(self.n_seen, dtype=np.int64),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> KeptFrames:
        """Rebuild the sample from what :meth:`to_arrays` returned."""
        made = cls()
        made.n_seen = int(arrays["n_seen"])
        ends = np.cumsum(arrays["sizes"])
        for i, (end, size) in enumerate(zip(ends.tolist(), arrays["sizes"].tolist(), strict=True)):
            part = slice(end - size, end)
            atoms = Atoms(
                arrays["numbers"][part], arrays["positions"][part], cell=arrays["cells"][i], pbc=arrays["pbc"][i]
            )
            atoms.set_array("force_weight", arrays["force_weights"][part])
            stress = None if np.isnan(arrays["stresses"][i]).any() else arrays["stresses"][i]
            made.frames.append(set_label(atoms, arrays["energies"][i], arrays["forces"][part], stress))
            made.masks.append(arrays["masks"][part])
        return made


def _bare_copy(atoms: Atoms) -> Atoms:
    """Copy geometry, label and force weights, and nothing else."""
    target = targets_of(atoms)
    made = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell.array, pbc=atoms.pbc)
    made.set_array("force_weight", target.force_weight)
    return set_label(made, target.energy, target.forces, target.stress)
