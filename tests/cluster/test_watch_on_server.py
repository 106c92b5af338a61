"""The live page on a server that speaks MongoDB's protocol: several campaigns of one store, and their new rounds."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest
import yaml

from support.browser import find
from support.stored import documents
from support.watching import watching
from workbench.browser import browser
from workbench.cluster import drop

NAMES = ("copper & co", "tiny")


@pytest.fixture
def watched(server: str, tmp_path: Path) -> Iterator[tuple[Any, Path]]:
    """Two campaigns in one collection, and the file that names its store."""
    database = f"watched_{uuid.uuid4().hex[:12]}"
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(server)
    collection = client[database]["outputs"]
    for name in NAMES:
        found = documents()
        for document in found:
            document["output"]["campaign"] = name
            document["uuid"] += f"-{name}"
            if document["output"].get("kind") == "substructure":
                document["output"]["uuid"] = document["uuid"]
        collection.insert_many(found)
    store = {"type": "MongoStore", "host": server, "database": database, "collection_name": "outputs"}
    path = tmp_path / "store.yaml"
    path.write_text(yaml.safe_dump({"JOB_STORE": {"docs_store": store}}))
    yield collection, path
    client.close()
    drop(server, database)


def commit_a_round(collection: Any, name: str) -> int:
    """Store one more state of a campaign, as a worker elsewhere would; the round's number."""
    last = collection.find_one({"output.kind": "state", "output.campaign": name}, sort=[("output.round", -1)])
    new = copy.deepcopy(last)
    del new["_id"]
    new["output"]["round"] += 1
    new["uuid"] += f"-{new['output']['round']}"
    collection.insert_one(new)
    return int(new["output"]["round"])


def test_campaigns_of_one_server_are_on_one_page(watched: tuple[Any, Path]) -> None:
    collection, store = watched
    n_documents = collection.count_documents({})
    with watching("--store", store) as watch:
        assert [(one["name"], one["status"]) for one in watch.get("campaigns")] == [
            (name, "finished") for name in NAMES
        ]
        for name in ("copper%20%26%20co", "tiny"):
            facts = watch.get(f"head?campaign={name}")["head"]["blocks"][0]["items"]
            assert {fact["name"]: fact["value"] for fact in facts}["substructures"] == "5"
            uuids = watch.get(f"gallery?campaign={name}")["uuid"]
            one = watch.get(f"substructure?campaign={name}&uuid={uuids[0].replace('&', '%26').replace(' ', '%20')}")
            assert len(one["structure"]["numbers"]) == 78
        events = watch.events()
        before = {one["name"]: one["round"] for one in next(events)}
        number = commit_a_round(collection, "tiny")
        after = {one["name"]: one["round"] for one in next(events)}
        assert after == before | {"tiny": number}
        assert number == before["tiny"] + 1
        assert watch.end() == (0, "")
    assert collection.count_documents({}) == n_documents + 1  # what this test wrote, and nothing else


def test_a_new_round_comes_to_the_open_page(watched: tuple[Any, Path], tmp_path: Path) -> None:
    find()
    collection, store = watched
    with watching("--store", store) as watch, browser(tmp_path / "profile") as chromium:
        chromium.size(420)
        chromium.open(watch.address)
        chromium.wait("document.documentElement.dataset.ready")
        links = "[...document.querySelectorAll('#campaigns a')]"
        assert chromium.run(f"{links}.map(one => one.textContent)") == [f"{name} (finished, round 8)" for name in NAMES]
        chromium.click("#campaigns a:nth-child(2)")
        chromium.wait("document.querySelector('h1')?.textContent.startsWith('Campaign tiny')")
        number = commit_a_round(collection, "tiny")
        chromium.wait(f"document.documentElement.dataset.round === '{number}'")
        assert chromium.run(f"{links}[1].textContent") == f"tiny (finished, round {number})"
        assert chromium.run("document.documentElement.scrollWidth") == 420
        assert chromium.errors == []
