"""What stage 0 is set to: where the first data come from, and what learns them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from ase import Atoms
from jobflow import Maker
from pydantic import Field

from idealflow.core import uncertainty_class
from idealflow.errors import InputError
from idealflow.forcefields import ForceField, get_force_field
from idealflow.workflow.frames.build import build_structure, perturbed
from idealflow.workflow.frames.dataset_keys import DatasetKey
from idealflow.workflow.frames.datasets import read_dataset
from idealflow.workflow.frames.encode import to_stored
from idealflow.workflow.frames.rattle import Rattle, check_rattle
from idealflow.workflow.jobs.identity import StableName
from idealflow.workflow.jobs.keys import generator
from idealflow.workflow.learner.uncertainties import settings_of
from idealflow.workflow.stages.pretrained import anchors_of, begun_from

__all__ = ["BootstrapSettings"]

_ANCHOR = 36  # default number of anchors


@dataclass
class BootstrapSettings(StableName, Maker):
    """Settings of the first model: the keys of the section ``bootstrap`` of a config.

    Attributes
    ----------
    seeds
        Small structures to perturb and label: files, builder mappings, Atoms or Structures; default: the frame itself.
    n_structures
        How many perturbed structures are labelled.
    min_atoms
        Seeds are repeated until they have at least this many atoms.
    rattle
        Range of the standard deviation of random displacements, Å.
    strain
        Largest absolute value of each component of the random strain.
    dataset
        File or folder with energies and forces, used instead of labelling: whatever ASE reads (extended XYZ, ASE databases,
        vasprun.xml, OUTCAR), a folder of VASP runs, or a folder of DeePMD-kit's systems.
    keys
        Names under which the dataset has ``energy``, ``forces``, ``stress`` or ``virial``, e.g. ``{"energy": "my_energy"}``;
        those of ASE, MACE (``REF_energy``), QUIP (``dft_energy``) and GPUMD are known.
    dataset_check
        How many structures of the dataset are labelled again before the first fit; a dataset that does not agree with the
        labeller is refused. 0 switches the check off; without learning there is none.
    campaign
        Directory of an earlier campaign: its model, optimiser, labels, distribution and coverage carry on.
    held_out
        Fraction of structures kept out of training: the validation set of the first fit, and part of that of every update.
    force_field, force_field_settings
        Registered name of the architecture and its settings. Pretrained weights bring theirs with them; settings of learning,
        such as ``fit_learning_rate``, may be changed.
    pretrained
        Weights to begin from: ``7net-0`` or ``7net-l3i5``, which ``pip install 'idealflow[sevennet]'`` brings, ``chgnet-0.3.0``
        or ``chgnet-r2scan`` (``idealflow[chgnet]``), a checkpoint of sevenn or chgnet, a model of mace-torch, or a force field
        that idealflow saved or exported. They are copied into the campaign's artifacts.
    freeze
        Parameters of pretrained weights that do not learn, by patterns of their names; ``["*"]`` leaves all as they are, and
        only the energies of the species are fitted.
    anchor
        What holds pretrained weights to what they know: how many small crystals of their species, or a file of structures, are
        learned beside the data with the labels of the weights themselves. 0: nothing.
    soap
        Settings of the descriptor: ``r_cut`` (Å), ``n_max``, ``l_max``, ``sigma`` (Å); species are added. Of four and more
        species ``compression: {mode: mu1nu1}`` makes it shorter and screens faster.
    pooled
        One distribution for all species (the paper's form) instead of one for each.
    uncertainty
        ``soap``: distance of the descriptor from the distribution. ``committee``: disagreement of force fields on the energy
        of an atom, while coverage still uses the descriptor. Or one of your own, by its registered name or as ``module:Class``.
    uncertainty_settings
        Settings of an uncertainty of your own.
    committee_size
        Force fields in the committee; the first drives the dynamics.
    fit_steps
        Gradient steps of the first fit; None leaves it to the force field.

    Examples
    --------
    >>> from ase.build import bulk
    >>> settings = BootstrapSettings(n_structures=3, min_atoms=20)
    >>> settings.source, [len(atoms) for atoms in settings.initial_structures(bulk("Cu", cubic=True), seed=1)]
    ('structures', [32, 32, 32])
    """

    seeds: list[Any] | None = None
    n_structures: Annotated[int, Field(ge=2)] = 48
    min_atoms: Annotated[int, Field(ge=1)] = 32
    rattle: Rattle = (0.02, 0.2)
    strain: Annotated[float, Field(ge=0, lt=0.5)] = 0.04
    dataset: str | None = None
    keys: dict[DatasetKey, str] | None = None
    dataset_check: Annotated[int, Field(ge=0)] = 2
    campaign: str | None = None
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.1
    force_field: str = "local"
    force_field_settings: dict[str, Any] = field(default_factory=dict)
    pretrained: str | None = None
    freeze: list[str] = field(default_factory=list)
    anchor: Annotated[int, Field(ge=0)] | str = _ANCHOR
    soap: dict[str, Any] = field(default_factory=lambda: {"r_cut": 4.0, "n_max": 6, "l_max": 6, "sigma": 0.4})
    pooled: bool = False
    uncertainty: str = "soap"
    uncertainty_settings: dict[str, Any] = field(default_factory=dict)
    committee_size: Annotated[int, Field(ge=2)] = 4
    fit_steps: Annotated[int, Field(ge=1)] | None = None
    name: str = "bootstrap"

    def __post_init__(self) -> None:
        if self.keys and self.dataset is None:
            raise InputError(
                f"keys are names in a dataset, got {self.keys} without one; give dataset, or leave keys out"
            )
        if not isinstance(self.uncertainty, str):
            uncertainty_class(self.uncertainty)  # its error tells how to give a class a name
        check_rattle(self.rattle)
        if self.pretrained is None and (self.freeze or self.anchor != _ANCHOR):
            raise InputError("freeze and anchor are for pretrained weights; give pretrained, or leave them out")
        if self.pretrained is not None and self.campaign is not None:
            raise InputError(
                "bootstrap.campaign carries on the force field of an earlier campaign; leave pretrained out, or give dataset"
            )
        if self.seeds is not None and not self.seeds:
            raise InputError(
                "seeds must hold at least one structure, got an empty list; leave seeds out to perturb the frame"
            )
        if self.seeds is not None:  # objects become plain data, since a maker is stored with every flow
            self.seeds = [
                entry if isinstance(entry, (str, dict)) else to_stored(build_structure(entry)).model_dump()
                for entry in self.seeds
            ]

    def as_dict(self) -> dict[str, Any]:
        """Return the MSON form; settings that are not used are left out, so hashes equal those of versions without them."""
        found = super().as_dict()
        for name, unused in (("uncertainty_settings", {}), ("pretrained", None), ("freeze", []), ("anchor", _ANCHOR)):
            if found[name] == unused:
                del found[name]
        return found

    @property
    def all_uncertainty_settings(self) -> dict[str, Any]:
        """Settings that the uncertainty begins with."""
        return settings_of(self.uncertainty, self.uncertainty_settings, self.committee_size)

    @property
    def source(self) -> Literal["structures", "dataset", "campaign"]:
        """Where the first model comes from."""
        if self.campaign is not None:
            return "campaign"
        return "dataset" if self.dataset is not None else "structures"

    def n_held(self, n: int) -> int:
        """Return how many of ``n`` structures are kept out of training."""
        return max(1, round(self.held_out * n))

    def initial_structures(self, frame: Atoms, seed: int) -> list[Atoms]:
        """Make the structures to label: seed structures repeated, strained and rattled; the same for the same ``seed``."""
        seeds = [build_structure(entry) for entry in self.seeds] if self.seeds else [frame]
        largest = max(len(atoms) for atoms in seeds)
        if not self.seeds and largest > 300:
            raise InputError(
                f"the frame has {largest} atoms, too many to label whole: give bootstrap.seeds (small structures), "
                "bootstrap.dataset or bootstrap.campaign"
            )
        return [
            perturbed(
                seeds[i % len(seeds)],
                generator(seed, 3, i),
                min_atoms=self.min_atoms,
                rattle=self.rattle,
                strain=self.strain,
            )
            for i in range(self.n_structures)
        ]

    def untrained(self, species: Sequence[str], weights: Path | None = None) -> ForceField:
        """Force field that the first fit begins with: of random weights, or pretrained.

        Parameters
        ----------
        species
            Chemical symbols that it has to describe.
        weights
            Local file of the pretrained weights; None: what ``pretrained`` stands for.

        Raises
        ------
        InputError
            For settings that are impossible, unknown species, and weights that cannot be read or are not there.
        """
        if self.pretrained is None:
            return get_force_field(self.force_field, species=list(species), **self.force_field_settings)
        settings = {**self.force_field_settings, **({"freeze": self.freeze} if self.freeze else {})}
        asked = None if self.force_field == "local" else self.force_field
        return begun_from(self.pretrained, weights, settings, species, asked)

    def anchors(self, file: Path | None = None) -> int | list[Atoms]:
        """How many anchors are made, or the structures of the file that has them, a copy of which may be given.

        Raises
        ------
        InputError
            If the file cannot be read.
        """
        return self.anchor if isinstance(self.anchor, int) else anchors_of(file or Path(self.anchor))

    def read(self) -> list[Atoms]:
        """Read the dataset's structures; raises as :func:`~idealflow.workflow.frames.datasets.read_dataset` does."""
        return read_dataset(str(self.dataset), self.keys)
