"""The SQLite store answers as maggma's MemoryStore does."""

import datetime as dt
import gc
import os
import pickle
import sqlite3
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import bson
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from maggma.core import StoreError
from maggma.stores import MemoryStore
from pymongo.errors import DuplicateKeyError, PyMongoError

from idealflow.errors import InputError
from idealflow.storage import SQLiteStore
from idealflow.storage.connections import Connections

FIELDS = ["a", "b", "b.c", "n.x", "missing"]  # n.x and missing are not indexed
DATES = st.datetimes(dt.datetime(2000, 1, 1), dt.datetime(2030, 1, 1)).map(  # noqa: DTZ001 - BSON's dates are naive
    lambda d: d.replace(microsecond=d.microsecond // 1000 * 1000)
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**53, 2**53 + 1, -(2**53) - 1, 2**62, 0.5, -0.0, float("inf"), -float("inf")]),
    st.floats(-2, 2, allow_nan=False),
    st.text("aAbé", max_size=3),
    st.binary(max_size=2),
    DATES,
)
NAN = st.one_of(SCALARS, st.just(float("nan")))
VALUES = st.one_of(
    NAN,
    st.none(),
    st.lists(SCALARS, max_size=2),
    st.fixed_dictionaries({"c": SCALARS}),
    st.lists(st.fixed_dictionaries({"c": SCALARS})),
)
DOCUMENTS = st.fixed_dictionaries(
    {"uuid": st.sampled_from("pqrst"), "index": st.integers(1, 2)},
    optional={"a": VALUES, "b": VALUES, "n": st.fixed_dictionaries({"x": NAN})},
)
CONDITIONS = st.one_of(
    NAN,
    st.fixed_dictionaries({"$in": st.lists(SCALARS, max_size=3)}),
    *(st.fixed_dictionaries({name: SCALARS}) for name in ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte")),
    st.fixed_dictionaries({"$gte": st.integers(-2, 0), "$lt": st.integers(0, 2)}),
    st.fixed_dictionaries({"$exists": st.booleans()}),
    st.fixed_dictionaries({"$regex": st.sampled_from(["a", "^A", "b$"])}),
    st.just({"c": 1}),
)
PLAIN = st.dictionaries(st.sampled_from(FIELDS), CONDITIONS, max_size=2)
CRITERIA = st.one_of(
    PLAIN,
    *(st.fixed_dictionaries({name: st.lists(PLAIN, min_size=1, max_size=2)}) for name in ("$or", "$and", "$nor")),
    st.tuples(PLAIN, st.lists(PLAIN, min_size=1, max_size=2)).map(lambda t: {**t[0], "$or": t[1]}),
)


def canonical(documents: list[dict]) -> list[bytes]:
    return [bson.encode({k: v for k, v in d.items() if k != "_id"}) for d in documents]


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def both(folder: Path, documents: list[dict]) -> tuple[SQLiteStore, MemoryStore]:
    name = folder / f"{uuid.uuid4()}.sqlite"
    store = SQLiteStore(name, index_fields=("a", "b", "b.c"), synchronous="NORMAL")
    oracle = MemoryStore(key="uuid")
    for one in (store, oracle):
        one.connect()
        for document in documents:
            one.update(document, key=["uuid", "index"])
    return store, oracle


@settings(max_examples=150, deadline=None)
@given(st.lists(DOCUMENTS, max_size=8), CRITERIA, st.data())
def test_queries_agree_with_memory_store(folder, documents, criteria, data):
    store, oracle = both(folder, documents)
    order = data.draw(st.dictionaries(st.sampled_from(FIELDS), st.sampled_from([1, -1]), max_size=2), "sort")
    sorts_nan = any(
        isinstance(v, float) and np.isnan(v) for d in documents for v in _scalars(d)
    )  # Python cannot sort NaN
    assume(not (order and sorts_nan))
    skip, limit = data.draw(st.integers(0, 2), "skip"), data.draw(st.integers(0, 3), "limit")
    properties = data.draw(
        st.sampled_from([None, ["a"], ["uuid", "n.x"], {"a": 0, "_id": 0}, {"n.x": 0}]), "properties"
    )
    try:
        expected = list(oracle.query(criteria, properties, sort=order or None, skip=skip, limit=limit))
    except (TypeError, NotImplementedError):
        assume(False)
    with store:
        assert canonical(store.query(criteria, properties, sort=order, skip=skip, limit=limit)) == canonical(expected)
        assert store.count(criteria) == oracle.count(criteria)
        found = store.distinct("a", criteria)
        assert {bson.encode({"v": v}) for v in map(_as_number, found)} >= {
            bson.encode({"v": v})
            for v in map(_as_number, oracle.distinct("a", criteria))
            if not isinstance(v, bool | int | float)
        }
        store.remove_docs(criteria)
        oracle.remove_docs(criteria)
        assert canonical(store.query()) == canonical(oracle.query())


def _scalars(value):
    if isinstance(value, dict):
        return [s for item in value.values() for s in _scalars(item)]
    return [s for item in value for s in _scalars(item)] if isinstance(value, list) else [value]


def _as_number(value):
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


@settings(max_examples=40, deadline=None)
@given(st.lists(DOCUMENTS, max_size=8))
def test_index_made_later_changes_nothing(folder, documents):
    store, oracle = both(folder, documents)
    with store:
        assert store.ensure_index("n.x")
        for value in (None, 0, 1.5, "a", float("nan")):
            assert canonical(store.query({"n.x": value})) == canonical(oracle.query({"n.x": value}))
            assert canonical(store.query({"n.x": {"$gte": value}})) == canonical(oracle.query({"n.x": {"$gte": value}}))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=10))
