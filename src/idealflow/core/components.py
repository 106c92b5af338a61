"""A few Gaussians in the place of one: each known by its own mean, spread and tail.

One Gaussian of a crystal and a liquid reaches over everything between them. Components stay narrow. What joins is merged into
the nearest component, exactly, as long as it lies within that one's tail. What lies outside all of them is kept apart until
it is enough for a component of its own. A component that has doubled is split where its sample is more than one Gaussian.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idealflow.core.distinct import DistinctSample, alike, hashes
from idealflow.core.distribution import Distribution, Moments
from idealflow.core.left_out import FEWEST, LeftOut, estimate_metric
from idealflow.core.splitting import parts_of

__all__ = ["Component", "Components"]

#: exponent of the smooth least: of two equal ratios it is 4 % below them
POWER = 16

#: shares of the slope below this are not worth their product
_NOTHING = 1e-12

#: a component's tail is at least so many times its mean, as everywhere
_LEAST_THRESHOLD = 2.0

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Component:
    """One Gaussian: its vectors' moments, and a sample of the distinct ones.

    Attributes
    ----------
    distribution, sample
        Of the same vectors.
    relative_cut
        As :func:`~idealflow.core.left_out.estimate_metric` takes it.
    examined
        Distinct vectors there were when it was last seen whether it is to be split.

    Examples
    --------
    >>> rows = np.random.default_rng(0).normal(size=(200, 3)) + 5.0
    >>> one = Component.of(rows, relative_cut=1e-7, seed=0)
    >>> one.sample.count, bool((one.ratios(rows) < 1.0).all())
    (200, True)
    """

    distribution: Distribution
    sample: DistinctSample
    relative_cut: float
    examined: int = 0

    @classmethod
    def of(cls, rows: Float, relative_cut: float, seed: int) -> Component:
        """The component of ``rows`` (n, d)."""
        empty = cls(Distribution.empty(rows.shape[1]), DistinctSample.empty(rows.shape[1]), relative_cut)
        new = empty.joined(rows, seed)
        return replace(new, examined=new.sample.count)

    def joined(self, rows: Float, seed: int) -> Component:
        """Return the component of these rows too."""
        return replace(self, distribution=self.distribution.joined(rows), sample=self.sample.joined(rows, seed))

    def merged(self, other: Component, seed: int) -> Component:
        """Return the component of both: moments exactly, samples as of one stream."""
        moments = self.distribution.moments.merged(other.distribution.moments)
        one, two = sorted((self.sample, other.sample), key=lambda sample: not sample.full)
        sample = one.joined(two.rows, seed)
        sample = DistinctSample(sample.rows, sample.ranks, sample.keys, sample.full or two.full)
        both = Component(Distribution(self.distribution.dimension, moments), sample, self.relative_cut)
        return replace(both, examined=sample.count)

    def split(self, most: int, least: int, seed: int) -> list[Component]:
        """The components that its sample falls into; itself alone if it is one Gaussian.

        Each part has the moments of its share of the sample, counted as often as that share of all vectors.
        """
        labels = parts_of(self.sample.rows, most, least, seed)
        if not labels.any():
            return [replace(self, examined=self.sample.count)]
        found = []
        for label in range(int(labels.max()) + 1):
            own = labels == label
            moments = Moments.of(self.sample.rows[own])
            n = max(moments.n, round(self.distribution.n * own.mean()))
            scaled = Moments(n, moments.mean, moments.scatter * (n / moments.n))
            sample = DistinctSample(self.sample.rows[own], self.sample.ranks[own], self.sample.keys[own])
            new = Component(Distribution(self.distribution.dimension, scaled), sample, self.relative_cut)
            found.append(replace(new, examined=moments.n))
        return found

    @cached_property
    def metric(self) -> LeftOut:
        """The metric, estimated as that of a species is."""
        return estimate_metric(self.distribution, self.sample, self.relative_cut)

    @property
    def threshold(self) -> float:
        """The component's own tail, per dimension."""
        return max(_LEAST_THRESHOLD, self.metric.threshold)

    def ratios(self, rows: Float) -> Float:
        """Distance of ``rows`` (n, d) over the threshold, (n,)."""
        whitener = self.metric.whitener
        if whitener.seen is not None:
            return np.where(alike(rows, whitener.seen), 0.0, np.inf)
        return whitener.squared(rows) / (whitener.k * self.threshold)

    def slopes(self, rows: Float) -> Float:
        """Gradients of :meth:`ratios` in the rows, (n, d)."""
        whitener = self.metric.whitener
        if whitener.seen is not None:
            return np.zeros_like(rows)
        return whitener.slopes(rows) / (whitener.k * self.threshold)


