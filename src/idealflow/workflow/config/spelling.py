"""Configs of earlier versions: keys that are called otherwise now are read, and it is said how to write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from idealflow.config_text import dump_yaml
from idealflow.errors import InputError
from idealflow.former_names import FORMER, present_names
from idealflow.workflow.campaign.queues import PARTS, checked_queues, queues_of_sections
from idealflow.workflow.campaign.settings import kinds_of_sections

__all__ = ["present_spelling"]

#: makers of our own whose arguments were renamed, by the end of their path: former name → present name
_MAKERS = {"vasp_static": {"wall_time_s": "time_limit_s"}}


def present_spelling(settings: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    r"""A config under the names that its keys have now, and a line for each that it calls otherwise.

    Parameters
    ----------
    settings
        A config as plain data; not changed.

    Raises
    ------
    InputError
        When something is given under a former and a present name, and not the same; for queues of parts that there are not,
        where a ``category`` joins them.

    Examples
    --------
    >>> settings, lines = present_spelling({"category": "cpu", "segment": {"category": "gpu", "wall_time_s": 60}})
    >>> settings
    {'segment': {'time_limit_s': 60}, 'queues': {'default': 'cpu', 'segment': 'gpu'}}
    >>> print(*lines, sep="\n")
    segment.wall_time_s is called segment.time_limit_s now
    `category` is written as one mapping now: `queues: {default: cpu, segment: gpu}`
    """
    found = dict(settings)
    lines: list[str] = []
    for place, names in _renamed(found):
        section = _at(found, place)
        for former, present in names.items():
            if isinstance(section, Mapping) and former in section:
                where = ".".join(place)
                lines.append(f"{where}.{former} is called {where}.{present} now")
        if isinstance(section, Mapping):
            found = _with(found, place, present_names(section, names, ".".join(place)))
    categories = dict(_categories(found))
    if categories:
        found["queues"] = queues_of_sections(checked_queues(found.get("queues", {})), categories)
        for part in categories:
            place = () if part == "default" else (part,)
            found = _with(found, place, {key: value for key, value in _at(found, place).items() if key != "category"})
        written = ", ".join(dump_yaml(found["queues"]).splitlines()) if found["queues"] else ""
        lines.append(f"`category` is written as one mapping now: `queues: {{{written}}}`")
    return found, lines


def _renamed(settings: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Mapping[str, str]]]:
    """Places of a config whose keys were renamed, with the names."""
    for section, kind in kinds_of_sections().items():
        if kind in FORMER:
            yield (section,), FORMER[kind]
    bootstrap = settings.get("bootstrap")
    if isinstance(bootstrap, Mapping) and bootstrap.get("force_field", "local") == "local":
        yield ("bootstrap", "force_field_settings"), FORMER["LocalForceField"]
    maker = str(_at(settings, ("label", "labeller", "maker"))).rpartition(".")[2]
    if maker in _MAKERS:
        yield ("label", "labeller", "kwargs"), _MAKERS[maker]


def _categories(settings: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    """Parts of the campaign with the ``category`` that their sections name."""
    for part in PARTS:
        section = settings if part == "default" else settings.get(part)
        if isinstance(section, Mapping) and "category" in section:
            category = section["category"]
            if category is not None and not isinstance(category, str):
                where = "category" if part == "default" else f"{part}.category"
                raise InputError(f"{where} must be the name of a category, got {category!r}")
            yield part, category


def _at(settings: Any, place: tuple[str, ...]) -> Any:
    """What a config has at a place, None for nothing."""
    for key in place:
        settings = settings.get(key) if isinstance(settings, Mapping) else None
    return settings


def _with(settings: Mapping[str, Any], place: tuple[str, ...], value: Any) -> dict[str, Any]:
    """A copy of a config with another value at a place that it has."""
    if not place:
        return dict(value)
    return dict(settings) | {place[0]: _with(settings[place[0]], place[1:], value)}