def test_groupby_agrees_with_memory_store(folder, values):
    documents = [{"uuid": str(i), "index": 1, "a": v, "n": {"x": v % 2}} for i, v in enumerate(values)]
    store, oracle = both(folder, documents)
    with store:
        for keys in ("a", ["n.x", "a"]):
            found = [(k, canonical(g)) for k, g in store.groupby(keys, properties=["uuid"])]
            assert found == [(k, canonical(g)) for k, g in oracle.groupby(keys, properties=["uuid"])]


@pytest.fixture
def store(tmp_path):
    with SQLiteStore(tmp_path / "s.sqlite") as one:
        yield one


def test_nan_sorts_before_all_numbers_as_in_mongodb(store):
    for i, value in enumerate([1.0, float("nan"), -float("inf"), 0]):
        store.update({"uuid": str(i), "output": {"round": value, "other": value}})
    for field in ("output.round", "output.other"):  # by SQLite, and by Python
        assert [d["uuid"] for d in store.query(sort={field: 1})] == ["1", "2", "3", "0"]
    assert store.count({"output.round": {"$lt": 5}}) == 3


def test_values_come_back_as_from_mongodb(store):
    moment = dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC)
    store.update({
        "uuid": "u", "array": np.arange(3.0), "single": np.float32(0.1), "nan": float("nan"), "inf": -float("inf"),
        "bytes": b"\x00\xff", "when": moment, "tuple": (1, 2), "long": 2**60, "exact": 0.1 + 0.2, "true": np.bool_(True),
    })  # fmt: skip
    back = store.query_one({"uuid": "u"})
    assert back["array"] == [0.0, 1.0, 2.0]
    assert back["single"] == float(np.float32(0.1))
    assert np.isnan(back["nan"])
    assert back["inf"] == -float("inf")
    assert back["bytes"] == b"\x00\xff"
    assert back["when"] == dt.datetime(2026, 1, 2, 3, 4, 5, 678000)  # noqa: DTZ001 - BSON's dates are naive
    assert back["tuple"] == [1, 2]
    assert back["long"] == 2**60
    assert back["exact"] == 0.1 + 0.2
    assert back["true"] is True


def test_update_replaces_by_key_and_keeps_order(store):
    store.update([{"uuid": "a", "index": 1, "v": 1}, {"uuid": "b", "index": 1, "v": 2}], key=["uuid", "index"])
    store.update({"uuid": "a", "index": 2, "v": 3}, key=["uuid", "index"])
    store.update({"uuid": "a", "index": 1, "w": 4}, key=["uuid", "index"])
    assert list(store.query()) == [
        {"uuid": "a", "index": 1, "w": 4},
        {"uuid": "b", "index": 1, "v": 2},
        {"uuid": "a", "index": 2, "v": 3},
    ]


def test_update_is_all_or_nothing(store):
    with pytest.raises(InputError, match="key field"):
        store.update([{"uuid": "a"}, {"no": "key"}])
    with pytest.raises(InputError, match="8-byte"):
        store.update([{"uuid": "a"}, {"uuid": "b", "v": 2**70}])
    assert store.count() == 0


