"""jobflow runs on the SQLite store as on maggma's MemoryStore."""

import re

import pytest
from jobflow import Flow, JobStore, Response, job, run_locally
from maggma.stores import MemoryStore

from idealflow.storage import SQLiteStore

pytestmark = pytest.mark.filterwarnings("ignore:cd is deprecated:FutureWarning")


@job(data="blob")
def add(a, b):
    return {"sum": a + b, "blob": list(range(a))}


@job
def fan_out(n):
    jobs = [add(i, n) for i in range(n)]
    return Response(replace=Flow(jobs, [j.output["sum"] for j in jobs]))


@job
def with_detour(total):
    return Response(output=sum(total), detour=add(1, 2))


@job
def finish(a, b):
    return {"kind": "end", "value": a + b["sum"], "blob": b["blob"]}


def run(store, folder):
    first = fan_out(3)
    second = with_detour(first.output)
    third = add(second.output, 1)
    last = finish(second.output, third.output)
    flow = Flow([first, second, third, last])
    responses = run_locally(flow, store=store, log=False, ensure_success=True, root_dir=folder)
    uuids = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
    documents = sorted(uuids.sub("uuid", str((d["name"], d["index"], d["output"]))) for d in store.query(load=True))
    outputs = [store.get_output(j.uuid, load=True) for j in (first, second, third, last)]
    return len(responses), documents, outputs


def test_dynamic_flow_equals_memory_store(tmp_path):
    path = tmp_path / "s.sqlite"
    ours = JobStore(SQLiteStore(path), additional_stores={"data": SQLiteStore(path, "blobs")})
    theirs = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    found, expected = run(ours, tmp_path), run(theirs, tmp_path)
    assert found == expected
    assert found[2][-1]["value"] == found[2][1] + found[2][1] + 1
    assert ours.docs_store.count() == len(found[1])
    copy = JobStore.from_dict(ours.as_dict())  # as FireWorks sends it to a rocket
    copy.connect()
    assert copy.query_one({"output.kind": "end"}, load=True)["output"]["blob"] == found[2][-1]["blob"]
    copy.remove_docs({"output.kind": "end"})
    assert copy.query_one({"output.kind": "end"}) is None
    copy.close()
    ours.close()
