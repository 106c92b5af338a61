"""VASP input sets for substructures: every tag that decides a label is set here on purpose, and can be overridden.

The how-to page on VASP gives the reasons. The tables of the paper reached us without their numbers, so the values are our own.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from atomate2.vasp.jobs.core import StaticMaker
from atomate2.vasp.sets.base import VaspInputGenerator
from custodian.custodian import ErrorHandler
from custodian.vasp.handlers import (
    FrozenJobErrorHandler,
    NonConvergingErrorHandler,
    PositiveEnergyErrorHandler,
    StdErrHandler,
    UnconvergedErrorHandler,
    VaspErrorHandler,
    WalltimeHandler,
)
from pymatgen.core import Structure
from pymatgen.io.vasp import Kpoints

from idealflow.errors import InputError
from idealflow.former_names import formerly
from idealflow.workflow.jobs.identity import StableName
from idealflow.workflow.labellers.vasp.limits import LabelTimeHandler

__all__ = ["PRESETS", "Kind", "Preset", "SubstructureSetGenerator", "Variant", "vacuum_directions", "vasp_static"]

Kind = Literal["metal", "oxide", "reactive"]
Variant = Literal["standard", "accelerated"]


@dataclass(frozen=True)
class Preset:
    """INCAR tags of one kind of system in one variant, and the spacing of its k points.

    Attributes
    ----------
    incar
        Tags and values.
    k_spacing
        Largest spacing of k points, Å⁻¹, 2π included.

    Examples
    --------
    >>> from idealflow.workflow.labellers.vasp import PRESETS
    >>> preset = PRESETS["metal", "standard"]
    >>> preset.incar["ENCUT"], preset.incar["SIGMA"], preset.k_spacing  # eV, eV, Å⁻¹
    (520, 0.2, 0.2)
    """

    incar: dict[str, Any]
    k_spacing: float


#: what every kind and variant has in common
_COMMON: dict[str, Any] = {
    "GGA": "PE",
    "ENCUT": 520,  # eV
    "LASPH": True,
    "NSW": 0,  # VASP then computes stress without being told (IBRION = -1, ISIF = 2), and pymatgen writes neither
    "ISYM": 0,
    "ISTART": 0,
    "ICHARG": 2,
    "NELMIN": 5,
    "NELM": 150,
    "LORBIT": 0,
    "LWAVE": False,
    "LCHARG": False,
    "LAECHG": False,
    "LVTOT": False,
    "LELF": False,
}

_VARIANTS: dict[Variant, dict[str, Any]] = {
    "standard": {"PREC": "Accurate", "EDIFF": 1e-6, "LREAL": False, "ALGO": "Normal"},
    "accelerated": {"PREC": "Normal", "EDIFF": 1e-5, "LREAL": "Auto", "ALGO": "Fast"},
}

_KINDS: dict[Kind, dict[str, Any]] = {
    "metal": {"ISMEAR": 1, "SIGMA": 0.2},
    "oxide": {"ISMEAR": 0, "SIGMA": 0.05},
    "reactive": {"ISMEAR": 0, "SIGMA": 0.1, "ISPIN": 2},
}

_K_SPACING: dict[tuple[Kind, Variant], float] = {
    ("metal", "standard"): 0.2,
    ("metal", "accelerated"): 0.3,
    ("oxide", "standard"): 0.3,
    ("oxide", "accelerated"): 0.45,
    ("reactive", "standard"): 0.25,
    ("reactive", "accelerated"): 0.35,
}

#: start moments, μB. A cell with one of these elements is spin-polarised; elements that are not here start without a moment
_MAGNETIC: dict[str, float] = {"Cr": 4.0, "Mn": 5.0, "Fe": 4.0, "Co": 3.0, "Ni": 2.0, "Eu": 7.0, "Gd": 7.0}
#: start moment, μB, of all other atoms of a spin-polarised cell, from which radicals and broken bonds find their own
_SMALL_MOMENT = 0.6

PRESETS: dict[tuple[Kind, Variant], Preset] = {
    (kind, variant): Preset(_COMMON | _VARIANTS[variant] | _KINDS[kind], _K_SPACING[kind, variant])
    for kind in _KINDS
    for variant in _VARIANTS
}
"""The six presets by kind and variant."""


def _configuration() -> dict[str, Any]:
    """Pseudopotentials of atomate2's base set (Materials Project's choice), and nothing else of it."""
    base = deepcopy(VaspInputGenerator().config_dict)
    return {"INCAR": {}, "KPOINTS": {}, "POTCAR_FUNCTIONAL": base["POTCAR_FUNCTIONAL"], "POTCAR": base["POTCAR"]}


@dataclass
class SubstructureSetGenerator(StableName, VaspInputGenerator):
    """Static VASP inputs for cells of any size, shape and number of vacuum directions.

    All fields of atomate2's ``VaspInputGenerator`` can be given too. ``user_incar_settings`` takes precedence over the tags of
    the preset (the value None removes a tag), ``user_kpoints_settings`` over its k points.

    Attributes
    ----------
    kind
        ``metal``, ``oxide`` or ``reactive`` (surfaces, and molecules whose bonds form and break). One for a whole campaign.
    variant
        ``standard`` or ``accelerated`` (coarser k points, grids and convergence; same functional and cutoff).
    k_spacing
        Largest spacing of k points along a reciprocal vector, Å⁻¹ with 2π, as VASP's KSPACING; default: the preset's.
    vacuum_gap
        Width of an empty slab, Å, from which a direction counts as vacuum: it gets one k point, Γ.
    spin
        Whether cells are spin-polarised. None: as the preset says, and always for cells with a magnetic element, with
        moments, or with a spin multiplicity of their own.

    Raises
    ------
    InputError
        For a kind or variant that does not exist, or a spacing or gap that is not positive.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from pymatgen.io.ase import AseAtomsAdaptor
    >>> from idealflow.workflow.labellers.vasp import SubstructureSetGenerator
    >>> generator = SubstructureSetGenerator(kind="metal", variant="accelerated")
    >>> inputs = generator.get_input_set(AseAtomsAdaptor.get_structure(bulk("Li", cubic=True)), potcar_spec=True)
    >>> inputs["INCAR"]["ENCUT"], inputs["KPOINTS"].kpts  # eV, divisions
    (520.0, [(7, 7, 7)])
    """

    config_dict: dict[str, Any] = field(default_factory=_configuration)
    auto_ismear: bool = False
    inherit_incar: bool | list[str] = False
    kind: Kind = "metal"
    variant: Variant = "standard"
    k_spacing: float | None = None
    vacuum_gap: float = 5.0
    spin: bool | None = None

    def __post_init__(self) -> None:
        """Refuse what is no preset or no length."""
        if (self.kind, self.variant) not in PRESETS:
            kinds, variants = sorted({key[0] for key in PRESETS}), sorted({key[1] for key in PRESETS})
            raise InputError(
                f"there is no VASP preset of kind {self.kind!r} and variant {self.variant!r}; kinds are "
                f"{', '.join(kinds)}, variants {', '.join(variants)}"
            )
        for name, value in (("k_spacing", self.k_spacing), ("vacuum_gap", self.vacuum_gap)):
            if value is not None and not value > 0:
                raise InputError(f"{name} must be positive, got {value}; Å⁻¹ for k_spacing, Å for vacuum_gap")
        super().__post_init__()

    @property
    def preset(self) -> Preset:
        """Tags and k spacing this set starts from."""
        return PRESETS[self.kind, self.variant]

    @property
    def incar_updates(self) -> dict[str, Any]:
        """The preset's tags, with spin, start moments and, for a charged structure, electrons of the structure at hand."""
        symbols = [site.specie.symbol for site in self.structure]
        carried = self.structure.properties or {}
        tags = dict(self.preset.incar)
        if self.spin is not None:
            tags["ISPIN"] = 2 if self.spin else 1
        elif "ISPIN" not in tags:
            given = any(site.properties.get("magmom") is not None for site in self.structure) or "spin" in carried
            tags["ISPIN"] = 2 if given or set(symbols) & set(_MAGNETIC) else 1
        spin = self.user_incar_settings.get("ISPIN", tags["ISPIN"])
        if spin == 2 and "MAGMOM" not in self.user_incar_settings:
            tags["MAGMOM"] = [self._moment(site) for site in self.structure]
        if "spin" in carried:
            tags["NUPDOWN"] = round(carried["spin"]) - 1
        if "charge" in carried and "NELECT" not in self.user_incar_settings:
            tags["NELECT"] = self.nelect - carried["charge"]
        return tags

    @staticmethod
    def _moment(site: Any) -> float:
        given = site.properties.get("magmom")
        return float(_MAGNETIC.get(site.specie.symbol, _SMALL_MOMENT) if given is None else given)

    @property
    def kpoints_updates(self) -> Kpoints:
        """A Γ-centred grid of constant density, Γ alone along vacuum."""
        spacing = self.preset.k_spacing if self.k_spacing is None else self.k_spacing
        lengths = self.structure.lattice.reciprocal_lattice.abc
        counts = np.maximum(1, np.ceil(np.asarray(lengths) / spacing - 1e-6)).astype(int)
        counts[vacuum_directions(self.structure, self.vacuum_gap)] = 1
        comment = f"k points at most {spacing:g} per Å apart; Γ alone along vacuum"
        return Kpoints(comment=comment, kpts=[tuple(int(n) for n in counts)], style=Kpoints.supported_modes.Gamma)


