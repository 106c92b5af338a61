"""What the model knows: the training environments per species, the distance of others from them, and what covers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idealflow.core.coverage import Coverage
from idealflow.core.distribution import Moments, Whitener
from idealflow.core.objective import objective
from idealflow.core.reservoir import sampled
from idealflow.errors import InputError

__all__ = ["KnownEnvironments"]

_TAIL_QUANTILE, _TAIL_FACTOR = 0.99, 2.0
_POOLED = "pooled"

Float = NDArray[np.float64]
Kinds = NDArray[np.int64]


class KnownEnvironments:
    """Distribution of descriptors per species (or pooled), a sample of them, and the centres that cover.

    Descriptors are rows (n, n_features); the species of each is its index in ``species``, (n,).

    Parameters
    ----------
    species
        Chemical symbols.
    n_features
        Length of a descriptor.
    pooled
        One distribution for all species instead of one for each.
    eigen_cut
        Eigenvalues of the covariance below this fraction of the largest are dropped.
    seed
        Of the reservoir behind :meth:`auto_threshold`.
    """

    def __init__(self, species: tuple[str, ...], n_features: int, pooled: bool, eigen_cut: float, seed: int) -> None:
        self.species = species
        self.n_features = n_features
        self.pooled = pooled
        self.eigen_cut = eigen_cut
        self.coverage = {name: Coverage() for name in species}
        groups = (_POOLED,) if pooled else species
        self.moments = {group: Moments.empty(n_features) for group in groups}
        self._reservoir = {group: np.zeros((0, n_features)) for group in groups}
        self._rng = np.random.Generator(np.random.PCG64(seed))
        self._whiteners: dict[str, Whitener | None] = {}

    def join(self, vectors: Float, kinds: Kinds) -> None:
        """Let environments join the distribution."""
        for group, rows in self._members(kinds):
            new, moments = vectors[rows], self.moments[group]
            self._reservoir[group] = sampled(self._reservoir[group], new, moments.n, self._rng)
            self.moments[group] = moments.merged(Moments.of(new))
            self._whiteners.pop(group, None)

    def whitener(self, group: str) -> Whitener | None:
        """Of a species (or ``"pooled"``); None where nothing was seen. Factorised once for a distribution."""
        if group not in self._whiteners:
            moments = self.moments[group]
            self._whiteners[group] = moments.whitener(self.eigen_cut) if moments.n else None
        return self._whiteners[group]

    def whiteners(self) -> list[Whitener | None]:
        """Of each species, in their order."""
        return [self.whitener(self._group(kind)) for kind in range(len(self.species))]

    def prepare(self) -> None:
        """Factorise what changed, before several threads ask for it."""
        for whitener, coverage in zip(self.whiteners(), self.coverage.values(), strict=True):
            if whitener is not None and len(coverage):
                coverage.prepare(whitener)

    def distances(self, vectors: Float, kinds: Kinds, *, raw: bool = False) -> Float:
        """Squared Mahalanobis distances, (n,), per dimension unless ``raw``; infinite for a species never seen."""
        values = np.full(len(vectors), np.inf)
        for group, rows in self._members(kinds):
            whitener = self.whitener(group)
            if whitener is not None:
                values[rows] = (whitener(vectors[rows]) ** 2).sum(axis=1) / (1 if raw else whitener.k)
        return values

    def objective(self, vectors: Float, kinds: Kinds, weights: Float, reference: Float | None) -> tuple[Float, Float]:
        """Each environment's part of the relaxation's objective, (n,), and its derivative by the descriptors, (n, n_features).

        A species never seen has an infinite part and no derivative: no direction leads out of it.

        Parameters
        ----------
        weights : (n,), of sum 1 over all environments of the objective
        reference : (n,) or None
        """
        parts, slopes = np.full(len(vectors), np.inf), np.zeros_like(vectors)
        for group, rows in self._members(kinds):
            whitener = self.whitener(group)
            if whitener is None:
                continue
            y = whitener(vectors[rows])
            u = (y**2).sum(axis=1) / whitener.k
            value, slope = objective(u, None if reference is None else reference[rows])
            parts[rows] = weights[rows] * value
            slopes[rows] = whitener.reverse(y * (weights[rows] * slope * (2.0 / whitener.k))[:, None])
        return parts, slopes

    def whitened(self, vectors: Float, kind: int) -> Float | None:
        """Descriptors of one species in units in which squared distances are the normalised δ, (n, m); None if never seen."""
        whitener = self.whitener(self._group(kind))
        return None if whitener is None else whitener(vectors) / np.sqrt(whitener.k)

    def covered(self, vectors: Float, kinds: Kinds, threshold: float) -> NDArray[np.bool_]:
        """Whether each environment is covered (:mod:`idealflow.core.coverage`), (n,)."""
        out = np.zeros(len(vectors), dtype=bool)
        for kind in np.unique(kinds):
            whitener = self.whitener(self._group(kind))
            rows = np.flatnonzero(kinds == kind)
            if whitener is not None:
                out[rows] = self.coverage[self.species[kind]].covered(vectors[rows], whitener, threshold)
        return out

    def auto_threshold(self) -> float:
        """Twice the 99th percentile of the sampled environments' own uncertainties, of the species where it is highest.

        Raises
        ------
        InputError
            If nothing was seen yet.
        """
        tails = []
        for group, vectors in self._reservoir.items():
            whitener = self.whitener(group)
            if whitener is not None:
                u = (whitener(vectors) ** 2).sum(axis=1) / whitener.k
                tails.append(float(np.quantile(u, _TAIL_QUANTILE)))
        if not tails:
            raise InputError("there is no training environment to take a threshold from; fit the model first")
        return _TAIL_FACTOR * max(1.0, *tails)

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """All of it, exactly: arrays, and plain data."""
        arrays: dict[str, NDArray[Any]] = {}
        for group, moments in self.moments.items():
            arrays |= {
                f"mean/{group}": moments.mean,
                f"scatter/{group}": moments.scatter,
                f"reservoir/{group}": self._reservoir[group],
            }
        for species, coverage in self.coverage.items():
            for name in ("learned", "quarantined"):
                vectors = getattr(coverage, name)
                arrays[f"{name}/{species}"] = np.array(vectors).reshape(len(vectors), self.n_features)
        plain = {
            "pooled": self.pooled,
            "eigen_cut": self.eigen_cut,
            "n": {group: moments.n for group, moments in self.moments.items()},
            "rng": self._rng.bit_generator.state,
        }
        return arrays, plain

    @classmethod
    def from_arrays(
        cls, species: tuple[str, ...], n_features: int, arrays: dict[str, NDArray[Any]], plain: dict[str, Any]
    ) -> KnownEnvironments:
        """What :meth:`to_arrays` gave."""
        known = cls(species, n_features, plain["pooled"], plain["eigen_cut"], seed=0)
        for group in known.moments:
            known.moments[group] = Moments(plain["n"][group], arrays[f"mean/{group}"], arrays[f"scatter/{group}"])
            known._reservoir[group] = arrays[f"reservoir/{group}"]
        for name, coverage in known.coverage.items():
            coverage.learned = list(arrays[f"learned/{name}"])
            coverage.quarantined = list(arrays[f"quarantined/{name}"])
        known._rng.bit_generator.state = plain["rng"]
        return known

    def _group(self, kind: int) -> str:
        return _POOLED if self.pooled else self.species[kind]

    def _members(self, kinds: Kinds) -> Iterator[tuple[str, Any]]:
        """Groups that occur, and which rows belong to them."""
        if self.pooled:
            if len(kinds):
                yield _POOLED, slice(None)
            return
        for kind in np.unique(kinds):
            yield self.species[kind], np.flatnonzero(kinds == kind)
