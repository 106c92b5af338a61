"""What the model knows: the training environments per species, the distance of others from them, and what covers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idealflow.core.coverage import REACH, Coverage
from idealflow.core.descriptors.threads import in_order
from idealflow.core.distinct import DistinctSample, alike, hashes
from idealflow.core.distribution import Distribution, Moments
from idealflow.core.left_out import FEWEST, LeftOut, estimate_metric
from idealflow.core.objective import objective
from idealflow.core.whitening import Whitener
from idealflow.errors import InputError

__all__ = ["KnownEnvironments"]

_LEAST_THRESHOLD = 2.0  # twice the mean in distribution
_POOLED = "pooled"
_METRIC = ("mean", "directions", "scales", "rest")

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
    relative_cut
        Directions in which the variance is below this fraction of the largest are never taken from the samples.
    seed
        Seed of the sample of distinct environments.

    Examples
    --------
    Vectors of three features, whose first varies by 1 and whose others hardly do:

    >>> import numpy as np
    >>> known = KnownEnvironments(("Cu",), 3, pooled=False, relative_cut=1e-7, seed=0)
    >>> vectors = 5.0 + np.random.default_rng(0).normal(size=(500, 3)) * [1.0, 0.01, 0.01]
    >>> species = np.zeros(500, dtype=np.int64)
    >>> known.join(vectors, species)
    >>> float(known.distances(vectors, species).mean().round(2))
    1.0
    >>> new = np.array([[7.0, 5.0, 5.0], [5.0, 5.0, 7.0]])
    >>> (known.distances(new, species[:2]) > known.auto_threshold()).tolist()
    [False, True]
    """

    def __init__(self, species: tuple[str, ...], n_features: int, pooled: bool, relative_cut: float, seed: int) -> None:
        self.species = species
        self.n_features = n_features
        self.pooled = pooled
        self.relative_cut = relative_cut
        self.coverage = {name: Coverage() for name in species}
        groups = (_POOLED,) if pooled else species
        self.distributions = {group: Distribution.empty(n_features) for group in groups}
        self.samples = {group: DistinctSample.empty(n_features) for group in groups}
        self._kept = {group: np.zeros((0, n_features)) for group in groups}
        self._seed = seed
        self._alone: dict[str, LeftOut] = {}
        self._judged: dict[str, LeftOut] | None = None

    def join(self, vectors: Float, kinds: Kinds) -> None:
        """Add environments to the distribution: descriptors (n, n_features), and their species (n,)."""
        for group, rows in self._members(kinds):
            new = vectors[rows]
            self.samples[group] = self.samples[group].joined(new, self._seed)
            self.distributions[group] = self.distributions[group].joined(new)
            if not self.distributions[group].recent:  # all are folded: the sample's are written down beside the moments
                self._kept[group] = self.samples[group].rows
            self._alone.pop(group, None)
            self._judged = None

    def whitener(self, group: str) -> Whitener | None:
        """The metric of a species (or ``"pooled"``), made once for a distribution; None where nothing was seen."""
        found = self.left_out().get(group)
        return None if found is None else found.whitener

    def whiteners(self) -> list[Whitener | None]:
        """The metric of each species, in their order; None for one never seen."""
        return [self.whitener(self._group(kind)) for kind in range(len(self.species))]

    def prepare(self) -> None:
        """Make the metrics and covering centres that are out of date, before several threads ask for them."""
        for whitener, coverage in zip(self.whiteners(), self.coverage.values(), strict=True):
            if whitener is not None and len(coverage):
                coverage.prepare(whitener)

    def distances(self, vectors: Float, kinds: Kinds, *, raw: bool = False) -> Float:
        """Squared Mahalanobis distances, (n,), per dimension unless ``raw``; infinite for a species never seen.

        For a species with too few distinct environments it is 0 of those, and infinite of all others.
        """
        values = np.full(len(vectors), np.inf)
        for rows, whitener in self._measurable(vectors, kinds, values):
            values[rows] = whitener.squared(vectors, rows) / (1 if raw else whitener.k)
        return values

    def _measurable(self, vectors: Float, kinds: Kinds, values: Float) -> Iterator[tuple[NDArray[np.int64], Whitener]]:
        """Rows of each group that has a metric, with it; values of groups with too few distinct environments are written."""
        for group, rows in self._members(kinds):
            whitener = self.whitener(group)
            if whitener is None:
                continue
            if whitener.seen is None:
                yield rows, whitener
            else:
                values[rows] = np.where(alike(vectors[rows], whitener.seen), 0.0, np.inf)

    def measured(self, vectors: Float, kinds: Kinds) -> tuple[Float, Callable[[Kinds, Float], Float]]:
        """Distances as :meth:`distances` has them, (n,), and what gives the slopes of a weighted sum of some of them.

        Returns
        -------
        distances : (n,)
        slopes
            Takes rows (m,), ascending, and their weights (m,); gives the derivative by their descriptors, (m, n_features). What
            the distances were made from is not computed again.
        """
        values = np.full(len(vectors), np.inf)
        kept: list[tuple[NDArray[np.int64], Whitener, tuple[Float, Float]]] = []
        for rows, whitener in self._measurable(vectors, kinds, values):
            squares, inside = whitener.measured(vectors, rows)
            values[rows] = squares / whitener.k
            kept.append((rows, whitener, (squares, inside)))

        def slopes(chosen: NDArray[np.int64], weights: Float) -> Float:
            found = np.zeros((len(chosen), vectors.shape[1]))
            place = np.full(len(vectors), -1, dtype=np.int64)
            place[chosen] = np.arange(len(chosen))
            for rows, whitener, (squares, inside) in kept:
                here = np.flatnonzero(place[rows] >= 0)
                own, there = rows[here], place[rows[here]]
                slope = whitener.slopes(vectors[own], (squares[here], inside[here]))
                slope *= (weights[there] / whitener.k)[:, None]
                found[there] = slope
            return found

        return values, slopes

    def objective(self, vectors: Float, kinds: Kinds, weights: Float, reference: Float | None) -> tuple[Float, Float]:
        """Each environment's part of the relaxation's objective, (n,), and its derivative by the descriptors, (n, n_features).

        A species never seen has an infinite part and derivative 0, for no step makes it less new. So has a species with too few
        distinct environments, everywhere but at those.

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
            if whitener.seen is not None:
                u = np.where(alike(vectors[rows], whitener.seen), 0.0, np.inf)
                parts[rows] = weights[rows] * objective(u, None if reference is None else reference[rows])[0]
                continue
            own = vectors[rows]
            measured = whitener.measured(own)
            value, slope = objective(measured[0] / whitener.k, None if reference is None else reference[rows])
            parts[rows] = weights[rows] * value
            slopes[rows] = whitener.slopes(own, measured) * (weights[rows] * slope / whitener.k)[:, None]
        return parts, slopes

    def whitened(self, vectors: Float, kind: int) -> Float | None:
        """Descriptors of one species in units in which squared distances are the normalised δ, (n, m); None if never seen."""
        whitener = self.whitener(self._group(kind))
        return None if whitener is None else whitener(vectors) / np.sqrt(whitener.k)

    def covered(self, vectors: Float, kinds: Kinds, threshold: float, reach: float = REACH) -> NDArray[np.bool_]:
        """Whether each environment is covered (:mod:`idealflow.core.coverage`), (n,)."""
        out = np.zeros(len(vectors), dtype=bool)
        for kind in np.unique(kinds):
            whitener = self.whitener(self._group(kind))
            rows = np.flatnonzero(kinds == kind)
            if whitener is not None:
                out[rows] = self.coverage[self.species[kind]].covered(vectors[rows], whitener, threshold, reach)
        return out

    def auto_threshold(self) -> float:
        """Threshold from left-out environments (:attr:`LeftOut.threshold`): the highest of all species.

        Species with too few distinct environments have no say; it is 2 where no species has.

        Raises
        ------
        InputError
            If nothing was seen yet.
        """
        found = self.left_out().values()
        if not found:
            raise InputError("there is no training environment to take a threshold from; fit the model first")
        return max(_LEAST_THRESHOLD, *(each.threshold for each in found))

    @property
    def too_few(self) -> dict[str, int]:
        """Species (or ``"pooled"``) seen in too few distinct environments to judge others by, and in how many."""
        counts = {group: sample.count for group, sample in self.samples.items()}
        return {group: count for group, count in counts.items() if 0 < count < FEWEST}

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Everything, exactly, for a file: arrays by name, and plain data that JSON can hold.

        What joined or was learned later makes arrays of its own, and leaves the others as they were.
        """
        arrays: dict[str, NDArray[Any]] = {}
        for group, distribution in self.distributions.items():
            for number, rows in enumerate(distribution.recent):
                arrays[f"recent/{group}/{number}"] = rows
            if distribution.folded is not None:
                arrays |= {
                    f"mean/{group}": distribution.folded.mean,
                    f"scatter/{group}": _lower(distribution.folded.scatter),
                    f"kept/{group}": self._kept[group],
                }
            sample = self.samples[group]
            arrays |= {f"distinct/{group}": self._places(group), f"ranks/{group}": sample.ranks}
        for species, coverage in self.coverage.items():
            for name in ("learned", "quarantined"):
                for number, rows in enumerate(_doubling(getattr(coverage, name))):
                    arrays[f"{name}/{species}/{number}"] = rows
        plain = {
            "pooled": self.pooled,
            "eigen_cut": self.relative_cut,
            "n": {group: 0 if one.folded is None else one.folded.n for group, one in self.distributions.items()},
            "full": {group: sample.full for group, sample in self.samples.items()},
            "seed": self._seed,
        }
        return arrays, plain

    def _places(self, group: str) -> NDArray[np.int64]:
        """Where each row of a sample lies among those kept and the recent ones, (n,)."""
        rows = np.concatenate([self._kept[group], *self.distributions[group].recent])
        places = {row.tobytes(): number for number, row in reversed(list(enumerate(rows)))}
        return np.array([places[row.tobytes()] for row in self.samples[group].rows], dtype=np.int64)

    @classmethod
    def from_arrays(
        cls, species: tuple[str, ...], n_features: int, arrays: dict[str, NDArray[Any]], plain: dict[str, Any]
    ) -> KnownEnvironments:
        """Rebuild from :meth:`to_arrays`.

        Files of version 1 held a uniform sample of all environments: the distinct ones are found in it. Up to version 2 the
        scatter matrix was whole, of all environments, and the sample's rows were written out.
        """
        known = cls(species, n_features, plain["pooled"], plain["eigen_cut"], plain.get("seed", 0))
        for group in known.distributions:
            recent, folded, n = _numbered(arrays, f"recent/{group}"), None, plain["n"][group]
            if n > 0:
                scatter = arrays[f"scatter/{group}"]
                folded = Moments(n, arrays[f"mean/{group}"], _whole(scatter, n_features))
            known.distributions[group] = Distribution(n_features, folded, tuple(recent))
            if f"reservoir/{group}" in arrays:
                sample = DistinctSample.of_uniform(arrays[f"reservoir/{group}"], n, known._seed)
                known._kept[group] = sample.rows
            else:
                rows = arrays[f"distinct/{group}"]
                if rows.ndim == 1:
                    known._kept[group] = arrays.get(f"kept/{group}", known._kept[group])
                    rows = np.concatenate([known._kept[group], *recent])[rows]
                else:
                    known._kept[group] = rows
                sample = DistinctSample(rows, arrays[f"ranks/{group}"], hashes(rows, known._seed), plain["full"][group])
            known.samples[group] = sample
        for name, coverage in known.coverage.items():
            coverage.learned = [row for rows in _numbered(arrays, f"learned/{name}") for row in rows]
            coverage.quarantined = [row for rows in _numbered(arrays, f"quarantined/{name}") for row in rows]
        return known

    def metrics_to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """The metric of each group that was seen, which can be made again, for a file: arrays by name, and plain data."""
        self.left_out()
        arrays: dict[str, NDArray[Any]] = {}
        for group, found in self._alone.items():
            arrays |= {f"{name}/{group}": getattr(found.whitener, name) for name in _METRIC}
            arrays |= {f"{name}/{group}": getattr(found, name) for name in ("distances", "fitted")}
            if found.whitener.seen is not None:
                arrays[f"seen/{group}"] = found.whitener.seen
        plain = {group: {"k": found.whitener.k, "few": found.few} for group, found in self._alone.items()}
        return arrays, plain

    def take_metrics(self, arrays: dict[str, NDArray[Any]], plain: dict[str, Any]) -> None:
        """Take the metrics of these very environments from :meth:`metrics_to_arrays`, in place of making them."""
        self._judged = None
        self._alone = {}
        for group, each in plain.items():
            mean, directions, scales, rest = (arrays[f"{name}/{group}"] for name in _METRIC)
            whitener = Whitener(mean, directions, scales, rest, each["k"], arrays.get(f"seen/{group}"))
            distances, fitted = (arrays[f"{name}/{group}"] for name in ("distances", "fitted"))
            self._alone[group] = LeftOut(whitener, distances, fitted, each["few"])

    def left_out(self) -> dict[str, LeftOut]:
        """The metric of each group that was seen.

        One threshold is for all, so the uncertainties of a group with few environments are given in units in which its threshold
        is no lower than the highest of those with many: what is new to it would stay below a threshold made for others.
        """
        if self._judged is None:
            seen = [group for group, distribution in self.distributions.items() if distribution.n]
            new = [group for group in seen if group not in self._alone]
            self._alone |= dict(zip(new, in_order(self._estimated, new), strict=True))
            highest = max((self._alone[group].threshold for group in seen if not self._alone[group].few), default=0.0)
            self._judged = {
                group: found.at_least(highest) if found.few else found for group, found in self._alone.items()
            }
        return self._judged

    def _estimated(self, group: str) -> LeftOut:
        return estimate_metric(self.distributions[group], self.samples[group], self.relative_cut)

    def _group(self, kind: int) -> str:
        return _POOLED if self.pooled else self.species[kind]

    def _members(self, kinds: Kinds) -> Iterator[tuple[str, Kinds]]:
        """Groups that occur, and which rows belong to them."""
        if self.pooled:
            if len(kinds):
                yield _POOLED, np.arange(len(kinds))
            return
        for kind in np.unique(kinds):
            yield self.species[kind], np.flatnonzero(kinds == kind)