def test_unique_index_refuses_a_second_document(store):
    assert store.ensure_index("output.request_key", unique=True, sparse=True)
    store.update([{"uuid": "1", "output": {"request_key": "k"}}, {"uuid": "2"}, {"uuid": "3"}])
    with pytest.raises(DuplicateKeyError, match="request_key"):
        store.update([{"uuid": "4"}, {"uuid": "5", "output": {"request_key": "k"}}])
    assert store.count() == 3
    store.update({"uuid": "1", "output": {"request_key": "k", "again": True}})  # the same document may be replaced
    assert not store.ensure_index("missing", unique=True)  # three documents lack it: null three times
    store.update({"uuid": "6", "output": {"round": 1}})
    assert store.ensure_index("output.request_key", unique=True, sparse=True)


def test_unknown_operator_is_refused_on_an_empty_store(store):
    with pytest.raises(PyMongoError, match="unknown"):
        list(store.query({"$nonsense": 1}))


def test_wrong_arguments_name_the_rule(store, tmp_path):
    store.update({"uuid": "a"})
    with pytest.raises(InputError, match="keep or drop"):
        list(store.query(properties={"a": 1, "b": 0}))
    with pytest.raises(InputError, match="sort direction"):
        list(store.query(sort={"a": 2}))
    with pytest.raises(InputError, match="is a folder"):
        SQLiteStore(tmp_path).connect()
    with pytest.raises(InputError, match="FULL or NORMAL"):
        SQLiteStore(tmp_path / "x", synchronous="OFF")


def test_writing_while_reading(store):
    store.update([{"uuid": str(i), "output": {"round": 0}} for i in range(500)])
    for document in store.query({"output.round": 0}, sort={"output.round": 1}):
        store.update({"uuid": document["uuid"], "output": {"round": 1}})
    assert store.count({"output.round": 1}) == 500


def test_limited_sorted_query_of_many_matches(store):
    rounds = np.random.default_rng(0).integers(0, 300, 1200).tolist()
    store.update([{"uuid": str(i), "output": {"kind": "ab"[i % 2], "round": n}} for i, n in enumerate(rounds)])
    expected = sorted((i for i in range(1200) if i % 2 == 0), key=lambda i: (-rounds[i], i))
    found = store.query({"output.kind": "a"}, sort={"output.round": -1}, skip=3, limit=250)
    assert [int(d["uuid"]) for d in found] == expected[3:253]
    assert [int(d["uuid"]) for d in store.query({"output.kind": "a"}, sort={"output.round": -1})] == expected


def test_work_for_a_query_follows_its_answer_not_the_documents_that_share_a_field(tmp_path):
    steps = {}
    for n in (500, 20_000):
        store = SQLiteStore(tmp_path / f"{n}.sqlite", index_fields=["kind", "campaign", "u"])
        with connections() as opened, store:
            store.update([{"uuid": str(i), "kind": "k", "campaign": "c", "u": float(i)} for i in range(n)])
            asked = []
            opened[-1].set_progress_handler(lambda asked=asked: asked.append(1), 100)
            found = list(store.query({"kind": "k", "campaign": "c", "u": {"$gte": n - 10.0}}))
            assert [document["u"] for document in found] == [n - 10.0 + i for i in range(10)]
            steps[n] = len(asked)
    # SQLite's instructions in hundreds; through one of the shared fields there were 40 times as many
    assert steps[20_000] < 6 * max(1, steps[500])


@contextmanager
def connections() -> Iterator[list[sqlite3.Connection]]:
    """Connections that are opened meanwhile."""
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", lambda *args, **kwargs: opened.append(connect(*args, **kwargs)) or opened[-1])
        yield opened


@settings(max_examples=30, deadline=None)
@given(st.permutations(["few", "some", "many"]), st.integers(1, 70), st.integers(64, 200))
def test_a_query_goes_through_an_index_that_was_counted(folder, names, few, some):
    counts = {"few": few, "some": some, "many": 300}
    store = SQLiteStore(folder / f"{uuid.uuid4()}.sqlite", index_fields=sorted(counts), synchronous="NORMAL")
    with connections() as opened, store:
        # 1 in that many documents, 0 in the others
        store.update([{"uuid": str(i), **{name: int(i < n) for name, n in counts.items()}} for i in range(300)])
        said: list[str] = []
        opened[-1].set_trace_callback(said.append)
        list(store.query(dict.fromkeys(names, 1)))
        opened[-1].set_trace_callback(None)
        (sql,) = [line for line in said if line.startswith("SELECT id, NOT")]
        # the planner is kept from every index but one by a plus before the column
        (chosen,) = [n for name, n in counts.items() if f'+"k_{name}"' not in sql]
        assert chosen == min(counts.values()) or chosen < 64


