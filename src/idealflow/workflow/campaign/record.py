"""The settings of a campaign as plain data, key by key: stored with it, and compared when it is taken up again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

from monty.json import MontyEncoder

from idealflow.core import SOAP
from idealflow.core.dynamics import get_sampler, sampler_to_dict
from idealflow.core.registry import default_uncertainty_settings
from idealflow.errors import InputError
from idealflow.forcefields import default_settings, present_settings
from idealflow.forcefields.pretrained import is_shipped
from idealflow.former_names import FORMER
from idealflow.schemas import SETTINGS_IN_FULL, Artifact
from idealflow.storage import ArtifactStore
from idealflow.workflow.campaign.queues import queues_of_sections
from idealflow.workflow.campaign.settings import CampaignSettings, kinds_of_sections
from idealflow.workflow.frames.build import STRUCTURE_DEFAULTS
from idealflow.workflow.jobs.identity import known_to_0_1

__all__ = ["default_of", "in_full", "load_settings", "save_settings", "settings_of", "without_new_keys"]

#: settings of a single call, and names; they are not compared
_NOT_COMPARED = ("campaign", "continuation", "max_rounds", "workers", "budget", "name")

#: keys of a section that say how its jobs are run, and change no result; they are not compared
_OF_THE_RUN = ("label.cores", "label.memory_gb")


def settings_of(maker: CampaignSettings, *, hashed: bool = True) -> dict[str, Any]:
    """All settings that are compared: ``section.name`` → plain value. Files count by the hash of their content.

    Parameters
    ----------
    maker
        The campaign.
    hashed
        False: files count by their names, for settings of earlier runs, whose files may have changed since.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(campaign="copper", label=label, artifacts="memory://copper")
    >>> settings = settings_of(maker)
    >>> settings["seed"], settings["update.n_steps"], settings["segment.sampler"]["name"]
    (0, 20, 'langevin')
    """
    plain = _without_versions(json.loads(json.dumps(maker.as_dict(), cls=MontyEncoder)))
    found: dict[str, Any] = {}
    for key, value in plain.items():
        if key.startswith("@") or key in _NOT_COMPARED:
            continue
        if isinstance(value, dict) and "@class" in value:
            section = {f"{key}.{name}": entry for name, entry in value.items() if not name.startswith("@")}
            section.pop(f"{key}.name", None)
            found |= {name: entry for name, entry in section.items() if name not in _OF_THE_RUN}
        else:
            found[key] = value
    bootstrap = maker.bootstrap
    found["segment.sampler"] = sampler_to_dict(maker.segment.dynamics())
    found["label.labeller"] = {key: value for key, value in found["label.labeller"].items() if key != "import_from"}
    found["segment.schedule"] = maker.segment.plan().to_dict()["stages"]
    found["bootstrap.soap"] = _whole_soap(bootstrap.soap)
    found.setdefault("bootstrap.uncertainty_settings", {})
    found["bootstrap.dataset"] = None if bootstrap.dataset is None else _file(bootstrap.dataset, hashed)
    if bootstrap.seeds is not None:
        found["bootstrap.seeds"] = [_seed(entry, hashed) for entry in found["bootstrap.seeds"]]
    for key in ("bootstrap.pretrained", "bootstrap.anchor"):
        if key in found:
            found[key] = _weights(found[key], hashed)
    if bootstrap.campaign is not None:
        found["bootstrap.campaign"] = {"file": Path(bootstrap.campaign).name, "sha256": None}
    return found


def save_settings(store: ArtifactStore, maker: CampaignSettings) -> Artifact:
    """Store the settings as a file of their own, so that the campaign's state does not grow. Equal settings are one file.

    Beside what is compared it has what reports show: settings that :func:`settings_of` leaves out where they are at their
    defaults, and the defaults of the force field, the sampler and the seeds.

    Examples
    --------
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> from idealflow.storage import ArtifactStore
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(campaign="copper", label=label, artifacts="memory://copper")
    >>> store = ArtifactStore("memory://copper")
    >>> save_settings(store, maker) == save_settings(store, maker)
    True
    """
    settings = settings_of(maker)
    shown = in_full(settings | _left_out(maker, settings))
    beside = {key: value for key, value in shown.items() if key not in settings or value != settings[key]}
    text = json.dumps(settings | {SETTINGS_IN_FULL: beside}, sort_keys=True, indent=1, cls=MontyEncoder)
    return store.put_bytes(text.encode(), suffix=".json")


def _left_out(maker: CampaignSettings, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that the compared form does not have, since they are at the defaults that older versions lived by."""
    found = {}
    for entry in fields(maker):
        value = getattr(maker, entry.name)
        if not is_dataclass(value):
            continue
        for inner in fields(value):
            key = f"{entry.name}.{inner.name}"
            if inner.name != "name" and key not in _OF_THE_RUN and key not in settings:
                found[key] = getattr(value, inner.name)
    return found


def load_settings(store: ArtifactStore, artifact: Artifact) -> dict[str, Any]:
    """The settings that are compared of those that :func:`save_settings` stored, under the names that they have now.

    Examples
    --------
    >>> from idealflow.storage import ArtifactStore
    >>> store = ArtifactStore("memory://copper")
    >>> kept = store.put_bytes(b'{"seed": 0, "category": "cpu"}', suffix=".json")  # as earlier versions stored it
    >>> load_settings(store, kept)
    {'seed': 0, 'queues': {'default': 'cpu'}}
    """
    found: dict[str, Any] = json.loads(store.get(artifact).read_text())
    found.pop(SETTINGS_IN_FULL, None)
    return _under_present_names(found)