def _lower(matrix: Float) -> Float:
    """The lower triangle of a symmetric matrix (d, d), row after row: (d (d + 1) / 2,)."""
    return np.concatenate([row[: number + 1] for number, row in enumerate(matrix)])


def _whole(stored: Float, d: int) -> Float:
    """The symmetric matrix (d, d) of which :func:`_lower` gave the triangle; or a whole one, as files held up to version 2."""
    matrix = np.zeros((d, d))
    start = 0
    for number in range(d):
        row = stored[number] if stored.ndim == 2 else stored[start : start + number + 1]
        matrix[number, : number + 1] = matrix[: number + 1, number] = row[: number + 1]
        start += number + 1
    return matrix


def _doubling(vectors: list[Float]) -> list[Float]:
    """Arrays of 1, 2, 4 … vectors, the long ones first: one more vector leaves most arrays as they were."""
    arrays, start = [], 0
    for bit in reversed(range(len(vectors).bit_length())):
        if len(vectors) >> bit & 1:
            arrays.append(np.array(vectors[start : start + (1 << bit)]))
            start += 1 << bit
    return arrays


def _numbered(arrays: dict[str, NDArray[Any]], name: str) -> list[Float]:
    """The arrays ``name/0``, ``name/1`` … in order; or the one called ``name``, as files held up to version 2."""
    if name in arrays:
        return [arrays[name]]
    return [arrays[f"{name}/{number}"] for number in range(sum(key.startswith(f"{name}/") for key in arrays))]
