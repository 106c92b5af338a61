"""The live page over HTTP: what it shows, whom it answers, that it tells of new rounds, writes nothing, and ends when told to."""

from __future__ import annotations

import asyncio
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml
from jobflow import JobStore
from maggma.stores import MemoryStore

from idealflow import cli
from idealflow.provenance import Campaign, sample_campaign
from idealflow.report.live.campaigns import Watched
from idealflow.report.live.server import POLL_S, bound
from support.program import one_line
from support.stored import documents
from support.watching import commit_a_round, watching


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return sample_campaign(tmp_path / "sample").folder.path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_page_shows_what_the_store_has(folder: Path) -> None:
    before = contents(folder)
    docs = Campaign.open(folder).substructures()
    with watching(folder) as watch:
        assert watch.said.startswith("watching campaign tiny at http://127.0.0.1:")
        assert watch.get("campaigns") == [{"name": "tiny", "round": 8, "status": "finished"}]
        head = watch.get("head?campaign=tiny")
        assert head["status"] == "finished"
        assert {fact["name"]: fact["value"] for fact in head["head"]["blocks"][0]["items"]}["substructures"] == "5"
        assert watch.get("gallery?campaign=tiny")["uuid"] == [doc.uuid for doc in docs]
        assert watch.get("section?campaign=tiny&key=cost")["title"] == "Cost"
        one = watch.get(f"substructure?campaign=tiny&uuid={docs[1].uuid}")
        assert one["structure"]["numbers"] == docs[1].structure.numbers
        assert one["detail"]["blocks"][0]["title"] == "From the frame to the model"
        assert watch.status() == 200
        for wrong in (
            "head?campaign=other",
            "section?campaign=tiny&key=none",
            "section?campaign=tiny",
            "substructure?campaign=tiny&uuid=none",
            "nothing",
        ):
            assert watch.status(wrong) == 404, wrong
        assert watch.end() == (0, "")
    assert contents(folder) == before


def test_a_new_round_is_told(folder: Path) -> None:
    assert POLL_S <= 1.0, "a new round is to be on the page within two seconds"
    with watching(folder) as watch:
        events = watch.events()
        assert [stamp["round"] for stamp in next(events)] == [8]
        assert watch.get("gallery?campaign=tiny")["species"] == ["Cu"] * 5
        assert commit_a_round(folder) == 9
        assert [stamp["round"] for stamp in next(events)] == [9]
        assert watch.get("gallery?campaign=tiny")["species"] == ["Cu"] * 6
        assert watch.end(signal.SIGTERM) == (0, "")  # with a stream open


def test_only_this_machine_is_answered_and_only_questions(folder: Path) -> None:
    with watching(folder) as watch:
        assert watch.status(Host="elsewhere.example") == 400
        assert watch.status("campaigns", data=b"{}") == 405
    listening = bound(0)
    assert listening.getsockname()[0] == "127.0.0.1"
    listening.close()


async def asked(watched: Watched, name: str) -> dict[str, Any]:
    return (await watched.head(name))["head"]


@pytest.mark.parametrize("only", [None, "copper & co"])
def test_all_campaigns_of_a_store_are_on_one_page(only: str | None) -> None:
    store = JobStore(MemoryStore())
    store.connect()
    for name in ("tiny", "copper & co"):
        found = documents()
        for document in found:
            document["output"]["campaign"] = name
            document["uuid"] += name
        store.update(found, key=["uuid", "index"])
    watched = Watched.store(store, only=only)
    names = ["copper & co"] if only else ["copper & co", "tiny"]
    assert [stamp.name for stamp in asyncio.run(watched.stamps())] == names
    assert [asyncio.run(asked(watched, name))["title"] for name in names] == names
    watched.close()


def test_bad_requests_are_one_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["watch", str(tmp_path / "none")]) == 2
    assert "holds no campaign" in one_line(capsys)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert cli.main(["watch", str(folder), "--port", str(taken.getsockname()[1])]) == 2
    assert "choose another with --port" in one_line(capsys)
    assert cli.main(["watch", str(folder), "--port", "99999"]) == 2
    assert "choose another with --port" in one_line(capsys)
    (tmp_path / "store.yaml").write_text(yaml.safe_dump({"JOB_STORE": {"docs_store": {"type": "NoStore"}}}))
    assert cli.main(["watch", "--store", str(tmp_path / "store.yaml")]) == 2
    assert "describes no JobStore" in one_line(capsys)
    (tmp_path / "store.yaml").write_text(yaml.safe_dump({"docs_store": {"type": "MemoryStore"}}))
    assert cli.main(["watch", "tinny", "--store", str(tmp_path / "store.yaml")]) == 2
    assert "tinny is no folder with a campaign" in one_line(capsys)
    assert cli.main(["watch", "--store", str(tmp_path / "absent.yaml")]) == 2
    assert "cannot be read as YAML" in one_line(capsys)
