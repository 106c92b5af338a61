"""What an uncertainty has to offer: one protocol, for the core and for whole campaigns.

Everything else in the package asks for no more than this. :class:`~idealflow.core.UncertaintyModel` and the committee of force
fields keep it; :class:`~idealflow.core.SOAPCoverage` is a base class that leaves only the measure itself to write; and
:func:`idealflow.testing.check_uncertainty` proves that a class keeps it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from idealflow.core.descriptors import SOAP

__all__ = [
    "FirstEnvironments",
    "FollowsForceField",
    "ForceFieldFit",
    "ForceFieldUpdate",
    "OnePass",
    "PullBack",
    "Uncertainty",
    "UncertaintyDefaults",
    "two_passes",
]

Float = NDArray[np.float64]
#: from weights (n_atoms,) to the gradient of the weighted mean of u, in positions (n_atoms, 3) and cell (3, 3), per Å
PullBack = Callable[[ArrayLike], tuple[Float, Float]]


@dataclass(frozen=True)
class FirstEnvironments:
    """The structures that a campaign begins with, from which an uncertainty takes its first distribution.

    Attributes
    ----------
    frames
        All labelled structures, those kept out of training too.
    soap
        Descriptor by the campaign's settings, of all species that may occur. An uncertainty need not use it.
    pooled
        Whether all species share one distribution.
    seed
        Seed of whatever is drawn from the environments.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core import SOAP
    >>> soap = SOAP(["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3)
    >>> FirstEnvironments([bulk("Cu", cubic=True)], soap).pooled
    False
    """

    frames: Sequence[Atoms]
    soap: SOAP
    pooled: bool = False
    seed: int = 0


@dataclass(frozen=True)
class ForceFieldFit:
    """The force field of a campaign was fitted from scratch: who needs force fields makes them anew.

    Attributes
    ----------
    force_field
        The fitted one, which drives the dynamics; an :class:`idealflow.forcefields.ForceField`.
    untrained
        The same architecture and settings, whose copies can be trained.
    frames
        Labelled structures that it was fitted to: ase Atoms whose calculator holds energy (eV), forces (eV/Å) and maybe stress.
    steps
        Gradient steps of the fit; None: the force field's own number.
    seed
        Seed of what else is fitted.

    Examples
    --------
    An uncertainty that needs no force field does not look at it:

    >>> ForceFieldFit().force_field is None
    True
    """

    force_field: object = None
    untrained: object = None
    frames: Sequence[Atoms] = ()
    steps: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class ForceFieldUpdate:
    """The force field of a campaign has learned new labels, by these settings.

    Attributes
    ----------
    force_field
        The one that has learned them, which drives the dynamics from now on; an :class:`idealflow.forcefields.ForceField`. None:
        there is no such force field.
    steps, learning_rate
        Gradient steps of the update, and the optimiser's step size.
    n_replay
        Earlier structures trained on together with the new ones.

    Examples
    --------
    >>> ForceFieldUpdate(steps=5).learning_rate
    0.0003
    """

    force_field: object = None
    steps: int = 20
    learning_rate: float = 3e-4
    n_replay: int = 16


@runtime_checkable
class FollowsForceField(Protocol):
    """An uncertainty that judges with the campaign's own force field, such as a committee that it leads. Optional.

    Examples
    --------
    >>> from idealflow.core import UncertaintyModel
    >>> from idealflow.forcefields import CommitteeUncertainty
    >>> issubclass(CommitteeUncertainty, FollowsForceField), issubclass(UncertaintyModel, FollowsForceField)
    (True, False)
    """

    def led_by(self, force_field: object) -> Uncertainty:
        """A copy that judges with another version of the force field, which has learned no new structures."""
        ...


@runtime_checkable
class Uncertainty(Protocol):
    """A number for each atom that says how new its surroundings are, its gradient, and what of the new is covered.

    1 is the mean over the training environments. ``atoms`` are ase Atoms; ``indices`` choose some of them, None all. A measure is
    a pure, deterministic function of the frame and of what it has learned. Methods raise
    :class:`~idealflow.errors.InputError` for species that it does not know and for positions that are not finite.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core import SOAP, UncertaintyModel
    >>> cells = [bulk("Cu", a=a, cubic=True) for a in (3.5, 3.55, 3.6, 3.65, 3.7, 3.75, 3.8)]
    >>> u = UncertaintyModel.fit(cells, SOAP(["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3))
    >>> isinstance(u, Uncertainty), u.name
    (True, 'soap')
    """

    #: how configs and files name the class: as it is registered, that of its entry point, or ``module:Class``
    name: ClassVar[str]

    #: whether it learns energies and forces too: it then has to be fitted anew when labels turn out to be wrong
    learns_labels: ClassVar[bool]

    @classmethod
    def check(cls, force_field: object) -> None:
        """Refuse a force field that it cannot work with, before anything is computed.

        Parameters
        ----------
        force_field
            Untrained, as the campaign is going to use it; an :class:`idealflow.forcefields.ForceField`.

        Raises
        ------
        InputError
            Naming what the force field lacks.
        """

    @classmethod
    def begin(cls, first: FirstEnvironments, fit: ForceFieldFit, **settings: Any) -> Self:
        """Make the first one of a campaign.

        Parameters
        ----------
        first, fit
            What there is to learn from.
        settings
            ``bootstrap.uncertainty_settings`` of the config; name yours as keywords, and unknown ones are refused at the start.
        """

    def refit(self, fit: ForceFieldFit) -> Self:
        """What becomes of it where the force field was fitted anew: itself, unless it :attr:`learns_labels`."""

    def update(
        self,
        frames: Sequence[Atoms],
        masks: Sequence[ArrayLike] | None = None,
        learned: ForceFieldUpdate | None = None,
    ) -> None:
        """Let labelled structures join what it knows.

        Parameters
        ----------
        frames
            Structures.
        masks
            For each structure (n_atoms,) bool: which atoms join; None: all.
        learned
            How the force field has learned them; None: it has not.
        """

    @property
    def cutoff(self) -> float:
        """How far an environment reaches, Å: moving atoms farther away changes nothing."""

    @property
    def species(self) -> tuple[str, ...]:
        """Chemical symbols that may occur."""

    @property
    def n_samples(self) -> dict[str, int]:
        """Training environments of each species, 0 for one never seen; or of all together, under ``pooled``."""

    @property
    def too_few(self) -> dict[str, int]:
        """Species (or ``pooled``) seen in too few distinct environments to judge others by, and in how many."""

    @property
    def n_quarantined(self) -> dict[str, int]:
        """Environments of each species that cover although they were not learned: their labels failed."""

    def __call__(self, atoms: Atoms, indices: ArrayLike | None = None) -> Float:
        """Uncertainty of each atom, (n,), at least 0; infinite for a species never seen."""

    def value_and_gradient(
        self, atoms: Atoms, weights: ArrayLike | None = None, reference: ArrayLike | None = None
    ) -> tuple[float, Float, Float]:
        """One number that a relaxation lowers, and its exact gradient.

        Parameters
        ----------
        weights : (n_atoms,), optional
            Weight of each atom in the mean, at least 0; None: 1.
        reference : (n_atoms,), optional
            None: the number is the weighted mean of u. Given, positive: of log(1 + max(0, u / reference − 1)).

        Returns
        -------
        value : float
        positions_gradient : (n_atoms, 3), per Å
        cell_gradient : (3, 3), per Å, at fixed Cartesian positions
        """

    def auto_threshold(self) -> float:
        """Threshold τ above which an atom is uncertain, from the tail of the training environments."""

    def prepare(self, atoms: Atoms) -> Any:
        """Anything that :meth:`covered` and :meth:`fingerprints` take in place of a frame they are asked about often.

        The frame itself will do.
        """

    def covered(self, atoms: Any, threshold: float, indices: ArrayLike | None = None) -> NDArray[np.bool_]:
        """Whether each environment is so like a covering one that it asks for no label, (n,) bool."""

    def fingerprints(self, atoms: Any, indices: ArrayLike | None = None) -> Sequence[Float]:
        """A vector for each environment: two of one species are alike where the squared distance of theirs is at most 2 τ.

        Vectors of one species are of equal length; those of a species never seen are NaN.
        """

    def cover(self, atoms: Any, indices: ArrayLike, *, quarantined: bool = False) -> None:
        """Let environments cover their like.

        Parameters
        ----------
        quarantined
            Their labels failed: they cover until :meth:`forget_quarantined`.
        """

    def forget_quarantined(self) -> None:
        """Let quarantined environments ask for labels again."""

    def copy(self) -> Self:
        """An independent copy: learning and covering change one alone."""

    def save(self, path: str | Path) -> Path:
        """Write everything to one file, exactly, and give its path back.

        The file is an archive (:func:`idealflow.core.archive.write_archive`) of the kind that
        :func:`idealflow.core.registry.file_kind` gives for :attr:`name`.
        """

    @classmethod
    def load(cls, path: str | Path, device: str | None = None) -> Self:
        """Read what :meth:`save` wrote.

        Parameters
        ----------
        device
            Torch device to compute on, for measures that can.

        Raises
        ------
        ArtifactError
            If the file is missing, cut short, damaged, foreign, or of a newer version.
        """


@runtime_checkable
class OnePass(Protocol):
    """An uncertainty that keeps from its values what their gradient needs, so that a step of the relaxation costs less. Optional.

    Examples
    --------
    >>> from idealflow.core import UncertaintyModel
    >>> issubclass(UncertaintyModel, OnePass)
    True
    """

    def values_and_pull_back(self, atoms: Atoms) -> tuple[Float, PullBack]:
        """The uncertainty of each atom, (n,), and what gives the gradient of their mean by any weights (n,).

        Both are those that the measure's call and ``value_and_gradient`` give.
        """
        ...


class Differentiable(Protocol):
    """Values and gradients: what :func:`two_passes` needs of an uncertainty."""

    def __call__(self, atoms: Any) -> Float: ...

    def value_and_gradient(self, atoms: Any, weights: ArrayLike | None = None) -> tuple[float, Float, Float]: ...


def two_passes(u: Differentiable, atoms: Any) -> tuple[Float, PullBack]:
    """The same of an uncertainty that is no :class:`OnePass`: its values first, its gradient by a second computation.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core import SOAP, UncertaintyModel
    >>> crystal = bulk("Cu", cubic=True) * 3
    >>> crystal.rattle(0.1, seed=1)
    >>> u = UncertaintyModel.fit([crystal], SOAP(species=["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3))
    >>> crystal.rattle(0.1, seed=2)
    >>> (values, pull_back), (same, as_well) = two_passes(u, crystal), u.values_and_pull_back(crystal)
    >>> bool((values == same).all()), np.allclose(pull_back(values)[0], as_well(values)[0], rtol=1e-12)
    (True, True)
    """

    def pull_back(weights: ArrayLike) -> tuple[Float, Float]:
        _, in_positions, in_cell = u.value_and_gradient(atoms, weights)
        return in_positions, in_cell

    return u(atoms), pull_back


class UncertaintyDefaults:
    """Mixin with what a measure answers that learns structures alone, and not their energies and forces.

    Examples
    --------
    >>> from idealflow.core import UncertaintyModel
    >>> issubclass(UncertaintyModel, UncertaintyDefaults), UncertaintyDefaults.learns_labels
    (True, False)
    """

    learns_labels: ClassVar[bool] = False

    @classmethod
    def check(cls, force_field: object) -> None:
        """Any force field will do."""

    def refit(self, fit: ForceFieldFit) -> Self:  # noqa: ARG002  # the protocol's signature
        """It does not follow the force field, and stays as it is."""
        return self

    def copy(self) -> Self:
        """An independent copy."""
        return copy.deepcopy(self)
