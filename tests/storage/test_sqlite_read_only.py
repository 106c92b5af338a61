"""A store opened to look at it: same answers, and not a byte or a file changed."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from idealflow.errors import ArtifactError, InputError
from idealflow.storage import SQLiteStore

DOCUMENTS = [{"uuid": str(i), "output": {"kind": "ab"[i % 2], "round": i}} for i in range(50)]


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file with its content and time."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    folder = tmp_path / "campaign"
    folder.mkdir()
    with SQLiteStore(folder / "s.sqlite") as store:
        store.update(DOCUMENTS)
    return folder / "s.sqlite"


def test_answers_are_those_of_a_store_that_writes_and_nothing_changes(written: Path) -> None:
    before = contents(written.parent)
    assert list(before) == ["s.sqlite"]
    with SQLiteStore(written, read_only=True) as store:
        assert list(store.query(sort={"output.round": -1}, limit=3)) == DOCUMENTS[:-4:-1]
        assert store.count({"output.kind": "a"}) == 25
        assert store.distinct("output.kind") == ["a", "b"]
        assert store.query_one({"missing": 1}) is None
        assert contents(written.parent) == before
    assert contents(written.parent) == before


def test_the_file_is_opened_so_that_sqlite_cannot_write(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, sqlite3.Connection]] = []
    connect = sqlite3.connect

    def recorded(name: Any, *args: Any, **kwargs: Any) -> sqlite3.Connection:
        opened.append((str(name), connect(name, *args, **kwargs)))
        return opened[-1][1]

    monkeypatch.setattr(sqlite3, "connect", recorded)
    with SQLiteStore(written, read_only=True) as store:
        store.count()
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            opened[-1][1].execute("CREATE TABLE t (x)")
    assert opened
    assert all("mode=ro" in name for name, _ in opened)


def test_writing_is_refused(written: Path) -> None:
    with SQLiteStore(written, read_only=True) as store:
        for write in (
            lambda: store.update({"uuid": "new"}),
            lambda: store.remove_docs({}),
            lambda: store.ensure_index("x"),
        ):
            with pytest.raises(InputError, match="opened read-only"):
                write()
        assert store.count() == 50


def test_a_missing_file_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no\.sqlite"):
        SQLiteStore(tmp_path / "no.sqlite", read_only=True).connect()
    assert list(tmp_path.iterdir()) == []


def test_a_collection_that_is_not_there_is_empty(written: Path) -> None:
    with SQLiteStore(written, "other", read_only=True) as store:
        assert (store.count(), list(store.query()), store.distinct("a")) == (0, [], [])


def test_what_a_writer_adds_and_ends_with_is_seen(written: Path) -> None:
    with SQLiteStore(written, read_only=True) as reader:
        assert reader.count() == 50
        with SQLiteStore(written) as writer:
            writer.update({"uuid": "new", "other": {"field": 1}})
            writer.ensure_index("other.field")
            assert reader.count() == 51
            assert reader.query_one({"other.field": 1})["uuid"] == "new"
        assert reader.count() == 51
        with SQLiteStore(written) as writer:
            writer.remove_docs({"uuid": "new"})
        assert reader.count() == 50


def test_the_log_that_a_killed_writer_left_is_read(written: Path, tmp_path: Path) -> None:
    """All that was acknowledged is shown."""
    left = tmp_path / "left"
    left.mkdir()
    with SQLiteStore(written) as writer:
        writer.update({"uuid": "acknowledged"})
        for name in ("s.sqlite", "s.sqlite-wal", "s.sqlite-shm"):
            shutil.copy(written.with_name(name), left)
    before = (left / "s.sqlite").read_bytes()
    with SQLiteStore(left / "s.sqlite", read_only=True) as reader:
        assert reader.count() == 51
    assert (left / "s.sqlite").read_bytes() == before


def as_nobody(look: Callable[[], object]) -> str:
    """What `look` returns or raises, as text, in a process that may write nowhere here even where tests run as root."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            told = str(look())
        except BaseException as error:  # noqa: BLE001 - whatever it is, the parent shows it
            told = f"{type(error).__name__}: {error}"
        os.write(writing, told.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        told = answer.read()
    os.waitpid(child, 0)
    return told


@pytest.mark.parametrize("log", [False, True], ids=["settled", "log waiting"])
def test_a_folder_that_may_not_be_written(written: Path, log: bool) -> None:
    with tempfile.TemporaryDirectory() as name:  # others may enter it, unlike pytest's own
        folder = Path(name)
        with SQLiteStore(written) as writer:
            writer.update({"uuid": "more"})
            shutil.copy(written, folder)
            if log:
                shutil.copy(written.with_name("s.sqlite-wal"), folder)
        if not log:
            shutil.copy(written, folder)
        for path in folder.iterdir():
            path.chmod(0o444)
        folder.chmod(0o555)
        before = contents(folder)

        def look() -> int:
            with SQLiteStore(folder / "s.sqlite", read_only=True) as store:
                return store.count()

        told = as_nobody(look)
        if log:
            assert "ArtifactError" in told
            assert "copy the folder to a place that you may write" in told
        else:
            assert told == "51"
        assert contents(folder) == before
        folder.chmod(0o755)