class Components:
    """The components of one species.

    Parameters
    ----------
    dimension
        Length d of the vectors.
    most
        Number of components; beyond it the two that are most alike are merged.
    least
        Distinct vectors that a component begins with.
    relative_cut, seed
        As :class:`~idealflow.core.UncertaintyModel` takes them.

    Attributes
    ----------
    parts : list of Component
    strays : (n, d)
        Vectors outside all components that are too few for one of their own.

    Examples
    --------
    Two heaps far apart; what lies between them is new:

    >>> rng = np.random.default_rng(0)
    >>> known = Components(3, most=4, least=40, relative_cut=1e-7, seed=0)
    >>> known.join(np.concatenate([rng.normal(size=(200, 3)), rng.normal(size=(200, 3)) + 30.0]))
    >>> len(known.parts), (known.ratios(np.array([[0.0, 0.0, 0.0], [15.0, 15.0, 15.0]])) > 1.0).tolist()
    (2, [False, True])
    """

    def __init__(self, dimension: int, most: int, least: int, relative_cut: float, seed: int) -> None:
        self.dimension, self.most, self.least = dimension, most, least
        self.relative_cut, self.seed = relative_cut, seed
        self.parts: list[Component] = []
        self.strays: Float = np.zeros((0, dimension))

    @property
    def too_few(self) -> bool:
        """Whether so few distinct vectors are known that nothing can be said of others."""
        return sum(part.sample.count for part in self.parts) < FEWEST

    def join(self, rows: Float) -> None:
        """Let vectors (n, d) join."""
        if len(rows) == 0:
            return
        if not self.parts:
            self.parts = self._begun(rows)
        elif len(self.parts) == 1 and self.parts[0].sample.count < self.least:
            self.parts[0] = self.parts[0].joined(rows, self.seed)
        else:
            ratios = self._each(rows)
            outside = ratios.min(axis=1) > 1.0
            self._absorb(rows[~outside], ratios[~outside])
            self.strays = np.concatenate([self.strays, rows[outside]])
            if len(np.unique(hashes(self.strays, self.seed))) >= self.least:
                self._open()
        self._split()
        while len(self.parts) > self.most:
            self._merge()

    def _split(self) -> None:
        """Split what has doubled since it was last looked at, where its sample is more than one Gaussian."""
        parts: list[Component] = []
        for part in self.parts:
            doubled = part.sample.count >= max(2 * part.examined, 2 * self.least)
            parts += part.split(self.most, self.least, self.seed) if doubled else [part]
        self.parts = parts

    def ratios(self, rows: Float) -> Float:
        """Smooth least over the components of the distance of ``rows`` (n, d) over the component's threshold, (n,).

        Nothing, 0, where :attr:`too_few` are known, infinite where none is.
        """
        if not self.parts:
            return np.full(len(rows), np.inf)
        return np.zeros(len(rows)) if self.too_few else _smooth_least(self._each(rows))[0]

    def measured(self, rows: Float) -> tuple[Float, Float]:
        """The same, and its gradients in the rows, (n, d)."""
        slopes = np.zeros_like(rows)
        if not self.parts or self.too_few:
            return self.ratios(rows), slopes
        values, shares = _smooth_least(self._each(rows))
        for part, share in zip(self.parts, shares.T, strict=True):
            some = np.flatnonzero(share > _NOTHING)
            slopes[some] += share[some, None] * part.slopes(rows[some])
        return values, slopes

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Everything, exactly, for a file: arrays by name, and plain data. What did not change makes the same arrays."""
        arrays: dict[str, NDArray[Any]] = {"strays": self.strays}
        for number, part in enumerate(self.parts):
            folded, sample = part.distribution.folded, part.sample
            if folded is not None:
                arrays |= {f"{number}/mean": folded.mean, f"{number}/scatter": folded.scatter}
            for place, rows in enumerate(part.distribution.recent):
                arrays[f"{number}/recent/{place}"] = rows
            arrays |= {f"{number}/rows": sample.rows, f"{number}/ranks": sample.ranks, f"{number}/keys": sample.keys}
        plain = [
            {
                "n": 0 if part.distribution.folded is None else part.distribution.folded.n,
                "recent": len(part.distribution.recent),
                "full": part.sample.full,
                "examined": part.examined,
            }
            for part in self.parts
        ]
        settings = {"dimension": self.dimension, "most": self.most, "least": self.least}
        return arrays, {**settings, "relative_cut": self.relative_cut, "seed": self.seed, "parts": plain}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]], plain: dict[str, Any]) -> Components:
        """Rebuild from :meth:`to_arrays`."""
        found = cls(plain["dimension"], plain["most"], plain["least"], plain["relative_cut"], plain["seed"])
        found.strays = arrays["strays"]
        for number, each in enumerate(plain["parts"]):
            folded = None
            if each["n"]:
                folded = Moments(each["n"], arrays[f"{number}/mean"], arrays[f"{number}/scatter"])
            recent = tuple(arrays[f"{number}/recent/{place}"] for place in range(each["recent"]))
            rows, ranks, keys = (arrays[f"{number}/{name}"] for name in ("rows", "ranks", "keys"))
            sample = DistinctSample(rows, ranks, keys, each["full"])
            distribution = Distribution(found.dimension, folded, recent)
            found.parts.append(Component(distribution, sample, found.relative_cut, each["examined"]))
        return found

    def _each(self, rows: Float) -> Float:
        return np.stack([part.ratios(rows) for part in self.parts], axis=1)

    def _begun(self, rows: Float) -> list[Component]:
        labels = parts_of(rows, self.most, self.least, self.seed)
        return [
            Component.of(rows[labels == label], self.relative_cut, self.seed) for label in range(int(labels.max()) + 1)
        ]

    def _absorb(self, rows: Float, ratios: Float) -> None:
        """Let rows join the components nearest to them."""
        nearest = ratios.argmin(axis=1)
        for number in np.unique(nearest).tolist():
            self.parts[number] = self.parts[number].joined(rows[nearest == number], self.seed)

    def _open(self) -> None:
        """Make components of the strays.

        A component that would take in what others know, as the tails of all sides of one together would, is none: its vectors
        join those nearest to them.
        """
        known, strays = list(self.parts), self.strays
        self.strays = np.zeros((0, self.dimension))
        labels = parts_of(strays, self.most, self.least, self.seed)
        for label in range(int(labels.max()) + 1):
            rows = strays[labels == label]
            new = Component.of(rows, self.relative_cut, self.seed)
            if any(np.mean(new.ratios(part.sample.rows) < 1.0) > 0.5 for part in known):
                self._absorb(rows, np.stack([part.ratios(rows) for part in known], axis=1))
            else:
                self.parts.append(new)

    def _merge(self) -> None:
        """Merge the two components whose Gaussian in common is the least worse (Runnalls, IEEE Trans. AES 43, 989, 2007)."""
        best: tuple[float, int, int] | None = None
        moments = [part.distribution.moments for part in self.parts]
        counts = [part.sample.count for part in self.parts]
        noise = self.relative_cut * max(float(np.linalg.eigvalsh(each.scatter / each.n)[-1]) for each in moments)
        for two in range(len(moments)):
            for one in range(two):
                cost = _cost([moments[one], moments[two]], [counts[one], counts[two]], noise)
                if best is None or cost < best[0]:
                    best = cost, one, two
        if best is not None:
            _, one, two = best
            self.parts[one] = self.parts[one].merged(self.parts[two], self.seed)
            del self.parts[two]


def _smooth_least(ratios: Float) -> tuple[Float, Float]:
    """(Σ_c r_c^−p)^(−1/p) over the columns of ratios (n, c), (n,), and its derivatives by each, (n, c)."""
    least = ratios.min(axis=1, keepdims=True)
    safe = np.where(np.isfinite(least) & (least > 0.0), least, 1.0)
    scaled = np.where(least > 0.0, safe / np.where(ratios > 0.0, ratios, safe), ratios == least)
    scaled = np.where(np.isfinite(least), scaled, 1.0)
    sums = (scaled**POWER).sum(axis=1, keepdims=True)
    values = least[:, 0] * sums[:, 0] ** (-1.0 / POWER)
    shares = np.where(np.isfinite(ratios), scaled ** (POWER + 1) * sums ** (-1.0 / POWER - 1.0), 0.0)
    return values, shares


def _cost(moments: Sequence[Moments], counts: Sequence[int], noise: float) -> float:
    """What it costs to describe both by one Gaussian: half of Σ n log |S_both| − n_i log |S_i|, of distinct vectors."""
    n = float(sum(counts))
    mean = sum((count / n) * each.mean for count, each in zip(counts, moments, strict=True))
    covariances = [each.scatter / each.n + noise * np.eye(len(each.mean)) for each in moments]
    both = sum(
        (count / n) * (covariance + np.outer(each.mean - mean, each.mean - mean))
        for count, covariance, each in zip(counts, covariances, moments, strict=True)
    )
    own = sum(
        count * float(np.linalg.slogdet(covariance)[1]) for count, covariance in zip(counts, covariances, strict=True)
    )
    return 0.5 * (n * float(np.linalg.slogdet(both)[1]) - own)
