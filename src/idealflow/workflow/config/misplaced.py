"""Advice about a key that a config does not have there: where it belongs, or what it was meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import get_type_hints

from jobflow import Maker

from idealflow.errors import did_you_mean
from idealflow.workflow.campaign.ideal import IdealMaker

__all__ = ["advice", "keys_of"]

#: keys of mappings inside a section: where each mapping stands
_INNER = {
    "label.labeller": ("calculator", "external", "import_from", "kwargs", "maker", "reference"),
    "segment.sampler": ("friction", "timestep"),
    "segment.schedule": ("steps", "temperature"),
    "bootstrap.soap": ("compression", "l_max", "n_max", "r_cut", "sigma"),
    "structure": ("builder", "crystal", "element", "file", "repeat", "vacancies"),
    "budget": ("label_core_hours",),
}


def keys_of(kind: type[Maker], section: str = "") -> Iterator[str]:
    """Names of all settings of a Maker and of the stages in it, as ``section.key``.

    Examples
    --------
    >>> {"seed", "crop", "crop.max_atoms"} <= set(keys_of(IdealMaker))
    True
    """
    hints = get_type_hints(kind)
    for entry in fields(kind):
        if entry.name == "name":
            continue
        place = f"{section}.{entry.name}" if section else entry.name
        yield place
        if isinstance(hints[entry.name], type) and issubclass(hints[entry.name], Maker):
            yield from keys_of(hints[entry.name], place)


def advice(key: object, known: Sequence[str]) -> str:
    """End of a message about an unknown key: the section that has it; else the known key most similar to it, here or elsewhere.

    Parameters
    ----------
    key
        The key, as it stands in the config.
    known
        Keys that are known where it stands.

    Examples
    --------
    >>> print("unknown key max_atoms" + advice("max_atoms", ["seed", "crop"]))
    unknown key max_atoms (it belongs in the section `crop`)
    >>> print("unknown key crop.seed" + advice("seed", ["max_atoms"]))
    unknown key crop.seed (it belongs on the top level of the config)
    >>> print("unknown key segment.timestep" + advice("timestep", ["schedule", "sampler"]))
    unknown key segment.timestep (it belongs in `segment.sampler`)
    >>> print("unknown key structur" + advice("structur", ["seed", "crop"]))
    unknown key structur (did you mean 'structure'?)
    >>> print("unknown key max_atom" + advice("max_atom", ["seed"]))
    unknown key max_atom (did you mean 'crop.max_atoms'?)
    """
    places = ["structure", *keys_of(IdealMaker)]
    if homes := [place for place in places if place.rpartition(".")[2] == key]:
        sections = [section for section, _, _ in (place.rpartition(".") for place in homes)]
        if "" in sections:
            return " (it belongs on the top level of the config)"
        return f" (it belongs in the section {' or '.join(f'`{section}`' for section in sections)})"
    if inner := [place for place, keys in _INNER.items() if key in keys]:
        return f" (it belongs in {' or '.join(f'`{place}`' for place in inner)})"
    if near := did_you_mean(key, known):
        return near
    elsewhere = {place.rpartition(".")[2]: place for place in reversed(places)}
    close = difflib.get_close_matches(str(key), elsewhere, n=1)
    return f" (did you mean {elsewhere[close[0]]!r}?)" if close else ""
