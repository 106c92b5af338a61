"""Stable names of our own classes in documents and hashes, whichever file a class lies in.

Version 0.1.0 wrote the module of a class into documents and hashed it. Its documents are still read
(:mod:`idealflow.workflow.former_paths`), and its hashes can still be computed: :func:`former_form` writes settings as it did.
"""

from __future__ import annotations

from typing import Any, Self

from monty.json import MontyDecoder, MSONable

from idealflow.former_names import FORMER, takes_former_names, with_former_names

__all__ = ["StableName", "former_form", "known_to_0_1"]

#: where monty finds our own classes: `idealflow.__getattr__` knows them all
_OWN = "idealflow"

_SET_GENERATOR = (
    "structure", "config_dict", "files_to_transfer", "user_incar_settings", "user_kpoints_settings",
    "user_potcar_settings", "constrain_total_magmom", "sort_structure", "user_potcar_functional", "force_gamma",
    "reduce_structure", "vdw", "use_structure_charge", "standardize", "sym_prec", "international_monoclinic",
    "validate_magmom", "inherit_incar", "auto_kspacing", "auto_ismear", "auto_ispin", "auto_lreal",
    "auto_metal_kpoints", "bandgap_tol", "bandgap", "prev_incar", "prev_kpoints", "_valid_potcars",
    "kind", "variant", "k_spacing", "vacuum_gap", "spin",
)  # fmt: skip

#: module and fields of each class in version 0.1.0
_FORMER: dict[str, tuple[str, tuple[str, ...]]] = {
    "IdealMaker": ("ideal", (
        "campaign", "learn", "embedding", "continuation", "max_rounds", "n_walkers", "threshold", "n_attempts",
        "max_failed_labels", "max_failed_fraction", "seed", "artifacts", "work", "category", "launchpad", "bootstrap",
        "segment", "screen", "crop", "relax", "label", "update", "evaluation", "name",
    )),
    "BootstrapMaker": ("bootstrap", (
        "seeds", "n_structures", "min_atoms", "rattle", "strain", "dataset", "campaign", "held_out", "force_field",
        "force_field_settings", "soap", "pooled", "uncertainty", "committee_size", "fit_steps", "category", "name",
    )),
    "MDSegmentMaker": ("segment", (
        "schedule", "sampler", "check_interval", "segment_steps", "trajectory_interval", "start_temperature",
        "fixed_atoms", "max_force", "max_temperature", "wall_time_s", "category", "name",
    )),
    "UncertaintyScreenMaker": ("screen", ("max_centres", "category", "name")),
    "CropSearchMaker": ("crop", (
        "n_candidates", "max_atoms", "whole_if_small", "max_composition_error", "oxidation_states", "vacuum",
        "hydrogen_caps", "category", "name",
    )),
    "UncertaintyRelaxMaker": ("relax", ("max_steps", "max_crops", "cell", "objective", "category", "name")),
    "LabelMaker": ("label", ("labeller", "category", "name")),
    "ModelUpdateMaker": ("update", (
        "n_steps", "n_replay", "learning_rate", "joins", "mask_shell_forces", "n_judges", "reject_factor", "category",
        "name",
    )),
    "EvaluationMaker": ("evaluation", ("n_frames", "category", "name")),
    "AseLabeller": ("labellers", ("calculator", "kwargs", "time_limit_s", "reference")),
    "StaticLabeller": ("labellers", ("maker", "reference", "cores")),
    "VaspLabeller": ("vasp.labeller", ("maker", "reference", "cores")),
    "SubstructureSetGenerator": ("vasp.inputs", _SET_GENERATOR),
    "LabelTimeHandler": ("vasp.limits", ("wall_time", "buffer_time")),
}  # fmt: skip


def known_to_0_1(kind: str) -> tuple[str, ...]:
    """Return the fields that one of our classes had in version 0.1.0, by their present names; none for a class that is newer.

    Examples
    --------
    >>> known_to_0_1("LabelMaker"), known_to_0_1("RelabelMaker")
    (('labeller', 'category', 'name'), ())
    """
    present = FORMER.get(kind, {})
    return tuple(present.get(name, name) for name in _FORMER.get(kind, ("", ()))[1])


class StableName(MSONable):
    """Mixin of our classes that are stored: documents name them as ``idealflow`` and the class, so that files can move.

    A subclass that lies in somebody else's package is stored under its own module, by which monty finds it.

    Examples
    --------
    >>> from idealflow import CropSearchMaker
    >>> CropSearchMaker().as_dict()["@module"]
    'idealflow'
    """

    def as_dict(self) -> dict[str, Any]:
        """Return the MSON form, with the stable name as ``@module``."""
        written: dict[str, Any] = super().as_dict()
        return written | {"@module": self.stored_module()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """What :meth:`as_dict` wrote, by this version or an earlier one.

        A dataclass that a user derives of ours has a constructor of its own, which does not know the former names of our fields.
        """
        if takes_former_names(cls):
            made: Self = super().from_dict(data)
            return made
        fields = {key: MontyDecoder().process_decoded(value) for key, value in data.items() if not key.startswith("@")}
        return with_former_names(cls, fields)

    @classmethod
    def stored_module(cls) -> str:
        """Return what documents of this class have as ``@module``."""
        return _OWN if cls.__module__.startswith(f"{_OWN}.") else cls.__module__


def former_form(data: Any) -> Any:
    """Write settings as version 0.1.0 did: each of our classes with its module of then, and with the fields it had then.

    Parameters
    ----------
    data
        MSON form of a Maker or labeller, or any part or list of it. Fields that 0.1.0 did not know are left out.

    Examples
    --------
    >>> former_form({"@module": "idealflow", "@class": "LabelMaker", "name": "label", "other_method": "keep"})
    {'@module': 'idealflow.workflow.label', '@class': 'LabelMaker', 'name': 'label'}
    """
    if isinstance(data, (list, tuple)):
        return [former_form(value) for value in data]
    if not isinstance(data, dict):
        return data
    if data.get("@module") == _OWN and data.get("@class") in _FORMER:
        module, known = _FORMER[data["@class"]]
        kept = {key: value for key, value in data.items() if key in known or key == "@class"}
        return {"@module": f"{_OWN}.workflow.{module}"} | {key: former_form(value) for key, value in kept.items()}
    return {key: former_form(value) for key, value in data.items()}
