"""The sample campaign's documents in a store of memory, changed as a test needs them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from jobflow import JobStore
from maggma.stores import MemoryStore

from idealflow import Campaign
from idealflow.provenance import sample_campaign

Document = dict[str, Any]


def documents() -> list[Document]:
    """All documents of the sample campaign, which find its files."""
    campaign = sample_campaign()
    found = list(campaign.store.query({"output.campaign": campaign.name}))
    for document in found:
        document.pop("_id", None)
        if document["output"].get("kind") == "state":
            document["output"]["artifacts"] = campaign.folder.artifacts
    return found


def in_memory(change: Callable[[list[Document]], None] | None = None) -> Campaign:
    """The sample campaign in a store of memory; ``change`` may alter its documents before."""
    found = documents()
    if change is not None:
        change(found)
    store = JobStore(MemoryStore())
    store.connect()
    store.update(found, key=["uuid", "index"])
    return Campaign(store, "tiny")


def many(n: int) -> Callable[[list[Document]], None]:
    """A change that leaves ``n`` copies of each substructure, each with a job and a key of its own."""

    def repeat(found: list[Document]) -> None:
        for document in [one for one in found if one["output"].get("kind") == "substructure"]:
            for number in range(1, n):
                one = copy.deepcopy(document)
                one["uuid"] = one["output"]["uuid"] = f"{document['uuid']}-{number}"
                one["output"]["request_key"] += f"/copy{number:06d}"
                found.append(one)

    return repeat