def vacuum_directions(structure: Structure, gap: float) -> np.ndarray:
    """Which directions of a cell are vacuum: those with an empty slab of at least ``gap`` Å, measured normal to its faces.

    Returns
    -------
    (3,) bool
        One for each cell vector.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> film = Structure(Lattice.from_parameters(3, 3, 20, 90, 90, 90), ["Cu"], [[0, 0, 0]])
    >>> vacuum_directions(film, gap=5.0).tolist()
    [False, False, True]
    """
    heights = 2 * np.pi / np.asarray(structure.lattice.reciprocal_lattice.abc)
    fractional = np.sort(structure.frac_coords % 1.0, axis=0)
    widest = np.diff(np.vstack([fractional, fractional[:1] + 1.0]), axis=0).max(axis=0)
    return np.asarray(widest * heights >= gap, dtype=bool)


@formerly(wall_time_s="time_limit_s")
def vasp_static(
    kind: Kind = "metal",
    variant: Variant = "standard",
    *,
    incar: dict[str, Any] | None = None,
    k_spacing: float | None = None,
    potcar: dict[str, str] | None = None,
    spin: bool | None = None,
    vacuum_gap: float = 5.0,
    vasp_cmd: str | None = None,
    time_limit_s: float | None = None,
) -> StaticMaker:
    """atomate2's StaticMaker with the input sets for substructures; usable as ``label: {labeller: {maker: …}}``.

    Parameters
    ----------
    kind, variant, k_spacing, spin, vacuum_gap
        As in :class:`SubstructureSetGenerator`.
    incar
        Tags that take precedence over the preset's; the value None removes a tag.
    potcar
        Pseudopotentials by element that take precedence over the Materials Project's, such as ``{"Li": "Li"}``.
    vasp_cmd
        Command that starts VASP; default: atomate2's setting VASP_CMD.
    time_limit_s
        Seconds that one label may take: VASP is asked to stop 300 s before (the label has then failed). The queue's own
        limit, where custodian knows it (PBS_WALLTIME, SBATCH_TIMELIMIT), holds as well.

    Raises
    ------
    InputError
        For a kind or variant that does not exist.

    Examples
    --------
    >>> from idealflow import LabelMaker, vasp_static
    >>> maker = vasp_static("oxide", "standard", incar={"ENCUT": 600}, time_limit_s=7200)
    >>> maker.input_set_generator.user_incar_settings
    {'ENCUT': 600}
    >>> LabelMaker(maker).method
    'vasp static'
    """
    generator = SubstructureSetGenerator(
        kind=kind,
        variant=variant,
        k_spacing=k_spacing,
        spin=spin,
        vacuum_gap=vacuum_gap,
        user_incar_settings=dict(incar or {}),
        config_dict=_configuration() | {"POTCAR": _configuration()["POTCAR"] | (potcar or {})},
    )
    run: dict[str, Any] = {"handlers": label_handlers(time_limit_s)}
    if vasp_cmd is not None:
        run["vasp_cmd"] = vasp_cmd
    return StaticMaker(input_set_generator=generator, run_vasp_kwargs=run)


def label_handlers(time_limit_s: float | None) -> list[ErrorHandler]:
    """Custodian's handlers that mend the electronic minimisation or the run, without those that change smearing or k points."""
    handlers = [
        VaspErrorHandler(),
        UnconvergedErrorHandler(),
        NonConvergingErrorHandler(),
        PositiveEnergyErrorHandler(),
        FrozenJobErrorHandler(),
        StdErrHandler(),
        # the queue's limit, from the program's start; a static run is one ionic step: only a stop between electronic steps
        # comes in time
        WalltimeHandler(electronic_step_stop=True),
    ]
    return handlers if time_limit_s is None else [*handlers, LabelTimeHandler(time_limit_s)]
