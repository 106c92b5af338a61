"""Several processes write one file; killed ones lose nothing they were told is stored."""

import random
import signal
import sqlite3
import subprocess
import sys

import pytest

from idealflow.storage import SQLiteStore

WRITER = """
import sys
from idealflow.storage import SQLiteStore
path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with SQLiteStore(path) as store:
    for i in range(count):
        store.update({"uuid": f"{name}-{i}", "index": 1, "output": {"round": i, "text": "x" * 2000}}, key=["uuid", "index"])
        print(i, flush=True)
"""


def writer(path, name, count):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name, str(count)], stdout=subprocess.PIPE, text=True
    )


def test_four_processes_lose_no_update(tmp_path):
    path = tmp_path / "s.sqlite"  # created by whichever process comes first
    processes = [writer(path, name, 300) for name in "abcd"]
    assert [process.communicate()[1] or process.returncode for process in processes] == [0] * 4
    with SQLiteStore(path) as store:
        assert store.count() == 1200
        assert sorted(store.distinct("output.round")) == list(range(300))


def test_same_key_from_four_processes_is_one_document(tmp_path):
    path = tmp_path / "s.sqlite"
    processes = [writer(path, "same", 50) for _ in range(4)]
    assert [process.communicate()[1] or process.returncode for process in processes] == [0] * 4
    with SQLiteStore(path) as store:
        assert store.count() == 50


def test_killed_writers_leave_every_acknowledged_document(tmp_path):
    path, rng = tmp_path / "s.sqlite", random.Random(1)  # noqa: S311 - documents to kill after
    acknowledged = set()
    for attempt in range(5):
        process = writer(path, f"k{attempt}", 100_000)
        lines = [process.stdout.readline() for _ in range(rng.randint(1, 60))]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.read().split("\n")
        process.wait()
        process.stdout.close()
        acknowledged |= {f"k{attempt}-{line.strip()}" for line in lines if line.strip()}
        with SQLiteStore(path) as store:
            stored = set(store.distinct("uuid"))
            assert acknowledged <= stored
            assert len(stored) == store.count()
            assert len(stored) <= len(acknowledged) + attempt + 1  # at most one each was stored and not yet told
    assert len(acknowledged) > 5
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_index_made_by_another_process_is_kept_by_this_one(tmp_path):
    with SQLiteStore(tmp_path / "s.sqlite") as ours, SQLiteStore(tmp_path / "s.sqlite") as theirs:
        ours.update({"uuid": "a", "extra": 1})
        assert theirs.ensure_index("extra", unique=True)
        ours.update({"uuid": "b", "extra": 2})
        assert theirs.query_one({"extra": 2})["uuid"] == "b"
        with pytest.raises(ValueError, match="unique"):
            ours.update({"uuid": "c", "extra": 2})
