"""Which atoms of a frame ask for a label, and around which of them substructures are centred."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from idealflow.core.coverage import COVER_RADIUS
from idealflow.core.descriptors import SOAP, PreparedFrame
from idealflow.errors import InputError

__all__ = ["ScreenableUncertainty", "ScreenedFrame", "screen", "screen_frame"]

_BLOCK = 256


class ScreenableUncertainty(Protocol):
    """What screening asks of an uncertainty: values, coverage, and how alike environments are."""

    @property
    def soap(self) -> SOAP:
        """Descriptor in which environments are compared."""
        ...

    def __call__(self, atoms: Atoms) -> NDArray[np.float64]:
        """Uncertainty per atom, 1 = in distribution."""
        ...

    def covered(
        self, atoms: Atoms | PreparedFrame, threshold: float, indices: ArrayLike | None = None
    ) -> NDArray[np.bool_]:
        """Whether each environment is covered at this threshold."""
        ...

    def descriptors(self, atoms: Atoms | PreparedFrame, indices: ArrayLike | None = None) -> NDArray[np.float64]:
        """Descriptors of environments, (n, d)."""
        ...

    def whitened(self, vectors: NDArray[np.float64], kind: int) -> NDArray[np.float64] | None:
        """Descriptors of one species in units in which squared distances compare with the threshold."""
        ...


@dataclass(frozen=True)
class ScreenedFrame:
    """A frame seen through the uncertainty.

    Attributes
    ----------
    values : (n_atoms,)
        Normalised uncertainties; 1 is the in-distribution mean.
    triggering : (n_atoms,) bool
        Above the threshold and uncovered.
    centres : (n_centres,) int
        Atoms to build substructures around, most uncertain first.
    """

    values: NDArray[np.float64]
    triggering: NDArray[np.bool_]
    centres: NDArray[np.int64]


def screen(
    model: ScreenableUncertainty,
    atoms: Atoms,
    threshold: float,
    max_centres: int | None = None,
    values: ArrayLike | None = None,
) -> NDArray[np.int64]:
    """Centres of a frame, most uncertain first; see :func:`screen_frame`."""
    return screen_frame(model, atoms, threshold, max_centres, values).centres


def screen_frame(
    model: ScreenableUncertainty,
    atoms: Atoms,
    threshold: float,
    max_centres: int | None = None,
    values: ArrayLike | None = None,
) -> ScreenedFrame:
    """Screen a frame atom by atom.

    An atom triggers when its uncertainty exceeds ``threshold`` and it is uncovered. Centres are picked greedily by
    uncertainty; an atom is passed over if it lies in the core (within the true cutoff) of a chosen centre, or if its
    environment is nearly that of a chosen one of its species (δ ≤ 2 τ, as in coverage).

    Parameters
    ----------
    threshold
        τ, normalised; 0 lets every uncovered atom trigger.
    max_centres
        At most so many centres; None: no limit.
    values : (n_atoms,), optional
        Uncertainties already at hand.

    Raises
    ------
    InputError
        For a negative threshold, ``max_centres`` below 1, or atoms the model refuses.
    """
    if not threshold >= 0.0:
        raise InputError(f"the threshold must be at least 0, got {threshold}")
    if max_centres is not None and max_centres < 1:
        raise InputError(f"max_centres must be at least 1, got {max_centres}")
    frame = model.soap.prepare(atoms)
    u = model(atoms) if values is None else np.asarray(values, dtype=np.float64)
    if u.shape != (len(frame),):
        raise InputError(f"values must be one per atom, {len(frame)}, got shape {u.shape}")
    triggering = u > threshold
    above = np.flatnonzero(triggering)
    triggering[above] = ~model.covered(frame, threshold, above)
    candidates = np.flatnonzero(triggering)
    nothing = np.zeros((0, model.soap.n_features))
    seen = np.array([model.whitened(nothing, kind) is not None for kind in range(len(model.soap.species))])
    # of the infinitely uncertain, species that were never seen before those of which little is known
    candidates = candidates[np.lexsort((candidates, seen[frame.kinds[candidates]], -u[candidates]))]
    limit = len(candidates) if max_centres is None else max_centres
    return ScreenedFrame(u, triggering, _picked(model, frame, candidates, threshold, limit))


def _picked(
    model: ScreenableUncertainty, frame: PreparedFrame, candidates: NDArray[np.int64], threshold: float, limit: int
) -> NDArray[np.int64]:
    """Greedy choice among candidates, most uncertain first: one pass, in blocks of bounded size."""
    if limit == 1:
        return candidates[:1]
    chosen: list[int] = []
    in_core = np.zeros(len(frame), dtype=bool)
    known: dict[int, list[NDArray[np.float64]]] = {}
    for start in range(0, len(candidates), _BLOCK):
        block = candidates[start : start + _BLOCK]
        block = block[~in_core[block]]
        vectors = model.descriptors(frame, block)
        for atom, vector in zip(block.tolist(), vectors, strict=True):
            if len(chosen) == limit:
                return np.asarray(chosen, dtype=np.int64)
            if in_core[atom]:
                continue
            kind = int(frame.kinds[atom])
            here = model.whitened(vector[None, :], kind)
            if here is not None:
                alike = known.setdefault(kind, [])
                if any(float(((here - other) ** 2).sum()) <= COVER_RADIUS * threshold for other in alike):
                    continue
                alike.append(here)
            chosen.append(atom)
            in_core[frame.grid.pairs([atom]).j] = True
            in_core[atom] = True
    return np.asarray(chosen, dtype=np.int64)
