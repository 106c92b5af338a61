"""What the package asks a MongoDB server: every question has the shape of an index, and the answers are SQLite's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bson
import numpy as np
import pandas as pd
import pytest
from jobflow import JobStore
from maggma.stores import GridFSStore, MongoStore
from pymongo.monitoring import CommandListener, CommandStartedEvent

from idealflow import Campaign
from idealflow.provenance import COMPOUND_INDEXES, ensure_indexes
from idealflow.provenance.maggma_internals import mongo_collection
from idealflow.workflow import run_campaign
from idealflow.workflow.frames.encode import to_stored
from support import tiny
from workbench.cluster import Cluster


class Questions(CommandListener):
    """Filters of all reads of one collection."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def started(self, event: CommandStartedEvent) -> None:
        command = event.command
        if event.command_name == "find" and command["find"] == "outputs":
            self.asked.append(dict(command.get("filter", {})))
        if event.command_name == "update" and command["update"] == "outputs":
            self.asked += [dict(update["q"]) for update in command["updates"]]
        if event.command_name in ("aggregate", "count", "distinct") and command[event.command_name] == "outputs":
            self.asked.append(dict(command.get("query", {})))

    def succeeded(self, event: Any) -> None: ...

    def failed(self, event: Any) -> None: ...


def covered(asked: dict[str, Any]) -> bool:
    """Whether the filter names the leading fields of an index: the first, and the second of those that start with a campaign."""
    leading = [index[: 2 if index[0] == "output.campaign" else 1] for index in COMPOUND_INDEXES]
    return any(set(fields) <= set(asked) for fields in leading)


def everything(campaign: Campaign) -> dict[str, Any]:
    """Answers to all questions that a user may ask."""
    uuid = campaign.substructures(state="accepted")[0].uuid
    return {
        "state": campaign.state(),
        "segments": campaign.segments(),
        "screens": campaign.screens(round=3),
        "updates": campaign.updates(),
        "bootstrap": campaign.bootstrap(),
        "evaluation": campaign.evaluation(),
        "labels": campaign.labels(origin="bootstrap"),
        "by species": campaign.substructures(species="Cu"),
        "by uncertainty": campaign.substructures(uncertainty={"$gt": 20.0}),
        "by version": campaign.substructures(model_version=2),
        "by state": campaign.substructures(state="failed"),
        "by round": campaign.substructures(round={"$gte": 8}),
        "by time": campaign.substructures(completed_at={"$gte": "2000-01-01"}),
        "too late": campaign.substructures(completed_at={"$gte": "3000-01-01"}),
        "lineage": campaign.lineage(uuid),
        "costs": campaign.round_seconds(4),
    }


@pytest.fixture
def copied(cluster: Cluster, finished: Any) -> tuple[Campaign, Questions]:
    """The finished campaign's documents on the server, and what is asked of them."""
    questions = Questions()
    store = JobStore(
        MongoStore(cluster.database, "outputs", host=cluster.uri, mongoclient_kwargs={"event_listeners": [questions]})
    )
    campaign = Campaign(store, "tiny")
    ensure_indexes(store)
    documents = list(finished.campaign.store.query({}, load=True))
    store.docs_store.update(
        [{k: v for k, v in each.items() if k != "_id"} for each in documents], key=["uuid", "index"]
    )
    questions.asked.clear()
    yield campaign, questions
    store.close()


def test_answers_are_those_of_the_embedded_store(copied: tuple[Campaign, Questions], finished: Any) -> None:
    campaign, questions = copied
    mine, theirs = everything(campaign), everything(finished.campaign)
    for name, answer in theirs.items():
        assert mine[name] == answer, name
    assert len(mine["by time"]) == len(mine["by species"]) > 0
    assert not mine["too late"]
    pd.testing.assert_frame_equal(campaign.table(), finished.campaign.table())
    pd.testing.assert_frame_equal(campaign.log(), finished.campaign.log())
    for ours, local in zip(campaign.dataset(), finished.campaign.dataset(), strict=True):
        assert np.array_equal(ours.positions, local.positions)
        assert ours.info == local.info
    assert len(questions.asked) > 20
    assert not [asked for asked in questions.asked if not covered(asked)]


def test_every_question_of_a_running_campaign_has_an_index(cluster: Cluster, tmp_path: Path) -> None:
    questions = Questions()
    large = GridFSStore(cluster.database, "large", host=cluster.uri)  # as many a jobflow.yaml has it; no stage needs it
    store = JobStore(
        MongoStore(cluster.database, "outputs", host=cluster.uri, mongoclient_kwargs={"event_listeners": [questions]}),
        additional_stores={"data": large},
    )
    state = run_campaign(tiny.maker(tmp_path), to_stored(tiny.frame()), store, root_dir=tmp_path)
    assert state.status == "finished"
    assert len(questions.asked) > 100
    assert not [asked for asked in questions.asked if not covered(asked)]
    ensure_indexes(store)
    collection = mongo_collection(store.docs_store)
    assert collection is not None
    made = [tuple(name for name, _ in entry["key"]) for entry in collection.index_information().values()]
    assert set(COMPOUND_INDEXES) <= set(made)
    largest = max(len(bson.encode(document)) for document in collection.find({}))
    assert largest < 100_000
    assert large.count() == 0
    store.close()
