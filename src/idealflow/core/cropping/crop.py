"""What a crop search returns: crops, the candidates it refused, and the list that holds both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from idealflow.core.cropping.surroundings import ContactLimits, heights_of
from idealflow.core.structure import from_arrays, inherit_moments, to_arrays

__all__ = ["Crop", "CropSearch", "Refused"]


@dataclass(frozen=True)
class Crop:
    """A small periodic cell cut out of a frame around one untouched core.

    Attributes
    ----------
    atoms
        The cell, periodic in all three directions; where the frame has vacuum, it contains empty space. Atoms have the initial
        magnetic moments of their parents in the frame, if it has any.
    core
        (n,) bool: atoms within the uncertainty's true cutoff of the centre. They stand as in the frame, and no other atom reaches
        into that sphere. The others are the shell.
    parent_indices
        (n,) index of each atom's parent in the frame; -1 for hydrogen caps.
    centre
        Index of the centre in `atoms`.
    in_frame
        (n,) max(1, uncertainty of the parent in the frame); 1 for hydrogen caps.
    values
        (n,) uncertainties in the crop.
    uncertainty
        Mean of `values` over the shell (over all atoms where there is no shell).
    uncertainty_max
        Their maximum there.
    composition_error
        Fraction of atoms that would have to change species to give the frame's composition; or that of what lies around the
        centre where it is another, of bodies alone beside empty space.
    min_contact
        Smallest distance between two atoms, Å.
    cell_kind
        How the cell was made: along Cartesian axes (``"cartesian"``), along the frame's cell (``"parent"``), on translation
        vectors (``"lattice"``), across a boundary of grains (``"interface"``), on a surface normal (``"surface"``), a
        ``"cluster"`` between lattice planes, a ball in ``"vacuum"``, or the ``"whole"`` frame. Stored figures call it ``kind``.
    axes
        For each cell vector ``"periodic"``, ``"kept"`` (the frame's own vector) or ``"vacuum"``; the relaxation moves only
        periodic ones.
    limits
        Smallest distances allowed between atoms.
    expected_volume
        Volume that as many atoms fill in the frame around the centre, Å³; None beside empty space.
    score
        What the search sorts by, lower is better.
    notes
        Plain numbers about how the cell was made: atoms removed and added at the boundary, how far margins were enlarged, ...

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core import whole_frame
    >>> class Known:
    ...     cutoff = 3.0
    ...     def __call__(self, atoms, indices=None):
    ...         return np.ones(len(atoms) if indices is None else len(indices))
    >>> crop = whole_frame(Known(), bulk("Cu", cubic=True), centre=2)
    >>> crop.centre, crop.parent_indices.tolist(), crop.uncertainty
    (2, [0, 1, 2, 3], 1.0)
    >>> again = Crop.from_dict(crop.to_dict())
    >>> bool((again.atoms.positions == crop.atoms.positions).all())
    True
    """

    atoms: Atoms
    core: NDArray[np.bool_]
    parent_indices: NDArray[np.int64]
    centre: int
    in_frame: NDArray[np.float64]
    values: NDArray[np.float64]
    composition_error: float
    min_contact: float
    cell_kind: str
    axes: tuple[str, str, str]
    limits: ContactLimits
    score: float
    notes: dict[str, float] = field(default_factory=dict)
    expected_volume: float | None = None

    @property
    def shell(self) -> NDArray[np.bool_]:
        """(n,) bool: the atoms that are not core."""
        return ~self.core

    @property
    def reference(self) -> NDArray[np.float64]:
        """(n,) ``in_frame`` for core atoms; 1, the mean in distribution, for shell atoms."""
        return np.where(self.core, self.in_frame, 1.0)

    @property
    def uncertainty(self) -> float:
        """Mean uncertainty of the shell (of all atoms where there is no shell)."""
        return float(np.mean(self.values[self.shell] if self.shell.any() else self.values))

    @property
    def uncertainty_max(self) -> float:
        """Largest uncertainty of the shell (of all atoms where there is no shell)."""
        return float(np.max(self.values[self.shell] if self.shell.any() else self.values))

    @property
    def core_worsening(self) -> float:
        """Largest ratio of a core atom's uncertainty here to its reference; species never seen do not count."""
        known = self.core & np.isfinite(self.reference)
        return float(np.max(self.values[known] / self.reference[known])) if known.any() else 1.0

    @property
    def volume_error(self) -> float:
        """Volume of the cell over ``expected_volume``, minus 1; 0 where that is not known."""
        return 0.0 if self.expected_volume is None else float(self.atoms.get_volume()) / self.expected_volume - 1.0

    def with_moments_of(self, frame: Atoms) -> Crop:
        """Give the crop's atoms the initial magnetic moments of their parents in ``frame`` (0 for caps); returns the crop."""
        inherit_moments(self.atoms, frame, self.parent_indices)
        return self

    def figures(self) -> dict[str, Any]:
        """Return the numbers that documents keep of every candidate."""
        return {
            "kind": self.cell_kind,
            "axes": list(self.axes),
            "n_atoms": len(self.atoms),
            "n_core": int(self.core.sum()),
            "cell": self.atoms.cell.array.tolist(),
            "widths": heights_of(self.atoms.cell.array).tolist(),
            "volume_per_atom": float(self.atoms.get_volume() / len(self.atoms)),
            "volume_error": self.volume_error,
            "uncertainty": self.uncertainty,
            "uncertainty_max": self.uncertainty_max,
            "core_worsening": self.core_worsening,
            "composition_error": self.composition_error,
            "min_contact": self.min_contact,
            "score": self.score,
            **self.notes,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, exact through JSON; :meth:`from_dict` reads it."""
        structure = {name: array.tolist() for name, array in to_arrays(self.atoms).items() if name != "pbc"}
        return structure | {
            "core": np.flatnonzero(self.core).tolist(),
            "parent_indices": self.parent_indices.tolist(),
            "centre": int(self.centre),
            "in_frame": self.in_frame.tolist(),
            "values": self.values.tolist(),
            "composition_error": self.composition_error,
            "min_contact": self.min_contact,
            "kind": self.cell_kind,
            "axes": list(self.axes),
            "limits": dict(self.limits.pairs),
            "score": self.score,
            "notes": dict(self.notes),
            "expected_volume": self.expected_volume,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Crop:
        """Build the crop that :meth:`to_dict` wrote."""
        atoms = from_arrays(data | {"pbc": True})
        core = np.zeros(len(atoms), dtype=bool)
        core[data["core"]] = True
        return cls(
            atoms=atoms,
            core=core,
            parent_indices=np.asarray(data["parent_indices"], dtype=np.int64),
            centre=int(data["centre"]),
            # crops of earlier versions have "reference" instead: the same for the core, 1 for the shell
            in_frame=np.asarray(data["in_frame"] if "in_frame" in data else data["reference"], dtype=np.float64),
            values=np.asarray(data["values"], dtype=np.float64),
            composition_error=float(data["composition_error"]),
            min_contact=float(data["min_contact"]),
            cell_kind=data["kind"],
            axes=tuple(data["axes"]),
            limits=ContactLimits(dict(data["limits"])),
            score=float(data["score"]),
            notes=dict(data["notes"]),
            expected_volume=data.get("expected_volume"),
        )


@dataclass(frozen=True)
class Refused:
    """A candidate cell that broke a rule of the search.

    Attributes
    ----------
    reason
        The rule, the value and the limit, in words.
    figures
        Plain numbers of the cell, with its ``kind``, ``n_atoms`` and ``cell`` (3, 3) in Å.
    surface
        Whether the broken rule is the surface rule: a surface of the frame stays one, and the inside of a body gets none.

    Examples
    --------
    >>> Refused("more than max_atoms=400 atoms", {"kind": "parent", "n_atoms": 512}).surface
    False
    """

    reason: str
    figures: dict[str, Any]
    surface: bool = False


class CropSearch(Sequence[Crop]):
    """The crops found around one centre, best first: a sequence. ``rejected`` lists the candidates that broke a rule.

    Parameters
    ----------
    crops
        Accepted crops in any order; they are sorted by score.
    rejected
        Refused candidates.

    Examples
    --------
    >>> found = CropSearch([], [Refused("more than max_atoms=40 atoms", {"kind": "parent", "n_atoms": 64})])
    >>> len(found), found.rejected[0].figures["n_atoms"]
    (0, 64)
    """

    def __init__(self, crops: Iterable[Crop], rejected: Iterable[Refused] = ()) -> None:
        self._crops = sorted(crops, key=lambda crop: crop.score)
        self.rejected = list(rejected)

    def __len__(self) -> int:
        return len(self._crops)

    def __iter__(self) -> Iterator[Crop]:
        return iter(self._crops)

    @overload
    def __getitem__(self, index: int) -> Crop: ...
    @overload
    def __getitem__(self, index: slice) -> list[Crop]: ...
    def __getitem__(self, index: int | slice) -> Crop | list[Crop]:
        return self._crops[index]

    def __repr__(self) -> str:
        best = f", best {self._crops[0].score:.3g} ({self._crops[0].cell_kind})" if self._crops else ""
        return f"CropSearch({len(self)} crops, {len(self.rejected)} refused{best})"
