"""Which workers take which jobs: one mapping from a part of the campaign to a FireWorks category."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from idealflow.errors import InputError, did_you_mean
from idealflow.former_names import given_formerly

__all__ = ["PARTS", "categories_of", "checked_queues", "former_category", "queues_of_sections"]

#: what a queue may be named for → the stages (:func:`~idealflow.workflow.jobs.stage.named`) whose jobs go to it
PARTS: dict[str, tuple[str, ...]] = {
    "default": ("other",),
    "bootstrap": ("bootstrap-fit", "relabel-fit"),
    "segment": ("segment",),
    "screen": ("screen",),
    "crop": ("crop",),
    "relax": ("relax",),
    "label": ("label", "bootstrap-label", "check-label", "evaluation-label", "relabel-label"),
    "update": ("update", "consolidate"),
    "evaluation": ("evaluate", "evaluation-compare"),
}


def categories_of(queues: Mapping[str, str]) -> dict[str, str]:
    """Category of worker by stage, as a round's jobs are given it; ``other`` is that of all stages that are not named.

    Examples
    --------
    >>> categories_of({"default": "cpu", "evaluation": "gpu"})
    {'other': 'cpu', 'evaluate': 'gpu', 'evaluation-compare': 'gpu'}
    """
    return {stage: queues[part] for part, stages in PARTS.items() if part in queues for stage in stages}


def checked_queues(queues: Any) -> dict[str, str]:
    """The mapping, if it is one of parts of a campaign to names of categories.

    Raises
    ------
    InputError
        Naming the part that there is not, or the category that is no name.

    Examples
    --------
    >>> checked_queues({"default": "cpu", "segments": "gpu"})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    idealflow.errors.InputError: queues has no part 'segments' (did you mean 'segment'?); parts are default, bootstrap, ...
    """
    if not isinstance(queues, Mapping):
        raise InputError(f"queues must be a mapping such as {{default: cpu, segment: gpu}}, got {queues!r}")
    for part, category in queues.items():
        if part not in PARTS:
            raise InputError(
                f"queues has no part {part!r}{did_you_mean(part, list(PARTS))}; parts are {', '.join(PARTS)}"
            )
        if not isinstance(category, str) or not category:
            raise InputError(f"queues.{part} must be the name of a category, got {category!r}")
    return dict(queues)


def queues_of_sections(queues: Mapping[str, str], categories: Mapping[str, str | None]) -> dict[str, str]:
    """Queues, with the categories that sections named before there was one mapping.

    Parameters
    ----------
    queues
        Of the mapping, which may be empty.
    categories
        Section (``default`` for the campaign's own) → its former ``category``; None where it has none.

    Raises
    ------
    InputError
        When both name a category of the same part, and not the same.

    Examples
    --------
    >>> queues_of_sections({"default": "cpu"}, {"segment": "gpu", "update": None})
    {'default': 'cpu', 'segment': 'gpu'}
    """
    merged = dict(queues)
    for part, category in categories.items():
        if category is not None and merged.setdefault(part, category) != category:
            former = "category" if part == "default" else f"{part}.category"
            raise InputError(
                f"{former} = {category} contradicts queues.{part} = {merged[part]}; queues replaces every `category`: leave "
                f"{former} out"
            )
    return {part: merged[part] for part in PARTS if part in merged}


def former_category(maker: Any) -> str | None:
    """The ``category`` that a Maker was given, as scripts and stored Makers did before there was ``queues``; None for none.

    Examples
    --------
    >>> from idealflow import CropSearchMaker
    >>> former_category(CropSearchMaker(category="cpu"))
    'cpu'
    """
    found: str | None = given_formerly(maker, "category")
    return found
