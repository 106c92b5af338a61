"""Labels at one place, asked for in several rounds: a walker that goes back after a blow-up may come there once more."""

from __future__ import annotations

from collections.abc import Sequence

from jobflow import JobStore

from idealflow.schemas import StageContext
from idealflow.workflow.jobs.keys import request_key

__all__ = ["key_at"]


def key_at(store: JobStore, context: StageContext, place: tuple[int, int, int, int], geometries: Sequence[str]) -> str:
    """Return the request key of a substructure: the round is in it if another cell at its place was labelled in another round.

    So each of them is learned, and the same cell, asked for twice, is one.

    Parameters
    ----------
    store, context
        Where labels are; campaign and round.
    place
        Walker, step, atom and attempt.
    geometries
        Geometry keys under which a label of the substructure may be stored; none if there is no substructure.

    Examples
    --------
    The sample campaign has a label at this place, of round 2:

    >>> from idealflow.provenance import sample_campaign
    >>> campaign = sample_campaign()
    >>> known = campaign.substructures(round=2)[0]
    >>> place = (known.walker, known.step, known.atom, known.attempt)
    >>> context = StageContext(campaign="tiny", round=5, seed=1, artifacts="artifacts", work="work")
    >>> key_at(campaign.store, context, place, [known.geometry_key])
    'tiny/w0000/s000000000040/a000000077/t00'
    >>> key_at(campaign.store, context, place, ["another"])
    'tiny/w0000/s000000000040/a000000077/t00/r000005'
    """
    first = request_key(context.campaign, *place)
    query = {
        "output.request_key": {"$gte": first, "$lt": f"{first}0"},  # "0" is what follows "/"
        "output.kind": "substructure",
        "output.state": "accepted",
        "output.round": {"$ne": context.round},
    }
    names = ["output.geometry_key", "output.request_key"]
    # in campaigns of before another cell has the same key; the one of the later round was learned
    entries = store.query(query, properties=names, sort={"output.round": 1})
    labelled = {entry["output"]["request_key"]: entry["output"]["geometry_key"] for entry in entries}
    if not labelled:
        return first
    same = [key for key, geometry in labelled.items() if geometry in geometries]
    return same[0] if same else request_key(context.campaign, *place, again=context.round)
