"""A campaign's settings in words: what each is called, with its unit, and its value as one says it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from idealflow.report.sections.blocks import written

__all__ = ["NAMES", "setting_name", "setting_value"]

_LONGEST = 300  # characters of a setting's value that are shown

#: what each setting is called, by its place in the config
NAMES = {
    "embedding": "what is labelled around an atom",
    "learn": "the model learns on the way",
    "max_failed_fraction": "largest share of the last labels that may fail",
    "max_failed_labels": "most labels that may fail",
    "n_attempts": "cells tried for one atom",
    "n_walkers": "walkers",
    "seed": "seed of all random numbers",
    "threshold": "threshold of the uncertainty",
    "bootstrap.anchor": "what holds pretrained weights to what they know",
    "bootstrap.campaign": "earlier campaign that is carried on",
    "bootstrap.committee_size": "force fields of a committee, where there is one",
    "bootstrap.dataset": "dataset in place of first labels",
    "bootstrap.dataset_check": "structures of a dataset that are labelled again",
    "bootstrap.fit_steps": "steps of the first fit",
    "bootstrap.force_field": "force field",
    "bootstrap.force_field_settings": "settings of the force field",
    "bootstrap.freeze": "pretrained parameters that do not learn",
    "bootstrap.held_out": "share of the first structures that training leaves out",
    "bootstrap.keys": "names of energies and forces in the dataset",
    "bootstrap.min_atoms": "fewest atoms of a first structure",
    "bootstrap.n_structures": "first structures",
    "bootstrap.pooled": "one distribution for all species",
    "bootstrap.pretrained": "weights that the model began from",
    "bootstrap.rattle": "displacements of the first structures (Å)",
    "bootstrap.seeds": "structures that the first ones are made of",
    "bootstrap.soap": "descriptor (SOAP; lengths in Å)",
    "bootstrap.strain": "largest strain of the first structures",
    "bootstrap.uncertainty": "measure of uncertainty",
    "bootstrap.uncertainty_settings": "settings of the uncertainty",
    "segment.check_interval": "MD steps between two screenings",
    "segment.fixed_atoms": "atoms that do not move, beside those fixed in the structure",
    "segment.max_force": "largest force before a blow-up (eV/Å)",
    "segment.max_kinetic_energy": "largest kinetic energy of an atom before a blow-up (eV)",
    "segment.max_temperature": "highest temperature before a blow-up (K)",
    "segment.sampler": "dynamics",
    "segment.schedule": "temperatures",
    "segment.segment_steps": "most MD steps of a round",
    "segment.start_temperature": "temperature at the start (K)",
    "segment.time_limit_s": "time limit of a round's dynamics (s)",
    "segment.trajectory_format": "what a stored frame keeps",
    "segment.trajectory_interval": "MD steps between two stored frames",
    "screen.max_centres": "most atoms labelled of one frame",
    "crop.cell_widths": "widths of cells (Å)",
    "crop.hydrogen_caps": "hydrogen on bonds that are cut",
    "crop.max_atoms": "most atoms of a cell",
    "crop.max_composition_error": "largest error of the composition",
    "crop.n_candidates": "candidate cells for one atom",
    "crop.oxidation_states": "oxidation states, by which cells are neutral",
    "crop.vacuum": "vacuum where the frame is open (Å)",
    "crop.waive_surface_rule": "cells without their surface are allowed",
    "crop.whole_if_small": "frames with no more atoms than a cell are labelled whole",
    "relax.cell": "the cell is relaxed, too",
    "relax.max_crops": "crops relaxed before giving up",
    "relax.max_steps": "most steps of a relaxation",
    "relax.objective": "what the relaxation lowers",
    "label.cores": "cores of a label",
    "label.labeller": "what computes the labels",
    "label.memory_gb": "memory of a label (GB)",
    "label.other_method": "labels of another method",
    "update.consolidate_every": "updates after which all data are learned together",
    "update.consolidation_learning_rate": "learning rate of all data together",
    "update.consolidation_share": "most that learning all data together may cost, as a share of all else",
    "update.consolidation_start": "weights that learning all data together begins with",
    "update.consolidation_steps": "training steps of all data together",
    "update.covers": "what asks for no further label once it is learned",
    "update.energy_reject_factor": "growth of the energy error that refuses an update",
    "update.energy_reject_floor": "energy error below which growth is not judged",
    "update.joins": "atoms that join the distribution",
    "update.learned_within": "error at which a label is learned, over that of known structures",
    "update.learning_rate": "learning rate",
    "update.mask_shell_forces": "forces on the shell are left out",
    "update.max_steps": "most training steps of an update",
    "update.n_replay": "old structures replayed in an update",
    "update.n_steps": "training steps before the new labels are looked at",
    "update.n_validation": "structures on which an update is tested",
    "update.reject_factor": "growth of the force error that refuses an update",
    "update.replay": "how old structures are drawn",
    "evaluation.n_frames": "whole frames labelled at the end",
}

_CHOICES: dict[str, dict[Any, str]] = {
    "embedding": {
        "ides": "a crop, relaxed on its uncertainty (ides)",
        "crop": "a crop as it is cut",
        "vacuum": "a cluster in vacuum",
        "frame": "the whole frame",
    },
    "threshold": {"auto": "from the tail of what the first model knows (auto)"},
    "bootstrap.force_field": {"local": "the built-in one (local)"},
    "bootstrap.uncertainty": {
        "soap": "distance from the distribution of SOAP vectors (soap)",
        "mixture": "distance from a mixture of distributions (mixture)",
        "committee": "disagreement of a committee of force fields (committee)",
    },
    "relax.objective": {
        "frame-hinge": "what is less known than in the frame (frame-hinge)",
        "hinge": "what is less known than the mean (hinge)",
        "log-hinge": "what is less known than the mean, by its logarithm (log-hinge)",
        "mean": "the mean uncertainty of the shell (mean)",
    },
    "label.other_method": {"keep": "are kept", "leave_out": "are left out of training", "relabel": "are made again"},
    "segment.trajectory_format": {
        "exact": "positions and velocities as computed (exact)",
        "single": "positions and velocities in single precision (single)",
        "positions": "positions in single precision (positions)",
    },
    "update.covers": {"centre": "the centre of each substructure", "whole": "all of a frame labelled whole"},
    "update.joins": {"all": "all of a substructure", "core": "its core"},
    "update.replay": {"errors": "by their errors", "uniform": "evenly"},
}
#: words for keys inside a value
_PARTS = {
    "r_cut": "cutoff", "n_max": "radial functions", "l_max": "highest angular momentum", "sigma": "width", "kwargs": "arguments",
    "time_limit_s": "time limit (s)", "fit_learning_rate": "learning rate of the first fit",
}  # fmt: skip


def setting_name(key: str) -> str:
    """What a setting is called; one that is not known, such as a new one, by its own name.

    Examples
    --------
    >>> setting_name("crop.max_atoms"), setting_name("crop.some_new_one")
    ('most atoms of a cell', 'some new one')
    """
    return NAMES.get(key, key.rpartition(".")[2].replace("_", " "))


def setting_value(key: str, value: Any) -> str:
    """A setting's value as one says it.

    Examples
    --------
    >>> setting_value("segment.schedule", [{"kind": "ramp", "temperature": 300, "to": 1500, "steps": 200}])
    'from 300 to 1500 K in 200 steps'
    >>> setting_value("bootstrap.rattle", [0.02, 0.1])
    '0.02 to 0.1'
    >>> setting_value("bootstrap.seeds", [{"element": "Cu", "crystal": "fcc", "a": 3.62, "cubic": True, "repeat": [2, 2, 2]}])
    'fcc Cu, a 3.62, cubic, repeat 2 × 2 × 2'
    """
    say = _SAID.get(key)
    text = say(value) if say is not None and value else _plain(value, _CHOICES.get(key, {}))
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " …"


def _plain(value: Any, choices: Mapping[Any, str] | None = None) -> str:
    if isinstance(value, str) and choices:
        return choices.get(value, value)
    if isinstance(value, Mapping):
        parts = {k: v for k, v in value.items() if v is not None and v != {} and not str(k).startswith("@")}
        return _joined(parts) or "as by default"
    if isinstance(value, list | tuple):
        return "; ".join(_plain(item) for item in value) or "none"
    return written(value)


def _joined(parts: Mapping[str, Any]) -> str:
    """Names and values, one after the other; what is only switched on by its name alone."""
    said = []
    for name, value in parts.items():
        word = _PARTS.get(name, str(name).replace("_", " "))
        if isinstance(value, Mapping):
            said.append(f"{word} ({_joined(value)})")
        else:
            said.append(word if value is True else f"{word} {_times(value)}")
    return ", ".join(said)


def _times(value: Any) -> str:
    """A list of numbers as a size, 2 × 2 × 2."""
    if isinstance(value, list | tuple) and value and all(isinstance(one, int) for one in value):
        return " × ".join(map(str, value))
    return _plain(value)


def _range(value: Any) -> str:
    return " to ".join(map(written, value)) if isinstance(value, list | tuple) else written(value)


def _schedule(value: Any) -> str:
    return "; ".join(_stage(stage) for stage in value)


def _stage(stage: Mapping[str, Any]) -> str:
    steps = f"{written(stage['steps'])} steps"
    if stage.get("to") is not None:
        return f"from {written(stage['temperature'])} to {written(stage['to'])} K in {steps}"
    return f"{written(stage['temperature'])} K for {steps}"


def _sampler(value: Mapping[str, Any]) -> str:
    units = {"timestep": "fs", "friction": "1/fs"}
    rest = {name: item for name, item in value.items() if name != "name" and item is not None}
    parts = [f"{name.replace('_', ' ')} {_times(item)} {units.get(name, '')}".rstrip() for name, item in rest.items()]
    return ", ".join([str(value.get("name", "")), *parts])


def _structures(value: Any) -> str:
    return "; ".join(_structure(one) for one in (value if isinstance(value, list) else [value]))


def _structure(value: Any) -> str:
    if not isinstance(value, Mapping) or "element" not in value:
        return _plain(value)
    rest = {name: item for name, item in value.items() if name not in ("element", "crystal")}
    return ", ".join(part for part in (f"{value.get('crystal', '')} {value['element']}".strip(), _joined(rest)) if part)


def _labeller(value: Mapping[str, Any]) -> str:
    what = next((value[name] for name in ("external", "calculator", "maker") if isinstance(value.get(name), str)), None)
    if what is None:
        return _plain(value)
    rest = {k: v for k, v in value.items() if v not in (None, {}, what) and not k.startswith("@")}
    return ", ".join(part for part in (what, _joined(rest)) if part)


_SAID: dict[str, Callable[[Any], str]] = {
    "bootstrap.rattle": _range,
    "bootstrap.seeds": _structures,
    "crop.cell_widths": _range,
    "segment.schedule": _schedule,
    "segment.sampler": _sampler,
    "label.labeller": _labeller,
}