def _under_present_names(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that an earlier version kept: ``category`` of each section, fields that have another name now."""
    kept: dict[str, Any] = {}
    categories: dict[str, str | None] = {}
    kinds = kinds_of_sections()
    for key, value in stored.items():
        section, _, name = key.rpartition(".")
        if name == "category":
            categories[section or "default"] = value
        elif key == "bootstrap.force_field_settings":
            kept[key] = present_settings(stored["bootstrap.force_field"], value)
        elif key in ("bootstrap.pretrained", "bootstrap.anchor"):
            kept[key] = _weights(value, hashed=False)
        else:
            present = FORMER.get(kinds.get(section, ""), {}).get(name, name)
            kept[f"{section}.{present}" if section else present] = value
    if categories:
        kept["queues"] = queues_of_sections({}, categories)
    return kept


def default_of(maker: CampaignSettings, key: str) -> Any:
    """Default value of a key, ``section.name``.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(campaign="copper", label=label, artifacts="memory://copper")
    >>> default_of(maker, "screen.max_centres")
    4
    """
    section, _, name = key.rpartition(".")
    entry = next(entry for entry in fields(getattr(maker, section) if section else maker) if entry.name == name)
    return entry.default if entry.default_factory is MISSING else entry.default_factory()


def without_new_keys(maker: CampaignSettings, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without those that version 0.1.0 did not know.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(campaign="copper", label=label, artifacts="memory://copper")
    >>> without_new_keys(maker, {"seed": 0, "bootstrap.dataset_check": 2})
    {'seed': 0}
    """
    kept = {}
    for key, value in settings.items():
        section, _, name = key.rpartition(".")
        kind = type(getattr(maker, section) if section else maker).__name__
        if name in known_to_0_1(kind) or key == "queues":  # which were a `category` in each section
            kept[key] = value
    return kept


def in_full(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with all defaults written out, so that a default counts the same whether it is written down or not.

    A setting that a later version added to a sampler or force field is at its default, too.

    Examples
    --------
    >>> in_full({"segment.sampler": {"name": "langevin"}})["segment.sampler"]["friction"]  # 1/fs
    0.01
    """
    full = dict(settings)
    if "segment.sampler" in full:
        full["segment.sampler"] = _whole_sampler(full["segment.sampler"])
    if {"bootstrap.force_field", "bootstrap.force_field_settings"} <= full.keys():
        name = full["bootstrap.force_field"]
        given = present_settings(name, full["bootstrap.force_field_settings"])
        full["bootstrap.force_field_settings"] = default_settings(name) | given
    if {"bootstrap.uncertainty", "bootstrap.uncertainty_settings"} <= full.keys():
        defaults = default_uncertainty_settings(full["bootstrap.uncertainty"])
        defaults.pop("members", None)  # which has a key of its own, bootstrap.committee_size
        full["bootstrap.uncertainty_settings"] = defaults | full["bootstrap.uncertainty_settings"]
    if full.get("bootstrap.seeds") is not None:
        full["bootstrap.seeds"] = [_whole_seed(entry) for entry in full["bootstrap.seeds"]]
    if full.get("segment.start_temperature", 0.0) is None:
        full["segment.start_temperature"] = full["segment.schedule"][0]["temperature"]
    return full


def _whole_sampler(settings: Any) -> Any:
    try:
        return sampler_to_dict(get_sampler(**settings))
    except InputError:  # a sampler that is registered no more is another one
        return settings


def _whole_seed(entry: Any) -> Any:
    """A builder mapping or a file, with its defaults written out; a structure that was given as an object has none."""
    if "sha256" in entry:
        entry = {"file": entry}
    if not {"file", "element"} & entry.keys():
        return entry
    entry = STRUCTURE_DEFAULTS | entry
    repeat = entry["repeat"]
    return entry | {"cubic": bool(entry["cubic"]), "repeat": repeat if isinstance(repeat, list) else [repeat] * 3}


def _file(name: str, hashed: bool) -> dict[str, Any]:
    path = Path(name)
    if not (hashed and path.is_file()):
        return {"file": name, "sha256": None}
    with path.open("rb") as content:
        return {"file": name, "sha256": hashlib.file_digest(content, "sha256").hexdigest()}


def _weights(entry: Any, hashed: bool) -> Any:
    """A file of weights or structures; a name of shipped weights, and a number of structures, are what they are."""
    return _file(entry, hashed) if isinstance(entry, str) and not is_shipped(entry) else entry


def _seed(entry: Any, hashed: bool) -> Any:
    if isinstance(entry, str):
        return _file(entry, hashed)
    if isinstance(entry, dict) and isinstance(entry.get("file"), str):
        return entry | {"file": _file(entry["file"], hashed)}
    return entry


def _whole_soap(settings: Mapping[str, Any]) -> dict[str, Any]:
    try:
        soap = SOAP(species=["H"], **settings)
    except TypeError:  # a misspelt key, which check_campaign names
        return dict(settings)
    found = {name: getattr(soap, name) for name in ("r_cut", "n_max", "l_max", "sigma")}
    return found if soap.compression is None else found | {"compression": soap.compression}


def _without_versions(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _without_versions(value) for key, value in data.items() if key != "@version"}
    return [_without_versions(value) for value in data] if isinstance(data, list) else data