def decoded(monkeypatch, store, **query) -> tuple[list[dict], int]:
    """Documents found, and how many were decoded for it."""
    seen, decode = [], bson.decode
    with monkeypatch.context() as patch:
        patch.setattr("idealflow.storage.mongo.bson.decode", lambda blob: seen.append(1) or decode(blob))
        found = list(store.query(**query))
    # the criteria are decoded once themselves
    return found, len(seen) - 1


def test_a_document_without_output_costs_a_sorted_query_nothing(store, monkeypatch):
    store.update([{"uuid": str(i), "output": {"kind": "state", "round": i}} for i in range(300)])
    store.update([{"uuid": "null", "output": None}, {"uuid": "text", "output": "done"}])
    ask = {"criteria": {"output.kind": "state"}, "sort": {"output.round": -1}, "limit": 1}
    found, n = decoded(monkeypatch, store, **ask)
    assert (found[0]["uuid"], n) == ("299", 1)


def test_what_earlier_rules_left_undecided_is_keyed_anew_when_the_file_is_opened(store, monkeypatch):
    store.update([{"uuid": str(i), "output": {"round": i}} for i in range(300)])
    store.update([{"uuid": "null", "output": None}, {"uuid": "list", "output": {"round": [1, 2]}}])
    before = list(store.query(sort={"output.round": 1}))
    with closing(sqlite3.connect(store.path)) as connection, connection:  # as a file of an earlier version is
        connection.execute('UPDATE "c_docs" SET "k_output.round" = ? WHERE doc = ?', (b"\xff", bson.encode(before[0])))
        connection.execute("DROP TABLE keyed")
    store.connect(force_reset=True)
    assert list(store.query(sort={"output.round": 1})) == before
    store.remove_docs({"uuid": "list"})
    found, n = decoded(monkeypatch, store, sort={"output.round": -1}, limit=1)
    assert (found[0]["uuid"], n) == ("299", 1)


def test_copies_by_mson_and_pickle_are_equal(store):
    store.update({"uuid": "a"})
    for copy in (SQLiteStore.from_dict(store.as_dict()), pickle.loads(pickle.dumps(store))):  # noqa: S301
        assert copy == store
        assert hash(copy) == hash(store)
        with pytest.raises(StoreError, match="connect"):
            copy.count()
        with copy:
            assert copy.count() == 1
    assert store != SQLiteStore(store.path, "other")


def test_collections_share_a_file(store):
    with SQLiteStore(store.path, "Docs") as other:  # SQLite ignores case in names of tables: so must we not
        store.update({"uuid": "a"})
        other.update({"uuid": "b"})
        assert (store.count(), other.count()) == (1, 1)


def test_newer_in_and_last_updated(store):
    with SQLiteStore(store.path, "target") as target:
        for one, day in ((store, 1), (target, 2)):
            one.update({"uuid": "a", "last_updated": dt.datetime(2026, 1, day, tzinfo=dt.UTC)})
        assert store.newer_in(target) == ["a"]
        assert target.newer_in(store) == []
        assert store.newer_in(target, exhaustive=True) == ["a"]


def test_threads_share_a_store(store):
    def write(name):
        for i in range(20):
            store.update({"uuid": f"{name}-{i}"})

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.count() == 80


def test_connections_that_nobody_closed_are_closed(tmp_path):
    connections = Connections(lambda: sqlite3.connect(tmp_path / "file.sqlite", check_same_thread=False))
    connection = connections.get()
    connection.execute("SELECT 1")
    del connections
    gc.collect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        connection.execute("SELECT 1")


def test_forked_child_uses_its_own_connection(store):
    store.update({"uuid": "parent"})
    child = os.fork()
    if child == 0:
        try:
            store.update({"uuid": "child"})
            store.close()
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    store.update({"uuid": "parent again"})
    assert store.count() == 3
