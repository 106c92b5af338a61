"""Atom-wise uncertainty by committee: how far several force fields disagree on the energy of an atom."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import ArrayLike, NDArray

from idealflow.core import UncertaintyModel
from idealflow.core.archive import packed, read_archive, unpacked, write_archive
from idealflow.core.descriptors import chosen_atoms
from idealflow.core.objective import checked
from idealflow.core.protocols import FirstEnvironments, ForceFieldFit, ForceFieldUpdate
from idealflow.core.registry import file_kind
from idealflow.core.soap_coverage import SOAPCoverage
from idealflow.errors import ArtifactError, InputError
from idealflow.forcefields.committee.disagreement import Disagreement
from idealflow.forcefields.committee.kept_frames import KeptFrames
from idealflow.forcefields.committee.members import checked_force_field, checked_members, resampled
from idealflow.forcefields.committee.scale import Scale, scale_of
from idealflow.forcefields.dataset import check_dataset
from idealflow.forcefields.protocol import AtomicEnergies, AtomicForceField, ForceField
from idealflow.forcefields.registry import load_force_field
from idealflow.former_names import formerly

__all__ = ["CommitteeUncertainty"]

_VERSION = 1
_TAIL_FACTOR = 2.0

Float = NDArray[np.float64]


class CommitteeUncertainty(SOAPCoverage):
    """Variance of each atom's energy over several force fields, in units of its mean over training environments.

    ``u_i = Var_m(ε_i^m − ⟨ε^m⟩) / ⟨Var_m⟩`` with ε_i^m the energy of atom i in member m. Both means run over the training
    environments of the atom's species. So it does not matter which reference energies a member chose, nor that energies of some
    species vary more than those of others. Whether an environment is covered, and how alike two environments are, is taken from
    the SOAP model ``base``, whose distances δ are scaled so that its automatic threshold equalled this one's at the fit.
    Training environments are a uniform sample of at most 128 structures; in an :meth:`update` members replay structures of it.

    Make one with :meth:`fit` or :meth:`load`; the constructor takes members trained elsewhere.

    Parameters
    ----------
    members
        At least two trained force fields that know the species of ``base``, and others perhaps. They differ by their seeds, by
        their parts of the data, or by their architectures. If one of them drives the dynamics, it comes first.
    base
        SOAP model of the same environments and species; updates change it.
    frames
        Labelled training structures.
    masks
        For each structure (n_atoms,) bool: which atoms are training environments; None: all.
    seed
        Seed of the sample of structures, and of updates.

    Raises
    ------
    InputError
        For fewer than two members, members without atomic energies, that do not know all species of ``base`` or have a longer
        cutoff, members that agree everywhere, or bad structures.

    Examples
    --------
    Two small members, trained for a moment on rattled copper with labels of EMT:

    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from idealflow.core import SOAP, UncertaintyModel
    >>> from idealflow.core.structure import set_label
    >>> from idealflow.forcefields import CommitteeUncertainty, get_force_field
    >>> def labelled(seed):
    ...     atoms = bulk("Cu", cubic=True)
    ...     atoms.rattle(0.1, seed=seed)
    ...     atoms.calc = EMT()
    ...     return set_label(atoms, atoms.get_potential_energy(), atoms.get_forces())
    >>> frames = [labelled(seed) for seed in range(6)]
    >>> base = UncertaintyModel.fit(frames, SOAP(["Cu"], r_cut=4.0, n_max=3, l_max=3, sigma=0.4))
    >>> small = get_force_field("local", species=["Cu"], cutoff=4.0, hidden=[4])
    >>> u = CommitteeUncertainty.fit(frames, base, small, members=2, steps=5)
    >>> u(frames[0]).shape, len(u.members)
    ((4,), 2)
    """

    name: ClassVar[str] = "committee"
    learns_labels: ClassVar[bool] = True

    def __init__(
        self,
        members: Sequence[ForceField],
        base: UncertaintyModel,
        frames: Sequence[Atoms],
        masks: Sequence[ArrayLike] | None = None,
        *,
        seed: int = 0,
    ) -> None:
        super().__init__(base)
        members = checked_members(members, base)
        check_dataset(frames, base.species)
        self._rng = np.random.Generator(np.random.PCG64(seed))
        self._take_over(members)
        self.kept = KeptFrames().with_more(frames, masks, self._rng)
        self._scale = scale_of(self._energies, self.kept, self.species, self._kinds)
        self.delta_scale = self.auto_threshold() / base.auto_threshold()

    @classmethod
    def fit(
        cls,
        frames: Sequence[Atoms],
        base: UncertaintyModel,
        force_field: ForceField,
        *,
        members: int = 4,
        leader: ForceField | None = None,
        steps: int | None = None,
        masks: Sequence[ArrayLike] | None = None,
        seed: int = 0,
    ) -> Self:
        """Train members, each with its own seed and its own bootstrap resample of the frames.

        Parameters
        ----------
        frames
            Labelled structures.
        base, masks, seed
            As for the class.
        force_field
            Untrained; copies of it are trained.
        members
            How many, the leader included.
        leader
            Trained force field that drives the dynamics; it becomes the first member.
        steps
            Gradient steps of each fit; None leaves it to the force field.
        """
        if members < 2:
            raise InputError(f"a committee needs at least 2 members, got {members}")
        check_dataset(frames, base.species)
        made = [] if leader is None else [leader]
        for number in range(len(made), members):
            rng = np.random.default_rng([seed, number])
            made.append(force_field.copy())
            made[-1].fit(resampled(frames, rng), steps=steps, seed=int(rng.integers(2**31)))
        return cls(made, base, frames, masks, seed=seed)

    @classmethod
    def check(cls, force_field: object) -> None:
        """Refuse a force field that does not tell the energies of atoms, and one of which nothing learns."""
        checked_force_field(force_field)

    @classmethod
    def begin(cls, first: FirstEnvironments, fit: ForceFieldFit, members: int = 4) -> Self:
        """Make the first committee of a campaign, with ``members`` in all; its force field is the first of them."""
        return cls._led(UncertaintyModel.begin(first, fit), fit, members)

    def refit(self, fit: ForceFieldFit) -> Self:
        """Make a committee of as many members from a new fit of the force field; the SOAP model stays as it is."""
        return self._led(self.base, fit, len(self._members))

    @classmethod
    def _led(cls, base: UncertaintyModel, fit: ForceFieldFit, members: int) -> Self:
        leader, untrained = (checked_force_field(each) for each in (fit.force_field, fit.untrained))
        return cls.fit(fit.frames, base, untrained, members=members, leader=leader, steps=fit.steps, seed=fit.seed)

    @property
    def members(self) -> tuple[AtomicForceField, ...]:
        """Copies of the force fields; changing them does not change the committee."""
        return tuple(member.copy() for member in self._members)

    def __call__(self, atoms: Atoms, indices: ArrayLike | None = None, *, raw: bool = False) -> Float:
        """Uncertainty of all atoms or of those at ``indices``, (n,).

        Parameters
        ----------
        raw
            The variance, eV², not divided by its mean in distribution.

        Returns
        -------
        (n,)
            Infinite for a species that was not in training, or in too few distinct environments to judge others
            (:attr:`too_few`).

        Raises
        ------
        InputError
            For a species outside the members', or positions that are not finite.
        """
        chosen = chosen_atoms(atoms, indices)
        return self._disagreement().values(atoms, chosen, self._kinds(atoms)[chosen], raw=raw)

    def value_and_gradient(
        self, atoms: Atoms, weights: ArrayLike | None = None, reference: ArrayLike | None = None
    ) -> tuple[float, Float, Float]:
        """Objective of the uncertainties, and its exact gradient; as :meth:`UncertaintyModel.value_and_gradient`."""
        w, ref = checked(weights, reference, len(atoms))
        return self._disagreement().value_and_gradient(atoms, self._kinds(atoms), w, ref)

    @formerly(lr="learning_rate")
    def update(
        self,
        frames: Sequence[Atoms],
        masks: Sequence[ArrayLike] | None = None,
        learned: ForceFieldUpdate | None = None,
    ) -> None:
        """Let members and distribution learn from labelled structures, and compute the scale anew with the updated members.

        A member whose training diverges stays as it was.

        Parameters
        ----------
        frames, masks
            Labelled structures, and which of their atoms join the distribution; as :meth:`UncertaintyModel.update`.
        learned
            Settings of each member's update; None: the defaults of :class:`ForceFieldUpdate`. Each member gets its own draw of
            replayed structures. If it holds a force field, that one has learned these structures already and drives the
            dynamics; it replaces the first member, so that the committee judges the model version that runs.

        Raises
        ------
        InputError
            For no frames, missing labels, unknown species, species that members never saw, positions that are not
            finite, or a leader that does not know all species; nothing is changed then.
        """
        check_dataset(frames, self.species)
        how = learned or ForceFieldUpdate()
        rng, members = copy.deepcopy(self._rng), list(self._members)
        if how.force_field is not None:
            members = checked_members([how.force_field, *members[1:]], self.base)
        for number in range(0 if how.force_field is None else 1, len(members)):
            trained, seed = members[number].copy(), int(rng.integers(2**31))
            replay = self.kept.drawn(how.n_replay, rng)
            report = trained.update(frames, replay, steps=how.steps, lr=how.learning_rate, seed=seed)
            members[number] = trained if np.isfinite(report.loss[-1]) else members[number]
        kept = self.kept.with_more(frames, masks, rng)
        scale = scale_of([member.atomic_energies() for member in members], kept, self.species, self._kinds)
        self.base.update(frames, masks=masks)
        self._rng, self.kept, self._scale = rng, kept, scale
        self._take_over(members)

    def led_by(self, force_field: object) -> Self:
        """A copy that a force field leads in place of the first member; the scale is computed anew.

        Raises
        ------
        InputError
            If it does not know all species, or does not tell the energies of atoms.
        """
        made = self.copy()
        members = checked_members([checked_force_field(force_field), *made._members[1:]], made.base)
        made._scale = scale_of([member.atomic_energies() for member in members], made.kept, made.species, made._kinds)
        made._take_over(members)
        return made

    def auto_threshold(self) -> float:
        """Threshold τ: twice the 99th percentile of the uncertainty in training, of the species where it is highest.

        Species with too few distinct environments are left out.
        """
        tails = np.where(np.isin(self.species, list(self.too_few)), np.nan, self._scale.tail)
        return _TAIL_FACTOR * max(1.0, float(np.nanmax(tails, initial=1.0)))

    def save(self, path: str | Path) -> Path:
        """Write members with their optimisers, base and sample of structures to one file, atomically and exactly."""
        arrays: dict[str, NDArray[Any]] = {f"kept/{name}": array for name, array in self.kept.to_arrays().items()}
        arrays |= {f"scale/{name}": array for name, array in vars(self._scale).items()}
        arrays["base"] = packed(self.base.save)
        arrays |= {f"member/{number}": packed(member.save) for number, member in enumerate(self._members)}
        meta = {
            "members": len(self._members),
            "delta_scale": self.delta_scale,
            "rng": self._rng.bit_generator.state,
        }
        return write_archive(path, file_kind(self.name), _VERSION, arrays, meta)

    @classmethod
    def load(cls, path: str | Path, device: str | None = None) -> Self:  # noqa: ARG003  # its members have a device of their own
        """Read what :meth:`save` wrote; ``device`` has no effect here (it is meant for the SOAP uncertainty).

        Raises
        ------
        ArtifactError
            If the file is missing, cut short, damaged, foreign, or of a newer version.
        """
        arrays, meta = read_archive(path, file_kind(cls.name), _VERSION)
        try:
            made = cls.__new__(cls)
            SOAPCoverage.__init__(made, unpacked(arrays["base"], UncertaintyModel.load), meta["delta_scale"])
            members = [unpacked(arrays[f"member/{number}"], load_force_field) for number in range(meta["members"])]
            made._take_over(checked_members(members, made.base))
            made.kept = KeptFrames.from_arrays(
                {name.removeprefix("kept/"): array for name, array in arrays.items() if name.startswith("kept/")}
            )
            made._scale = Scale(arrays["scale/mean"], arrays["scale/variance"], arrays["scale/tail"])
            made._rng = np.random.Generator(np.random.PCG64())
            made._rng.bit_generator.state = meta["rng"]
        except (KeyError, ArtifactError) as error:
            raise ArtifactError(f"{path} is no whole committee: {error}; restore it from a copy") from error
        return made

    def _take_over(self, members: Sequence[AtomicForceField]) -> None:
        self._members = [member.copy() for member in members]
        self._energies: list[AtomicEnergies] = [member.atomic_energies() for member in self._members]

    def _kinds(self, atoms: Atoms) -> NDArray[np.int64]:
        numbers = self.soap.numbers
        kinds: NDArray[np.int64] = np.minimum(np.searchsorted(numbers, atoms.numbers), len(numbers) - 1)
        unknown = numbers[kinds] != atoms.numbers
        if unknown.any():
            names = sorted({chemical_symbols[z] for z in atoms.numbers[unknown]})
            raise InputError(
                f"species {', '.join(names)} not among the committee's {', '.join(self.species)}; make its members with them"
            )
        return kinds

    def _disagreement(self) -> Disagreement:
        few = np.array([species in self.too_few or "pooled" in self.too_few for species in self.species])
        return Disagreement(self._energies, self._scale.mean, np.where(few, np.nan, self._scale.variance))
