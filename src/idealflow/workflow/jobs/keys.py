"""Names that are the same in every process: job uuids, request keys, seeds, hashes of settings.

A stage's job uuid is derived from what it computes, so a round that is run again after a kill meets its own
earlier outputs in the store instead of computing them a second time.
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

#: of the form of keys; those of version 0.1.0 have none
_VERSION = 2

_NAMESPACE = uuid.UUID("0b7c1d7e-4a0e-5c58-9f55-1de0a11f1073")


def stage_uuid(campaign: str, *parts: object) -> str:
    """Uuid (version 5) of a stage's job: a pure function of campaign and parts (round, stage, walker, step, ...)."""
    return str(uuid.uuid5(_NAMESPACE, "/".join(str(part) for part in (campaign, *parts))))


def request_key(campaign: str, walker: int, step: int, atom: int, attempt: int) -> str:
    """Key of a label request; zero-padded, so that sorting the keys sorts walkers, steps, atoms, attempts."""
    return f"{campaign}/w{walker:04d}/s{step:012d}/a{atom:09d}/t{attempt:02d}"


def child_seed(*parts: int) -> int:
    """63-bit seed derived from the parts by SeedSequence, e.g. ``child_seed(seed, walker, step, atom, attempt)``."""
    return int(np.random.SeedSequence(list(parts)).generate_state(1, np.uint64)[0] >> 1)


def generator(*parts: int) -> np.random.Generator:
    """Generator seeded by ``SeedSequence(parts)``: independent streams for different parts."""
    return np.random.default_rng(np.random.SeedSequence(list(parts)))


def settings_key(settings: Any) -> str:
    """Key of a Maker's or labeller's settings: ``2-`` and 16 hexadecimal digits of the SHA-256 of their canonical JSON.

    Our own classes count by name (:mod:`idealflow.workflow.jobs.identity`), others by module and name; fields that were renamed
    count under their first name, so that keys stay.
    """
    return f"{_VERSION}-{_digest(first_names(_plain(settings)))}"


def former_key(settings: Any) -> str:
    """The key that version 0.1.0 gave the same settings."""
    return _digest(former_form(first_names(_plain(settings))))


def is_key_of(stored: str, settings: Any) -> bool:
    """Whether a stored key, of this version or of 0.1.0, is that of the settings."""
    return stored == (settings_key(settings) if "-" in stored else former_key(settings))


def _plain(settings: Any) -> Any:
    return settings.as_dict() if hasattr(settings, "as_dict") else settings


def _digest(data: Any) -> str:
    text = json.dumps(_without_versions(data), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without_versions(data: Any) -> Any:
    """The same settings under another version of a package are the same settings."""
    if isinstance(data, dict):
        return {key: _without_versions(value) for key, value in data.items() if key != "@version"}
    if isinstance(data, (list, tuple)):
        return [_without_versions(value) for value in data]
    return data
