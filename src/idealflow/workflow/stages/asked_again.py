"""Labels at one place, asked for in several rounds: a walker that goes back after a blow-up may come there once more."""

from __future__ import annotations

from jobflow import JobStore

from idealflow.schemas import StageContext
from idealflow.workflow.jobs.keys import request_key

__all__ = ["key_at"]

_PLACE = ("walker", "step", "atom", "attempt")


def key_at(store: JobStore, context: StageContext, place: tuple[int, int, int, int], geometry: str | None) -> str:
    """Return the request key of a substructure: the round is in it if another cell at its place was labelled in another round.

    So each of them is learned, and the same cell, asked for twice, is one.

    Parameters
    ----------
    store, context
        Where labels are; campaign and round.
    place
        Walker, step, atom and attempt.
    geometry
        Geometry key of the substructure; None if there is none.

    Examples
    --------
    The sample campaign has a label at this place, of round 2:

    >>> from idealflow.provenance import sample_campaign
    >>> campaign = sample_campaign()
    >>> known = campaign.substructures(round=2)[0]
    >>> place = (known.walker, known.step, known.atom, known.attempt)
    >>> context = StageContext(campaign="tiny", round=5, seed=1, artifacts="artifacts", work="work")
    >>> key_at(campaign.store, context, place, known.geometry_key)
    'tiny/w0000/s000000000040/a000000077/t00'
    >>> key_at(campaign.store, context, place, "another")
    'tiny/w0000/s000000000040/a000000077/t00/r000005'
    """
    first = request_key(context.campaign, *place)
    known = _labelled(store, context, {"output.request_key": first})
    if known and geometry not in known:  # the place is not indexed, so it is asked for only where there is a label
        known = _labelled(store, context, {f"output.{name}": value for name, value in zip(_PLACE, place, strict=True)})
    if not known:
        return first
    return known.get(geometry) or request_key(context.campaign, *place, again=context.round)


def _labelled(store: JobStore, context: StageContext, query: dict[str, object]) -> dict[str | None, str]:
    """Geometry key and request key of the substructures that were labelled in other rounds."""
    of_others = {
        "output.kind": "substructure",
        "output.campaign": context.campaign,
        "output.state": "accepted",
        "output.round": {"$ne": context.round},
    }
    names = ["output.geometry_key", "output.request_key"]
    found = [entry["output"] for entry in store.query(query | of_others, properties=names)]
    return {output["geometry_key"]: output["request_key"] for output in found}
