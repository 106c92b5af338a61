"""Atom-wise uncertainty: the Mahalanobis distance of an environment's SOAP vector from the training distribution."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from idealflow.core.archive import read_archive, write_archive
from idealflow.core.descriptors import SOAP, PreparedFrame, chosen_atoms
from idealflow.core.known import KnownEnvironments
from idealflow.core.numba_engine import NumbaEngine
from idealflow.core.objective import checked
from idealflow.core.protocols import (
    FirstEnvironments,
    ForceFieldFit,
    ForceFieldUpdate,
    PullBack,
    UncertaintyDefaults,
    two_passes,
)
from idealflow.core.registry import file_kind
from idealflow.errors import ArtifactError, InputError

if TYPE_CHECKING:
    from idealflow.core.torch_engine import TorchEngine

__all__ = ["UncertaintyModel"]

_VERSION = 3

_METRIC_KIND, _METRIC_VERSION = "idealflow metric", 1

#: numbers of descriptors that are gathered before they join
_GATHERED = 1 << 23

Float = NDArray[np.float64]


class UncertaintyModel(UncertaintyDefaults):
    """Distribution of the training environments per species, and the distance of others from it.

    ``Unc(ρ_i) = (v_i − x̄)ᵀ Σ⁻¹ (v_i − x̄) / k`` with v the SOAP vector and Σ⁻¹ taken in the k eigenvectors that carry the
    training set's variance: 1 is the mean in distribution, in any system. What of v lies outside these eigenvectors is
    measured by the variance that left-out distinct environments show there (:mod:`idealflow.core.left_out`). Make one with
    :meth:`fit` or :meth:`load`. It is the default :class:`~idealflow.core.Uncertainty`, ``soap``.

    Parameters
    ----------
    soap
        The descriptor.
    pooled
        One distribution for all species (the paper's form) instead of one for each.
    relative_cut
        Directions in which the variance is below this fraction of the largest are never taken from the samples.
    seed
        Seed of the sample of distinct training environments.
    device
        Where uncertainties, gradients and coverage are computed: None is numba on this machine's cores; ``"cuda"``, ``"cuda:1"``
        or ``"cpu"`` is torch on that device, always in double precision. The distribution itself is always taken on the CPU, and
        files say nothing of the device.
    eigen_cut
        Former name of ``relative_cut``.

    Raises
    ------
    InputError
        For a ``relative_cut`` outside 0 to 1, or a device that is not there.

    Examples
    --------
    The twelve neighbours of a vacancy are unlike anything in a rattled crystal:

    >>> from ase.build import bulk
    >>> from idealflow.core import SOAP, UncertaintyModel
    >>> crystal = bulk("Cu", cubic=True) * 3
    >>> crystal.rattle(0.05, seed=1)
    >>> u = UncertaintyModel.fit([crystal], SOAP(["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3))
    >>> frame = bulk("Cu", cubic=True) * 3
    >>> del frame[0]
    >>> values = u(frame)
    >>> values.shape, int((values > u.auto_threshold()).sum())
    ((107,), 12)
    """

    name: ClassVar[str] = "soap"

    def __init__(
        self,
        soap: SOAP,
        *,
        pooled: bool = False,
        relative_cut: float = 1e-7,
        seed: int = 0,
        device: str | None = None,
        eigen_cut: float | None = None,
    ) -> None:
        cut = relative_cut if eigen_cut is None else eigen_cut
        if not 0.0 < cut < 1.0:
            raise InputError(f"relative_cut must lie between 0 and 1 (useful: 1e-6 to 1e-8), got {cut}")
        self.soap = soap
        self._known = KnownEnvironments(soap.species, soap.n_features, bool(pooled), float(cut), seed)
        self._engine = NumbaEngine(soap) if device is None else _torch_engine(soap, device)

    @classmethod
    def fit(
        cls,
        frames: Sequence[Atoms],
        soap: SOAP,
        *,
        pooled: bool = False,
        relative_cut: float = 1e-7,
        seed: int = 0,
        masks: Sequence[ArrayLike] | None = None,
        device: str | None = None,
        eigen_cut: float | None = None,
    ) -> Self:
        """Distribution of all environments in ``frames``; arguments as the class's and :meth:`update`'s."""
        model = cls(soap, pooled=pooled, relative_cut=relative_cut, seed=seed, device=device, eigen_cut=eigen_cut)
        model.update(frames, masks=masks)
        return model

    @classmethod
    def begin(cls, first: FirstEnvironments, fit: ForceFieldFit) -> Self:  # noqa: ARG003  # the protocol's signature
        """The first one of a campaign: :meth:`fit` on its structures."""
        return cls.fit(first.frames, first.soap, pooled=first.pooled, seed=first.seed)

    @property
    def known(self) -> KnownEnvironments:
        """What environments are compared with, for measures that build on this one."""
        return self._known

    @property
    def device(self) -> str | None:
        """Torch device that computes; None: numba."""
        return None if self._engine.device is None else str(self._engine.device)

    @property
    def cutoff(self) -> float:
        """How far an environment reaches, Å."""
        return self.soap.cutoff

    @property
    def species(self) -> tuple[str, ...]:
        """Species the descriptor knows."""
        return self.soap.species

    @property
    def pooled(self) -> bool:
        """Whether all species share one distribution."""
        return self._known.pooled

    @property
    def relative_cut(self) -> float:
        """Directions in which the variance is below this fraction of the largest are never taken from the samples."""
        return self._known.relative_cut

    @property
    def n_samples(self) -> dict[str, int]:
        """Environments in the distribution, by species (or ``pooled``)."""
        return {group: distribution.n for group, distribution in self._known.distributions.items()}

    @property
    def n_distinct(self) -> dict[str, int]:
        """Distinct environments among them, by species (or ``pooled``); beyond 512 an estimate, good to 4 %."""
        return {group: sample.count for group, sample in self._known.samples.items()}

    @property
    def too_few(self) -> dict[str, int]:
        """Species (or ``pooled``) that were seen in so few distinct environments, the number, that nothing can be said of others.

        Everything but those is infinitely uncertain there.
        """
        return self._known.too_few

    @property
    def n_dimensions(self) -> dict[str, float]:
        """Dimensions k by which uncertainties are divided, by species (or ``pooled``); 0 where nothing was seen."""
        whiteners = {group: self._known.whitener(group) for group in self._known.distributions}
        return {group: 0.0 if whitener is None else whitener.k for group, whitener in whiteners.items()}

    @property
    def n_covered(self) -> dict[str, int]:
        """Learned centres that cover, by species."""
        return {species: len(coverage.learned) for species, coverage in self._known.coverage.items()}

    @property
    def n_quarantined(self) -> dict[str, int]:
        """Quarantined centres, by species."""
        return {species: len(coverage.quarantined) for species, coverage in self._known.coverage.items()}

    def update(
        self,
        frames: Sequence[Atoms],
        masks: Sequence[ArrayLike] | None = None,
        learned: ForceFieldUpdate | None = None,  # noqa: ARG002  # the protocol's signature
    ) -> None:
        """Let environments join the distribution.

        Parameters
        ----------
        frames
            Structures; the environment of every atom joins.
        masks
            For each structure (n_atoms,) bool: which atoms join; None: all.
        learned
            How the force field has learned them: nothing to a distribution.

        Raises
        ------
        InputError
            For no frames, unknown species, or positions that are not finite; nothing is changed then.
        """
        if len(frames) == 0:
            raise InputError("a distribution needs at least one structure, got none; give labelled structures")
        if masks is not None and len(masks) != len(frames):
            raise InputError(f"masks must be one per structure, got {len(masks)} for {len(frames)}")
        prepared = [self.soap.prepare(atoms) for atoms in frames]
        gathered: list[tuple[Float, NDArray[np.int64]]] = []
        for number, frame in enumerate(prepared):
            chosen = np.arange(len(frame)) if masks is None else np.flatnonzero(np.asarray(masks[number], dtype=bool))
            kinds = frame.kinds[chosen]
            for part, vectors in self.soap.map_blocks(frame, chosen, lambda part, vectors: (part, vectors)):
                gathered.append((vectors, kinds[part]))
                if sum(each.size for each, _ in gathered) >= _GATHERED:
                    self._join(gathered)
        self._join(gathered)

    def _join(self, gathered: list[tuple[Float, NDArray[np.int64]]]) -> None:
        """Let descriptors and their species join, and empty the list."""
        if gathered:
            vectors, kinds = (np.concatenate(each) for each in zip(*gathered, strict=True))
            self._known.join(vectors, kinds)
            gathered.clear()

    def __call__(self, atoms: Atoms | PreparedFrame, indices: ArrayLike | None = None, *, raw: bool = False) -> Float:
        """Uncertainty of all atoms or of those at ``indices``, (n,).

        Parameters
        ----------
        raw
            The paper's form, not divided by the number of dimensions.

        Returns
        -------
        (n,)
            Infinite for a species never seen in training; and for one with :attr:`too_few` distinct environments, but for those.

        Raises
        ------
        InputError
            For a species outside the descriptor's, or positions that are not finite.
        """
        frame = self.soap.prepare(atoms)
        return self._engine.distances(frame, chosen_atoms(frame, indices), self._known, raw=raw)

    def value_and_gradient(
        self, atoms: Atoms | PreparedFrame, weights: ArrayLike | None = None, reference: ArrayLike | None = None
    ) -> tuple[float, Float, Float]:
        """Objective of the uncertainties, and its exact gradient.

        Parameters
        ----------
        weights : (n_atoms,), optional
            Weight of each atom in the mean; default 1. Atoms of weight 0 cost nothing.
        reference : (n_atoms,), optional
            None: the objective is the weighted mean of u. Given: the weighted mean of log(1 + max(0, u / reference − 1)).

        Returns
        -------
        value : float
        positions_gradient : (n_atoms, 3), per Å
        cell_gradient : (3, 3), per Å, at fixed Cartesian positions

        Raises
        ------
        InputError
            For negative weights, weights that sum to zero, references that are not positive, or bad atoms.
        """
        frame = self.soap.prepare(atoms)
        w, ref = checked(weights, reference, len(frame))
        chosen = np.flatnonzero(w > 0.0)
        w = w[chosen] / w.sum()
        ref = None if ref is None else ref[chosen]
        return self._engine.value_and_gradient(frame, chosen, w, ref, self._known)

    def values_and_pull_back(self, atoms: Atoms | PreparedFrame) -> tuple[Float, PullBack]:
        """Uncertainties of all atoms, and what gives the gradient of their weighted mean: one pass does for both.

        See :class:`~idealflow.core.protocols.OnePass`. On a torch device, and for a descriptor in single precision, it takes two.
        """
        frame = self.soap.prepare(atoms)
        if not isinstance(self._engine, NumbaEngine) or self.soap.dtype != "float64":
            return two_passes(self, frame)
        values, pull_back = self._engine.values_and_pull_back(frame, self._known)

        def checked_first(weights: ArrayLike) -> tuple[Float, Float]:
            w, _ = checked(weights, None, len(frame))
            return pull_back(w / w.sum())

        return values, checked_first

    def prepare(self, atoms: Atoms | PreparedFrame) -> PreparedFrame:
        """The frame, checked and sorted for neighbour search: taken by all methods in its place."""
        return self.soap.prepare(atoms)

    def descriptors(self, atoms: Atoms | PreparedFrame, indices: ArrayLike | None = None) -> Float:
        """SOAP vectors, (n, n_features)."""
        frame = self.soap.prepare(atoms)
        return self._engine.descriptors(frame, chosen_atoms(frame, indices))

    def fingerprints(self, atoms: Atoms | PreparedFrame, indices: ArrayLike | None = None) -> list[Float]:
        """Vectors in which squared distances are the normalised δ, one for each environment; NaN for a species never seen."""
        frame = self.soap.prepare(atoms)
        chosen = chosen_atoms(frame, indices)
        vectors, found = self.descriptors(frame, chosen), [np.full(1, np.nan)] * len(chosen)
        for kind in np.unique(frame.kinds[chosen]).tolist():
            rows = np.flatnonzero(frame.kinds[chosen] == kind)
            whitened = self.whitened(vectors[rows], kind)
            if whitened is not None:
                for row, vector in zip(rows.tolist(), whitened, strict=True):
                    found[row] = vector
        return found

    def cover(self, atoms: Atoms | PreparedFrame, indices: ArrayLike, *, quarantined: bool = False) -> None:
        """Let the environments at ``indices`` cover their like (:mod:`idealflow.core.coverage`).

        Parameters
        ----------
        quarantined
            Their labels failed for good: they cover until :meth:`forget_quarantined`.
        """
        frame = self.soap.prepare(atoms)
        chosen = chosen_atoms(frame, indices)
        for vector, kind in zip(self.soap(frame, chosen), frame.kinds[chosen], strict=True):
            coverage = self._known.coverage[self.species[kind]]
            (coverage.quarantined if quarantined else coverage.learned).append(vector)

    def forget_quarantined(self) -> None:
        """Let quarantined environments ask for labels again."""
        for coverage in self._known.coverage.values():
            coverage.forget_quarantined()

    def covered(
        self, atoms: Atoms | PreparedFrame, threshold: float, indices: ArrayLike | None = None
    ) -> NDArray[np.bool_]:
        """Whether each environment (of all atoms, or those at ``indices``) is covered at this threshold, (n,)."""
        frame = self.soap.prepare(atoms)
        chosen = chosen_atoms(frame, indices)
        covering = [kind for kind, species in enumerate(self.species) if len(self._known.coverage[species])]
        candidates = np.flatnonzero(np.isin(frame.kinds[chosen], covering))
        out = np.zeros(len(chosen), dtype=bool)
        out[candidates] = self._engine.covered(frame, chosen[candidates], self._known, threshold)
        return out

    def whitened(self, vectors: Float, kind: int) -> Float | None:
        """Descriptors (n, d) of one species in units in which squared distances are the normalised δ, (n, m).

        ``kind`` is the index in ``species``; None if the species was never seen.
        """
        return self._known.whitened(vectors, kind)

    def auto_threshold(self) -> float:
        """Threshold τ from the training distribution's own tail.

        The 99th percentile of the uncertainties that distinct training environments have where they are left out, and a margin as
        large as that percentile is of the same environments where they are known (of fewer than 40: as large as itself); of the
        species where it is highest, and at least 2. A uniform sample of at most 512 distinct environments per species stands
        for all. Species with too few of them (:attr:`too_few`) have no say.

        Raises
        ------
        InputError
            If nothing was seen yet.
        """
        return self._known.auto_threshold()

    def save(self, path: str | Path) -> Path:
        """Write to one file, atomically and exactly."""
        arrays, plain = self._known.to_arrays()
        return write_archive(path, file_kind(self.name), _VERSION, arrays, {"soap": self.soap.to_dict(), **plain})

    def save_metric(self, path: str | Path) -> Path:
        """Write the metric, which is made from the distribution, to a file of its own: a cache for :meth:`take_metric`."""
        arrays, plain = self._known.metrics_to_arrays()
        return write_archive(path, _METRIC_KIND, _METRIC_VERSION, arrays, {"n": self.n_samples, "groups": plain})

    def take_metric(self, path: str | Path) -> None:
        """Take the metric of this very distribution from the file of :meth:`save_metric`, in place of making it again.

        Raises
        ------
        ArtifactError
            If the file is missing, damaged, foreign, or another distribution's.
        """
        arrays, meta = read_archive(path, _METRIC_KIND, _METRIC_VERSION)
        if meta["n"] != self.n_samples:
            raise ArtifactError(f"{path} is the metric of {meta['n']} environments, not of {self.n_samples}; delete it")
        self._known.take_metrics(arrays, meta["groups"])

    @classmethod
    def load(cls, path: str | Path, device: str | None = None) -> Self:
        """Read what :meth:`save` wrote; ``device`` as the class's.

        Raises
        ------
        ArtifactError
            If the file is missing, cut short, damaged, foreign, or of a newer version. Former ones are read
            (:meth:`idealflow.core.known.KnownEnvironments.from_arrays`).
        InputError
            For a device that is not there.
        """
        arrays, meta = read_archive(path, file_kind(cls.name), _VERSION)
        soap = SOAP.from_dict(meta["soap"])
        model = cls(soap, device=device)
        model._known = KnownEnvironments.from_arrays(soap.species, soap.n_features, arrays, meta)
        return model


def _torch_engine(soap: SOAP, device: str) -> TorchEngine:
    from idealflow.core.torch_engine import TorchEngine  # torch takes a second to import

    return TorchEngine(soap, device)
