"""A base class for measures of one's own: everything that an uncertainty has to offer but the measure itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from idealflow.core.archive import packed, read_archive, unpacked, write_archive
from idealflow.core.descriptors import SOAP, PreparedFrame
from idealflow.core.protocols import ForceFieldUpdate, UncertaintyDefaults
from idealflow.core.registry import file_kind
from idealflow.core.uncertainty import UncertaintyModel

__all__ = ["SOAPCoverage"]

_VERSION = 1
_TAIL_QUANTILE, _TAIL_FACTOR = 0.99, 2.0

Float = NDArray[np.float64]


class SOAPCoverage(UncertaintyDefaults):
    """Coverage, counts and files from a SOAP model, for a measure of your own.

    Of :class:`~idealflow.core.Uncertainty` a subclass writes ``begin``, ``__call__`` and ``value_and_gradient``, and ``update``
    where learning changes more than the SOAP model. It inherits

    - which environments are alike (``fingerprints``) and which are covered (``covered``, ``cover``, ``forget_quarantined``,
      ``prepare``): those of the SOAP model ``base``, in the measure's own units;
    - ``species``, ``cutoff``, and the counts ``n_samples``, ``too_few``, ``n_covered`` and ``n_quarantined``: those of ``base``;
    - ``auto_threshold`` (:meth:`matched`), ``copy``, ``check`` (any force field will do) and ``refit`` (it stays as it is);
    - ``save`` and ``load``, of ``base`` and ``parameters``. A subclass whose constructor takes something else writes its own;
    - ``name``: its import path ``module:Class``, unless it says another.

    Parameters
    ----------
    base
        SOAP model of the same training environments, which :meth:`update` changes. Its true cutoff should be at least that of the
        measure.
    delta_scale
        The measure's thresholds over those of ``base``; see :meth:`matched`.
    parameters
        Arrays and numbers that the measure has learned, by name; they are saved with it.

    Examples
    --------
    The plain distance from the mean descriptor, of one species:

    >>> import numpy as np
    >>> from idealflow.core import SOAP, SOAPCoverage, UncertaintyModel
    >>> class Distance(SOAPCoverage):
    ...     @classmethod
    ...     def begin(cls, first, fit):
    ...         centre = np.concatenate([first.soap(atoms) for atoms in first.frames]).mean(axis=0)
    ...         return cls(UncertaintyModel.begin(first, fit), parameters={"centre": centre})
    ...
    ...     def __call__(self, atoms, indices=None):
    ...         return ((self.soap(atoms, indices) - self.parameters["centre"]) ** 2).sum(axis=1)
    >>> from ase.build import bulk
    >>> from idealflow.core.protocols import FirstEnvironments, ForceFieldFit
    >>> soap = SOAP(["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3)
    >>> u = Distance.begin(FirstEnvironments([bulk("Cu", cubic=True)], soap), ForceFieldFit())
    >>> u.n_samples, bool(u(bulk("Cu"))[0] < 1e-12)
    ({'Cu': 4}, True)
    """

    name: ClassVar[str]

    def __init__(
        self,
        base: UncertaintyModel,
        delta_scale: float = 1.0,
        parameters: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        self.base = base
        self.delta_scale = float(delta_scale)
        self.parameters = {key: np.asarray(value) for key, value in (parameters or {}).items()}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" not in vars(cls):
            cls.name = f"{cls.__module__}:{cls.__qualname__}"

    def update(
        self,
        frames: Sequence[Atoms],
        masks: Sequence[ArrayLike] | None = None,
        learned: ForceFieldUpdate | None = None,  # noqa: ARG002  # the protocol's signature
    ) -> None:
        """Let environments join ``base``; arguments and errors as :meth:`UncertaintyModel.update`."""
        self.base.update(frames, masks=masks)

    def matched(self, values: ArrayLike) -> Self:
        """Itself, with the threshold that its own tail gives: twice the 99th percentile of ``values``, and at least 2.

        Distances between environments, by which coverage is decided, are scaled with it.

        Parameters
        ----------
        values : (n,)
            The measure of the training environments.
        """
        threshold = _TAIL_FACTOR * max(1.0, float(np.quantile(np.asarray(values, dtype=np.float64), _TAIL_QUANTILE)))
        self.delta_scale = threshold / self.base.auto_threshold()
        return self

    def auto_threshold(self) -> float:
        """Threshold τ of the measure: that of ``base`` times ``delta_scale``."""
        return self.delta_scale * self.base.auto_threshold()

    @property
    def soap(self) -> SOAP:
        """Descriptor in which environments are compared."""
        return self.base.soap

    @property
    def cutoff(self) -> float:
        """How far an environment reaches, Å."""
        return self.base.cutoff

    @property
    def species(self) -> tuple[str, ...]:
        """Species that may occur."""
        return self.base.species

    @property
    def n_samples(self) -> dict[str, int]:
        """Environments in the distribution, by species (or ``pooled``)."""
        return self.base.n_samples

    @property
    def too_few(self) -> dict[str, int]:
        """Species that were seen in too few distinct environments; see :attr:`UncertaintyModel.too_few`."""
        return self.base.too_few

    @property
    def n_covered(self) -> dict[str, int]:
        """Learned centres that cover, by species."""
        return self.base.n_covered

    @property
    def n_quarantined(self) -> dict[str, int]:
        """Quarantined centres, by species."""
        return self.base.n_quarantined

    def prepare(self, atoms: Atoms | PreparedFrame) -> PreparedFrame:
        """The frame, sorted for neighbour search once."""
        return self.base.prepare(atoms)

    def fingerprints(self, atoms: Atoms | PreparedFrame, indices: ArrayLike | None = None) -> list[Float]:
        """Vectors whose squared distances compare with thresholds of this measure; see :meth:`UncertaintyModel.fingerprints`."""
        return [vector * np.sqrt(self.delta_scale) for vector in self.base.fingerprints(atoms, indices)]

    def cover(self, atoms: Atoms | PreparedFrame, indices: ArrayLike, *, quarantined: bool = False) -> None:
        """Let the environments at ``indices`` cover their like; see :meth:`UncertaintyModel.cover`."""
        self.base.cover(atoms, indices, quarantined=quarantined)

    def forget_quarantined(self) -> None:
        """Let quarantined environments ask for labels again."""
        self.base.forget_quarantined()

    def covered(
        self, atoms: Atoms | PreparedFrame, threshold: float, indices: ArrayLike | None = None
    ) -> NDArray[np.bool_]:
        """Whether each environment is covered at this threshold of the measure, (n,)."""
        return self.base.covered(atoms, threshold / self.delta_scale, indices)

    def save(self, path: str | Path) -> Path:
        """Write ``base``, ``delta_scale`` and ``parameters`` to one file, atomically and exactly."""
        arrays = {f"parameter/{key}": array for key, array in self.parameters.items()}
        arrays["base"] = packed(self.base.save)
        return write_archive(path, file_kind(self.name), _VERSION, arrays, {"delta_scale": self.delta_scale})

    @classmethod
    def load(cls, path: str | Path, device: str | None = None) -> Self:
        """Read what :meth:`save` wrote; ``base`` computes on ``device``.

        Raises
        ------
        ArtifactError
            If the file is missing, cut short, damaged, foreign, or of a newer version.
        """
        arrays, meta = read_archive(path, file_kind(cls.name), _VERSION)
        base = unpacked(arrays.pop("base"), lambda part: UncertaintyModel.load(part, device))
        parameters = {key.removeprefix("parameter/"): array for key, array in arrays.items()}
        return cls(base, meta["delta_scale"], parameters)
