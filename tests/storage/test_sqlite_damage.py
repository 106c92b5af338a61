"""Damaged, foreign, locked, full and read-only stores end in clear errors, and nothing is overwritten."""

import os
import sqlite3
import subprocess
import sys
import traceback

import pytest

from idealflow.errors import ArtifactError
from idealflow.storage import SQLiteStore


def filled(path, n=50):
    with SQLiteStore(path) as store:
        store.update([{"uuid": str(i), "text": "x" * 1000} for i in range(n)])
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes that are none"),
        (b"not a database" * 100, "expected a SQLite file"),
        (b"SQLite format 3\x00", "cut short or foreign"),
    ],
)
def test_foreign_file_is_refused_and_left_alone(tmp_path, content, message):
    path = tmp_path / "s.sqlite"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=message):
        SQLiteStore(path).connect()
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["s.sqlite"]  # noqa: PTH208


def test_database_of_another_program_is_refused(tmp_path):
    connection = sqlite3.connect(tmp_path / "s.sqlite")
    connection.execute("CREATE TABLE precious (a)")
    connection.close()
    with pytest.raises(ArtifactError, match="another program"):
        SQLiteStore(tmp_path / "s.sqlite").connect()


def test_truncated_file_is_refused_and_left_alone(tmp_path):
    path = filled(tmp_path / "s.sqlite")
    whole = path.read_bytes()
    for size in (len(whole) - 1, len(whole) // 2, 5000, 99):
        path.write_bytes(whole[:size])
        with pytest.raises(ArtifactError, match="cut short"):
            SQLiteStore(path).connect()
        assert path.read_bytes() == whole[:size]
    path.write_bytes(whole)
    with SQLiteStore(path) as store:
        assert store.count() == 50


def test_overwritten_pages_are_reported(tmp_path):
    path = filled(tmp_path / "s.sqlite")
    whole = bytearray(path.read_bytes())
    whole[4096:] = b"\xaa" * (len(whole) - 4096)
    path.write_bytes(whole)
    with pytest.raises(ArtifactError, match="damaged"), SQLiteStore(path) as store:
        list(store.query())


def test_locked_store_says_so(tmp_path):
    path = filled(tmp_path / "s.sqlite")
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with SQLiteStore(path, timeout_s=0.1) as store:
        assert store.count() == 50  # readers are not held up
        with pytest.raises(ArtifactError, match="raise `timeout_s`"):
            store.update({"uuid": "a"})
        holder.execute("ROLLBACK")
        store.update({"uuid": "a"})
    holder.close()


FULL_DISK = """
import resource, signal, sys
from idealflow.errors import ArtifactError
from idealflow.storage import SQLiteStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = SQLiteStore(sys.argv[1])
store.connect()
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
for i in range(10_000):
    try:
        store.update({"uuid": str(i), "text": "x" * 2000})
    except ArtifactError as error:
        print(i, store.count(), error)
        sys.exit(0)
"""


def test_full_disk_is_a_clear_error_and_keeps_what_was_stored(tmp_path):
    path = tmp_path / "s.sqlite"
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    stored, counted, message = done.stdout.split(maxsplit=2)
    assert int(stored) == int(counted) > 10
    assert "disk is full" in message
    with SQLiteStore(path) as store:
        assert store.count() == int(stored)


def as_nobody(check, folder):
    """Run `check` in a forked child that may not write everywhere, as root may."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if os.getuid() == 0:
                os.chdir(folder)  # the folders above may be closed to others
                os.setuid(65534)
            check()
            status = 0
        except BaseException:  # noqa: BLE001 - shown by pytest as the child's output
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1]


def test_read_only_folder_is_a_clear_error(tmp_path):
    filled(tmp_path / "s.sqlite")
    tmp_path.chmod(0o555)

    def existing():
        with pytest.raises(ArtifactError, match="may not be written"):
            SQLiteStore("s.sqlite").connect()

    def new():
        with pytest.raises(ArtifactError, match="may not be written"):
            SQLiteStore("new.sqlite").connect()

    assert as_nobody(existing, tmp_path) == 0
    assert as_nobody(new, tmp_path) == 0
    tmp_path.chmod(0o755)
    with SQLiteStore(tmp_path / "s.sqlite") as store:
        assert store.count() == 50


def test_a_damaged_document_is_reported(tmp_path):
    path = filled(tmp_path / "s.sqlite")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE c_docs SET doc = substr(doc, 1, 100) WHERE id = 20")
    connection.close()
    with (
        SQLiteStore(path) as store,
        pytest.raises(ArtifactError, match=r"s\.sqlite: a document in it is damaged .*put back a copy"),
    ):
        list(store.query({"text": {"$regex": "x"}}))
