"""Names that are the same in every process: uuids of jobs, request keys, seeds, hashes of settings.

The uuid of a stage's job is derived from what the job computes. So a round that is run again after a kill finds its own
earlier outputs in the store, and does not compute them a second time.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import Any

import numpy as np

from idealflow.former_names import first_names
from idealflow.workflow.jobs.identity import former_form

__all__ = ["child_seed", "former_key", "generator", "is_key_of", "request_key", "settings_key", "stage_uuid"]

#: version of the form of keys; keys of 0.1.0 carry none
_VERSION = 2

_NAMESPACE = uuid.UUID("0b7c1d7e-4a0e-5c58-9f55-1de0a11f1073")


def stage_uuid(campaign: str, *parts: object) -> str:
    """Return the uuid (version 5) of a stage's job, a pure function of campaign and parts: round, stage, walker, step, ...

    Examples
    --------
    >>> stage_uuid("li", 3, "segment", 0)
    '436ef60f-dab9-50c4-bdbc-c16a1af257be'
    """
    return str(uuid.uuid5(_NAMESPACE, "/".join(str(part) for part in (campaign, *parts))))


def request_key(campaign: str, walker: int, step: int, atom: int, attempt: int, again: int | None = None) -> str:
    """Return the key of a label request. Numbers are padded with zeros, so sorted keys are sorted by walker, step, atom, attempt.

    ``again`` is the round, where a walker that had gone back asks for another cell at a place of which one was labelled.

    Examples
    --------
    >>> request_key("li", walker=0, step=40, atom=77, attempt=0)
    'li/w0000/s000000000040/a000000077/t00'
    >>> request_key("li", walker=0, step=40, atom=77, attempt=0, again=12)
    'li/w0000/s000000000040/a000000077/t00/r000012'
    """
    key = f"{campaign}/w{walker:04d}/s{step:012d}/a{atom:09d}/t{attempt:02d}"
    return key if again is None else f"{key}/r{again:06d}"


def child_seed(*parts: int) -> int:
    """Derive a seed of 63 bits from whole numbers by numpy's SeedSequence, so that each piece of work has a seed of its own.

    Examples
    --------
    >>> seed, walker, step, atom = 1, 0, 40, 77
    >>> child_seed(seed, walker, step, atom), child_seed(seed, walker, step, atom + 1)
    (3602112503800308850, 7970949609352666367)
    """
    return int(np.random.SeedSequence(list(parts)).generate_state(1, np.uint64)[0] >> 1)


def generator(*parts: int) -> np.random.Generator:
    """Return a generator seeded by numpy's ``SeedSequence(parts)``; different parts give independent streams.

    Examples
    --------
    >>> generator(1, 0, 40).random() == generator(1, 0, 40).random()
    True
    >>> generator(1, 0, 40).random() == generator(1, 0, 41).random()
    False
    """
    return np.random.default_rng(np.random.SeedSequence(list(parts)))


def settings_key(settings: Any) -> str:
    """Hash the settings of a Maker or labeller: ``2-`` and 16 hexadecimal digits of the SHA-256 of their canonical JSON.

    Of our own classes the name is hashed (:mod:`idealflow.workflow.jobs.identity`), of others module and name. Fields that were
    renamed are hashed under their first name. So the key stays when code moves or fields get better names.

    Examples
    --------
    >>> from idealflow import AseLabeller
    >>> settings_key(AseLabeller("ase.calculators.emt.EMT"))
    '2-e61146ba89594fa4'
    >>> settings_key({"b": 1, "a": 2}) == settings_key({"a": 2, "b": 1})
    True
    """
    return f"{_VERSION}-{_digest(first_names(_plain(settings)))}"


def former_key(settings: Any) -> str:
    """Return the key that version 0.1.0 gave the same settings, under which its labels are found.

    Examples
    --------
    >>> from idealflow import AseLabeller
    >>> former_key(AseLabeller("ase.calculators.emt.EMT"))
    'a1b00a3aee9121b9'
    """
    return _digest(former_form(first_names(_plain(settings))))


def is_key_of(stored: str, settings: Any) -> bool:
    """Tell whether a stored key, of this version or of 0.1.0, is the key of these settings.

    Examples
    --------
    >>> from idealflow import AseLabeller
    >>> labeller = AseLabeller("ase.calculators.emt.EMT")
    >>> is_key_of(settings_key(labeller), labeller), is_key_of(former_key(labeller), labeller)
    (True, True)
    >>> is_key_of(settings_key(labeller), AseLabeller("ase.calculators.lj.LennardJones"))
    False
    """
    return stored == (settings_key(settings) if "-" in stored else former_key(settings))


def _plain(settings: Any) -> Any:
    return settings.as_dict() if hasattr(settings, "as_dict") else settings


def _digest(data: Any) -> str:
    text = json.dumps(_without_versions(data), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without_versions(data: Any) -> Any:
    """Leave package versions out: settings are the same under another version of a package."""
    if isinstance(data, dict):
        return {key: _without_versions(value) for key, value in data.items() if key != "@version"}
    if isinstance(data, (list, tuple)):
        return [_without_versions(value) for value in data]
    return data
