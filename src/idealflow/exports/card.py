"""The data card of an exported dataset: what is in it, by what it was made, and how to cite it, for people and for catalogues."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import yaml
from ase import Atoms

from idealflow.config_text import dump_yaml
from idealflow.errors import ArtifactError
from idealflow.exports.formats import KEYS
from idealflow.provenance import Campaign
from idealflow.schemas import Artifact, LabelledDoc

__all__ = ["CARD_START", "data_card"]

#: with what every card begins, by which a folder is known as an export
CARD_START = "---\n# Data card of a dataset exported by idealflow\n"

_METHOD = (
    "Kong et al., *Overcoming the size limit of first principles molecular dynamics simulations with an in-distribution "
    "substructure embedding active learner*"
)
_NO_LICENCE = "not stated: choose one before you pass the data on"
_OF_THE_SITE = ("import_from", "time_limit_s", "threads", "cores")


def data_card(campaign: Campaign, frames: Sequence[Atoms], form: str, licence: str | None = None) -> str:
    r"""Write the card: a header in YAML for catalogues, and the same in Markdown.

    Parameters
    ----------
    campaign
        Whose labels they are.
    frames
        The exported structures, as :func:`~idealflow.exports.dataset.exported_dataset` returns them.
    form
        Their format.
    licence
        Licence of the data, such as ``CC-BY-4.0``; None: the card says that none is stated.

    Examples
    --------
    >>> from idealflow.exports.dataset import exported_dataset
    >>> from idealflow.provenance import sample_campaign
    >>> campaign = sample_campaign()
    >>> card = data_card(campaign, exported_dataset(campaign), "mace", licence="CC-BY-4.0")
    >>> print("\n".join(card.splitlines()[:8]))
    ---
    # Data card of a dataset exported by idealflow
    name: tiny
    license: CC-BY-4.0
    format: mace
    elements:
    - Cu
    structures: 13
    """
    facts = _facts(campaign, frames, form, licence or _NO_LICENCE)
    engines = facts["labels"]["engine"]
    counts = facts["structures_by_config_type"]
    lines = [
        f"# Labelled structures of the campaign {campaign.name}",
        "",
        f"{facts['structures']} structures with {facts['atoms']} atoms of {', '.join(facts['elements'])}: "
        + ", ".join(f"{count} {kind}" for kind, count in counts.items())
        + f"; {facts['structures_by_split'].get('held_out', 0)} of them were held out of the campaign's own training.",
        "",
        f"**Labels** by {', '.join(facts['labels']['methods'])}. Engine: {', '.join(engines)}. Stress is given for "
        f"{facts['labels']['with_stress']} of them. Settings of the labeller:",
        "",
        "```yaml",
        dump_yaml(facts["labels"]["settings"]).rstrip(),
        "```",
        "",
        f"**Format** `{form}`: {KEYS[form]}. `request_key` says which walker, step, atom and attempt of the campaign asked for a "
        "structure, and in which round where another of the same place was labelled before; keep structures of one `campaign` in "
        "one part when you split anew, or use `split`.",
        "",
        f"**Licence** of the data: {facts['license']}.",
        "",
        f"**Citation**: the method, {_METHOD}; idealflow {facts['idealflow']}, which made the structures; and the engine above.",
        "",
    ]
    return f"{CARD_START}{dump_yaml(facts)}---\n\n" + "\n".join(lines)


def _facts(campaign: Campaign, frames: Sequence[Atoms], form: str, licence: str) -> dict[str, Any]:
    return {
        "name": campaign.name,
        "license": licence,
        "format": form,
        "elements": sorted({symbol for atoms in frames for symbol in atoms.get_chemical_symbols()}),
        "structures": len(frames),
        "atoms": sum(len(atoms) for atoms in frames),
        "structures_by_config_type": _counted(frames, "config_type"),
        "structures_by_split": _counted(frames, "split"),
        "labels": {
            "methods": _methods(frames),
            "engine": _engines(campaign),
            "with_stress": sum(atoms.calc.results.get("stress") is not None for atoms in frames),
            "settings": _settings(campaign),
        },
        "idealflow": version("idealflow"),
    }


def _counted(frames: Sequence[Atoms], name: str) -> dict[str, int]:
    return dict(sorted(Counter(atoms.info[name] for atoms in frames).items()))


def _methods(frames: Sequence[Atoms]) -> list[str]:
    """What the labels are of; structures of a dataset say nothing of themselves."""
    return sorted({atoms.info.get("method", "not known (they came with a dataset)") for atoms in frames})


def _settings(campaign: Campaign) -> dict[str, Any]:
    """The labeller's settings from the config that the campaign keeps, without those of the machine."""
    if campaign.folder is None:
        return {"not kept here": "the campaign is in a database; its state names the settings it ran with"}
    kept = yaml.safe_load(campaign.folder.readable_config.read_text(encoding="utf-8"))
    labeller = (kept.get("label") or {}).get("labeller")
    if not isinstance(labeller, dict):
        return {"labeller": "VASP, by the input sets of idealflow" if labeller is None else str(labeller)}
    return {name: value for name, value in labeller.items() if name not in _OF_THE_SITE}


def _engines(campaign: Campaign) -> list[str]:
    """Engines with their versions, as far as the labels say."""
    found = {doc.engine for doc in _accepted(campaign) if doc.engine}
    stored = next((doc.document for doc in _accepted(campaign) if doc.document is not None), None)
    if stored is not None and (told := _engine_of(campaign, stored)):
        found.add(told)
    return sorted(found) or ["its version is not stored with the labels; say it here"]


def _accepted(campaign: Campaign) -> list[LabelledDoc]:
    return [*campaign.substructures(state="accepted"), *campaign.labels(state="accepted")]


def _engine_of(campaign: Campaign, stored: Artifact) -> str | None:
    """Name and version of the engine in its own document of a label, if it says them."""
    try:
        document = json.loads(campaign.fetch(stored).read_text(encoding="utf-8"))
    except ArtifactError:  # documents are large, and may have been left behind when the folder was copied
        return None
    runs = document.get("calcs_reversed") or [{}]
    for name, where in (("VASP", "vasp_version"), ("CP2K", "cp2k_version"), ("ABINIT", "abinit_version")):
        told = runs[0].get(where) or document.get(where)
        if told:
            return f"{name} {told}"
    return None
