"""An uncertainty that does not go blind: mixtures of Gaussians of averaged environments, beside the distribution of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from idealflow.core.archive import packed, read_archive, unpacked, write_archive
from idealflow.core.averaging import Neighbourhoods
from idealflow.core.components import Components
from idealflow.core.descriptors import SOAP, PreparedFrame, chosen_atoms
from idealflow.core.objective import checked, objective
from idealflow.core.protocols import FirstEnvironments, ForceFieldFit, ForceFieldUpdate, PullBack, two_passes
from idealflow.core.registry import file_kind
from idealflow.core.soap_coverage import SOAPCoverage
from idealflow.core.uncertainty import UncertaintyModel
from idealflow.errors import InputError

__all__ = ["MixtureModel"]

_VERSION = 1

#: an environment that the mixture finds newer than the base does is covered up to δ = _REACH · u(c): 1.5, as in the default,
#: reaches around the mean of one Gaussian, where other phases lie, and hides neighbourhoods ten times as far as their threshold
_REACH = 0.5

#: exponent of the smooth greatest of the two measures
_POWER = 8

Float = NDArray[np.float64]


class MixtureModel(SOAPCoverage):
    """The default's distance of each environment, or that of its neighbourhood from a few Gaussians, whichever is larger.

    After a crystal was melted, one Gaussian holds crystal and liquid, and another crystal lies between them: nothing in it is
    new. Two things tell it apart. Atoms' vectors are averaged over their neighbours, which a phase shifts alike and thermal
    motion does not (:mod:`idealflow.core.averaging`). And each species has several Gaussians with a threshold each, its own tail
    (:mod:`idealflow.core.components`). An environment's distance is the smooth least over them, and the uncertainty
    the smooth greatest of it and of ``base``, both over their thresholds, so that whatever ``soap`` sees is seen.

    To be averaged, SOAP vectors are projected onto ``sketch`` random directions, in which distances stay nearly as they were;
    each component then costs the same with any number of species. The cutoff is that of ``base``: what is averaged reaches
    farther by ``radius``, and a substructure does not keep it exactly. Coverage is that of ``base``, with a third of its reach
    for what the mixture finds newer than ``base`` does.

    Parameters
    ----------
    base
        SOAP model of the same environments.
    components
        Most Gaussians of a species.
    radius
        Neighbours up to there are averaged, Å; at most the cutoff. None: the cutoff.
    sketch
        Directions on which vectors are projected, at most.
    least
        Distinct environments with which a Gaussian begins.
    seed
        Seed of directions and samples.

    Raises
    ------
    InputError
        For a setting out of range.

    Examples
    --------
    Copper that was melted, and then meets a body-centred crystal:

    >>> from ase.build import bulk
    >>> from idealflow.core import MixtureModel, SOAP
    >>> def cell(structure, a, width, seed):
    ...     atoms = bulk("Cu", structure, a=a, cubic=True) * 3
    ...     atoms.rattle(width, seed=seed)
    ...     return atoms
    >>> known = [cell("fcc", 3.6, width, seed) for width in (0.05, 0.3) for seed in range(4)]
    >>> u = MixtureModel.fit(known, SOAP(["Cu"], r_cut=3.0, n_max=4, l_max=4, sigma=0.4), components=2)
    >>> other = cell("bcc", 2.86, 0.05, 9)
    >>> bool((u(other) / u.auto_threshold()).min() > 5 * (u.base(other) / u.base.auto_threshold()).max())
    True
    """

    name: ClassVar[str] = "mixture"

    def __init__(
        self,
        base: UncertaintyModel,
        *,
        components: int = 8,
        radius: float | None = None,
        sketch: int = 96,
        least: int = 40,
        seed: int = 0,
    ) -> None:
        reach = base.cutoff if radius is None else float(radius)
        for name, value, rule, good in (
            ("components", components, "be at least 1", components >= 1),
            ("radius", radius, f"lie above 0 and up to the cutoff, {base.cutoff:.2f} Å", 0.0 < reach <= base.cutoff),
            ("sketch", sketch, "be at least 8", sketch >= 8),
            ("least", least, "be at least 20, or single atoms become components", least >= 20),
        ):
            if not good:
                raise InputError(f"uncertainty mixture: {name} must {rule}, got {value}")
        super().__init__(base)
        self.radius = reach
        n_features = base.soap.n_features
        width = min(sketch, n_features)
        directions = np.linalg.qr(np.random.default_rng(seed).normal(size=(n_features, width)))[0]
        self._directions: Float = np.ascontiguousarray(directions)
        self._groups = [0] * len(base.species) if base.pooled else list(range(len(base.species)))
        self._known = [
            Components(width, components, least, base.relative_cut, seed) for _ in range(max(self._groups) + 1)
        ]
        self._threshold = 0.0

    @classmethod
    def fit(cls, frames: Sequence[Atoms], soap: SOAP, *, pooled: bool = False, seed: int = 0, **settings: Any) -> Self:
        """The measure of all environments in ``frames``; further settings as the class's."""
        model = cls(UncertaintyModel(soap, pooled=pooled, seed=seed), seed=seed, **settings)
        model.update(frames)
        return model

    @classmethod
    def begin(
        cls,
        first: FirstEnvironments,
        fit: ForceFieldFit,  # noqa: ARG003  # the protocol's signature
        components: int = 8,
        radius: float | None = None,
        sketch: int = 96,
        least: int = 40,
    ) -> Self:
        """The first one of a campaign: :meth:`fit` on its structures."""
        return cls.fit(
            first.frames, first.soap, pooled=first.pooled, seed=first.seed,
            components=components, radius=radius, sketch=sketch, least=least,
        )  # fmt: skip

    @property
    def n_components(self) -> dict[str, int]:
        """Gaussians of each species (or of ``pooled``)."""
        return {group: len(known.parts) for group, known in zip(self.n_samples, self._known, strict=True)}

    @property
    def n_strays(self) -> dict[str, int]:
        """Environments of each species that lie outside all Gaussians, and are too few for one of their own."""
        return {group: len(known.strays) for group, known in zip(self.n_samples, self._known, strict=True)}

    def update(
        self,
        frames: Sequence[Atoms],
        masks: Sequence[ArrayLike] | None = None,
        learned: ForceFieldUpdate | None = None,  # noqa: ARG002  # the protocol's signature
    ) -> None:
        """Let environments join; arguments and errors as :meth:`UncertaintyModel.update`.

        The threshold stays what it was at first, and the measure is kept in its units: at the threshold an environment lies at
        the tail of what is known now.
        """
        self.base.update(frames, masks=masks)
        rows: list[list[Float]] = [[] for _ in self._known]
        ratios: list[Float] = []
        for number, atoms in enumerate(frames):
            frame = self.soap.prepare(atoms)
            chosen = np.arange(len(frame)) if masks is None else np.flatnonzero(np.asarray(masks[number], dtype=bool))
            plain, _, averages, _ = self._averaged(frame, chosen)
            ratios.append(plain)
            for group, members in self._members(frame.kinds[chosen]):
                rows[group].append(averages[members])
        for known, joining in zip(self._known, rows, strict=True):
            if joining:
                known.join(np.concatenate(joining))
        if self._threshold == 0.0:
            self._threshold = self._first_threshold(np.concatenate(ratios), rows)
        self.delta_scale = self._threshold / self.base.auto_threshold()

    def _first_threshold(self, plain: Float, rows: list[list[Float]]) -> float:
        """Threshold in units of which the mean uncertainty of these environments is about 1."""
        mixed = [self._known[group].ratios(np.concatenate(each)) for group, each in enumerate(rows) if each]
        mean = max(float(plain.mean()), float(np.concatenate(mixed).mean()))
        return max(2.0, 1.0 / mean) if 0.0 < mean < np.inf else self.base.auto_threshold()

    def auto_threshold(self) -> float:
        """The threshold of the first model, in whose units the measure stays.

        Raises
        ------
        InputError
            If nothing was seen yet.
        """
        return self._threshold or self.base.auto_threshold()

    def __call__(self, atoms: Atoms | PreparedFrame, indices: ArrayLike | None = None) -> Float:
        """Uncertainty of all atoms or of those at ``indices``, (n,); infinite where that of ``base`` is."""
        frame = self.soap.prepare(atoms)
        return self._threshold * _smooth_greatest(*self._ratios(frame, chosen_atoms(frame, indices)))[0]

    def value_and_gradient(
        self, atoms: Atoms | PreparedFrame, weights: ArrayLike | None = None, reference: ArrayLike | None = None
    ) -> tuple[float, Float, Float]:
        """Objective of the uncertainties and its exact gradient; arguments as :meth:`UncertaintyModel.value_and_gradient`."""
        frame = self.soap.prepare(atoms)
        w, ref = checked(weights, reference, len(frame))
        chosen = np.flatnonzero(w > 0.0)
        w = w[chosen] / w.sum()
        plain, rows, averages, around = self._averaged(frame, chosen)
        ratios, slopes = np.empty(len(chosen)), np.empty_like(averages)
        for group, members in self._members(frame.kinds[chosen]):
            ratios[members], slopes[members] = self._known[group].measured(averages[members])
        greatest, by_plain, by_ratio = _smooth_greatest(plain, ratios)
        parts, by_u = objective(self._threshold * greatest, None if ref is None else ref[chosen])
        by_greatest = np.where(np.isfinite(greatest), w * by_u * self._threshold, 0.0)
        slopes *= (by_greatest * by_ratio)[:, None]
        in_rows, in_positions, in_cell = around.reverse(rows, averages, slopes)
        of_base = np.zeros(len(around.members))
        of_base[around.places] = by_greatest * by_plain / self.base.auto_threshold()
        kinds = frame.kinds[around.members]

        def adjoint(part: slice, vectors: Float) -> Float:
            found: Float = in_rows[part] @ self._directions.T
            found += self.base.known.objective(vectors, kinds[part], of_base[part], None)[1]
            return found

        positions, cell = self.soap.pull_back(frame, around.members, adjoint)
        return float((w * parts).sum()), positions + in_positions, cell + in_cell

    def values_and_pull_back(self, atoms: Atoms | PreparedFrame) -> tuple[Float, PullBack]:
        """Uncertainties of all atoms, and what gives the gradient of their weighted mean: one pass of the descriptor for both.

        See :class:`~idealflow.core.protocols.OnePass`. For a descriptor in single precision it takes two.
        """
        frame = self.soap.prepare(atoms)
        if self.soap.dtype != "float64":
            return two_passes(self, frame)
        plain, rows = np.empty(len(frame)), np.empty((len(frame), self._directions.shape[1]))
        self.base.known.prepare()

        def measure(part: slice, vectors: Float) -> Callable[[NDArray[np.int64], Float], Float]:
            rows[part] = vectors @ self._directions
            plain[part], slopes = self.base.known.measured(vectors, frame.kinds[part])
            return slopes

        blocks = self.soap.keep_blocks(frame, None, measure)
        of_base = self.base.auto_threshold()
        plain /= of_base
        averages = Neighbourhoods(frame, np.arange(len(frame)), self.radius).averages(rows)
        ratios = np.empty(len(frame))
        for group, members in self._members(frame.kinds):
            ratios[members] = self._known[group].ratios(averages[members])

        def pull_back(weights: ArrayLike) -> tuple[Float, Float]:
            w, _ = checked(weights, None, len(frame))
            chosen = np.flatnonzero(w > 0.0)
            around = Neighbourhoods(frame, chosen, self.radius)
            slopes = np.empty((len(chosen), rows.shape[1]))
            for group, members in self._members(frame.kinds[chosen]):
                slopes[members] = self._known[group].measured(averages[chosen[members]])[1]
            greatest, by_plain, by_ratio = _smooth_greatest(plain[chosen], ratios[chosen])
            by_greatest = np.where(np.isfinite(greatest), w[chosen] / w.sum() * self._threshold, 0.0)
            slopes *= (by_greatest * by_ratio)[:, None]
            in_rows, in_positions, in_cell = around.reverse(rows[around.members], averages[chosen], slopes)
            by_row, by_base = np.zeros_like(rows), np.zeros(len(frame))
            by_row[around.members], by_base[chosen] = in_rows, by_greatest * by_plain / of_base
            taking_part = np.zeros(len(frame), dtype=bool)
            taking_part[around.members] = True
            back = []
            for kept, slopes_of in blocks:
                members = np.flatnonzero(taking_part[kept.part])
                found = by_row[kept.part][members] @ self._directions.T
                own = np.flatnonzero(by_base[kept.part][members] > 0.0)
                found[own] += slopes_of(members[own], by_base[kept.part][members[own]])
                if len(members):
                    back.append((kept.only(members), found))
            positions, cell = self.soap.reverse(frame, back)
            return positions + in_positions, cell + in_cell

        return self._threshold * _smooth_greatest(plain, ratios)[0], pull_back

    def covered(
        self, atoms: Atoms | PreparedFrame, threshold: float, indices: ArrayLike | None = None
    ) -> NDArray[np.bool_]:
        """Whether each environment is covered at this threshold, (n,)."""
        frame = self.soap.prepare(atoms)
        chosen = chosen_atoms(frame, indices)
        found = self.base.covered(frame, threshold / self.delta_scale, chosen)
        some = np.flatnonzero(found)
        if len(some):
            plain, mixed = self._ratios(frame, chosen[some])
            some = some[mixed > plain]
        if len(some):
            vectors, kinds = self.soap(frame, chosen[some]), frame.kinds[chosen[some]]
            found[some] = self.base.known.covered(vectors, kinds, threshold / self.delta_scale, _REACH)
        return found

    def _ratios(self, frame: PreparedFrame, chosen: NDArray[np.int64]) -> tuple[Float, Float]:
        """Distances of chosen atoms over their thresholds: the base's and the mixture's, (n,) each."""
        plain, _, averages, _ = self._averaged(frame, chosen)
        mixed = np.empty(len(chosen))
        for group, members in self._members(frame.kinds[chosen]):
            mixed[members] = self._known[group].ratios(averages[members])
        return plain, mixed

    def _averaged(self, frame: PreparedFrame, chosen: NDArray[np.int64]) -> tuple[Float, Float, Float, Neighbourhoods]:
        """The base's distance of chosen atoms over its threshold, (n,); projected vectors (m, d) and their averages (n, d)."""
        around = Neighbourhoods(frame, chosen, self.radius)
        kinds, asked = frame.kinds[around.members], np.zeros(len(around.members), dtype=bool)
        asked[around.places] = True
        plain, rows = np.zeros(len(asked)), np.empty((len(asked), self._directions.shape[1]))
        self.base.known.prepare()

        def block(part: slice, vectors: Float) -> None:
            rows[part] = vectors @ self._directions
            if asked[part].all():  # nothing to copy
                plain[part] = self.base.known.distances(vectors, kinds[part])
                return
            some = np.flatnonzero(asked[part])
            plain[part.start + some] = self.base.known.distances(vectors[some], kinds[part][some])

        for _ in self.soap.map_blocks(frame, around.members, block):
            pass
        return plain[around.places] / self.base.auto_threshold(), rows, around.averages(rows), around

    def _members(self, kinds: NDArray[np.int64]) -> list[tuple[int, NDArray[np.int64]]]:
        groups = np.asarray(self._groups)[kinds]
        return [(int(group), np.flatnonzero(groups == group)) for group in np.unique(groups)]

    def save(self, path: str | Path) -> Path:
        """Write to one file, atomically and exactly."""
        arrays: dict[str, NDArray[Any]] = {"base": packed(self.base.save), "directions": self._directions}
        groups = []
        for number, known in enumerate(self._known):
            own, plain = known.to_arrays()
            arrays |= {f"{number}/{name}": array for name, array in own.items()}
            groups.append(plain)
        meta = {"radius": self.radius, "threshold": self._threshold, "groups": groups}
        return write_archive(path, file_kind(self.name), _VERSION, arrays, meta)

    @classmethod
    def load(cls, path: str | Path, device: str | None = None) -> Self:
        """Read what :meth:`save` wrote; of it coverage alone is computed on ``device``.

        Raises
        ------
        ArtifactError
            If the file is missing, cut short, damaged, foreign, or of a newer version.
        """
        arrays, meta = read_archive(path, file_kind(cls.name), _VERSION)
        base = unpacked(arrays.pop("base"), lambda part: UncertaintyModel.load(part, device))
        model = cls(base, radius=meta["radius"])
        model._directions = arrays.pop("directions")
        for number, plain in enumerate(meta["groups"]):
            own = {name.removeprefix(f"{number}/"): a for name, a in arrays.items() if name.startswith(f"{number}/")}
            model._known[number] = Components.from_arrays(own, plain)
        model._threshold = meta["threshold"]
        if model._threshold > 0.0:
            model.delta_scale = model._threshold / base.auto_threshold()
        return model


def _smooth_greatest(one: Float, two: Float) -> tuple[Float, Float, Float]:
    """(a^p + b^p)^(1/p) of two ratios (n,), and its derivatives by both; infinite where either is."""
    greatest = np.maximum(one, two)
    scale = np.where(np.isfinite(greatest) & (greatest > 0.0), greatest, 1.0)
    a, b = (np.where(np.isfinite(each), each, 0.0) / scale for each in (one, two))
    sums = np.maximum(a**_POWER + b**_POWER, 1e-300)
    values = np.where(np.isfinite(greatest), scale * sums ** (1.0 / _POWER), np.inf)
    values = np.where(greatest > 0.0, values, 0.0)
    factor = sums ** (1.0 / _POWER - 1.0)
    return values, a ** (_POWER - 1) * factor, b ** (_POWER - 1) * factor
