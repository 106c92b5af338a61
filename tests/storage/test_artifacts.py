"""Artifacts are whole or absent, named by their content, and damage is found."""

import errno
import hashlib
import os
import pickle
import subprocess
import sys
import uuid

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idealflow.errors import ArtifactError, InputError
from idealflow.schemas import Artifact
from idealflow.storage import ArtifactStore

CONTENT = b"weights" * 1000


@pytest.fixture(params=["path", "file", "memory"])
def store(request, tmp_path):
    if request.param == "memory":
        return ArtifactStore(f"memory://{uuid.uuid4()}", cache=tmp_path / "cache")
    return ArtifactStore(tmp_path / "art" if request.param == "path" else f"file://{tmp_path}/art")


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@settings(max_examples=20, deadline=None)
@given(data=st.binary(max_size=100), suffix=st.sampled_from(["", ".pt", ".tar.gz"]))
def test_round_trip(tmp_path_factory, data, suffix):
    store = ArtifactStore(tmp_path_factory.mktemp("art"))
    artifact = store.put_bytes(data, suffix)
    name = hashlib.sha256(data).hexdigest()
    assert artifact == Artifact(path=f"{name[:2]}/{name}{suffix}", sha256=name, size=len(data))
    assert store.get(artifact).read_bytes() == data


def test_file_round_trip_writes_once(store, tmp_path):
    source = tmp_path / "source.bin"
    source.write_bytes(CONTENT)
    artifact = store.put_file(source, ".bin")
    first = store.get(artifact)
    stamp = first.stat().st_mtime_ns
    assert store.put_bytes(CONTENT, ".bin") == artifact
    assert store.get(artifact).stat().st_mtime_ns == stamp
    assert first.read_bytes() == CONTENT
    with store.open(artifact) as file:
        assert file.read() == CONTENT
    assert store.exists(artifact)
    assert source.exists()
    copy = pickle.loads(pickle.dumps(store))  # noqa: S301
    assert copy == store
    assert copy.exists(artifact)


def test_missing_is_an_error(store):
    name = hashlib.sha256(b"never stored").hexdigest()
    artifact = Artifact(path=f"{name[:2]}/{name}", sha256=name, size=12)
    assert not store.exists(artifact)
    with pytest.raises(ArtifactError, match="missing, expected 12 bytes"):
        store.get(artifact)


@pytest.mark.parametrize("damage", ["truncated", "altered", "grown"])
def test_damage_is_found_named_and_healed_by_the_same_content(tmp_path, damage):
    store = ArtifactStore(tmp_path / "art")
    artifact = store.put_bytes(CONTENT)
    path = store.get(artifact)
    broken = {"truncated": CONTENT[:-1], "altered": b"W" + CONTENT[1:], "grown": CONTENT + b"x"}[damage]
    path.write_bytes(broken)
    with pytest.raises(ArtifactError) as caught:
        store.get(artifact)
    assert str(path) in str(caught.value)
    expected, found = {
        "truncated": ("7000 bytes", "6999"),
        "altered": (artifact.sha256, hashlib.sha256(broken).hexdigest()),
        "grown": ("7000 bytes", "7001"),
    }[damage]
    assert f"expected {expected}" in str(caught.value) or f"expected SHA-256 {expected}" in str(caught.value)
    assert f"found {found}" in str(caught.value)
    assert path.read_bytes() == broken  # reading repairs nothing
    assert store.put_bytes(CONTENT) == artifact
    assert store.get(artifact).read_bytes() == CONTENT


def test_damage_of_the_remote_and_of_its_local_copy(tmp_path):
    store = ArtifactStore(f"memory://{uuid.uuid4()}", cache=tmp_path / "one")
    artifact = store.put_bytes(CONTENT)
    store.get(artifact).write_bytes(b"broken cache")
    assert store.get(artifact).read_bytes() == CONTENT  # fetched again
    elsewhere = ArtifactStore(store.url, cache=tmp_path / "two")
    remote, root = fsspec.core.url_to_fs(store.url)
    (path,) = [path for path in remote.find(root) if artifact.sha256 in path]
    remote.pipe_file(path, CONTENT[:10])
    with pytest.raises(ArtifactError, match=r"memory://.*expected 7000 bytes, found 10"):
        elsewhere.get(artifact)
    assert files(tmp_path / "two") == []


def test_path_must_belong_to_the_hash(tmp_path):
    store = ArtifactStore(tmp_path)
    good = store.put_bytes(b"a")
    for path in ("../secret", good.path + "/../x", "aa/" + good.sha256, good.path + "x"):
        with pytest.raises(ArtifactError, match="does not belong"):
            store.get(Artifact(path=path, sha256=good.sha256, size=1))


def test_wrong_arguments_name_the_rule(tmp_path):
    with pytest.raises(InputError, match="suffix must look like"):
        ArtifactStore(tmp_path).put_bytes(b"", "../x")
    with pytest.raises(ArtifactError, match=r"cannot read .*absent"):
        ArtifactStore(tmp_path).put_file(tmp_path / "absent")
    with pytest.raises(InputError, match="nonsense"):
        ArtifactStore("nonsense://bucket")


def test_full_disk_leaves_no_file(tmp_path, monkeypatch):
    store = ArtifactStore(tmp_path)

    def no_space(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(ArtifactError, match="No space left on device"):
        store.put_bytes(CONTENT)
    assert files(tmp_path) == []


LIMITED = """
import resource, signal, sys
from idealflow.errors import ArtifactError
from idealflow.storage import ArtifactStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    ArtifactStore(sys.argv[1]).put_bytes(b"x" * 1_000_000)
except ArtifactError as error:
    print(error)
"""

ENDLESS = """
import os, sys
from idealflow.storage import ArtifactStore
store = ArtifactStore(sys.argv[1])
i = 0
while True:
    artifact = store.put_bytes(os.urandom(3_000_000), ".bin")
    print(artifact.path, flush=True)
"""


def test_file_too_large_leaves_no_file(tmp_path):
    done = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert "File too large" in done.stdout
    assert files(tmp_path) == []


def test_killed_writer_leaves_only_whole_artifacts(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ENDLESS, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    first = process.stdout.readline().strip()
    process.stdout.readline()
    process.kill()
    process.wait()
    process.stdout.close()
    whole = [name for name in files(tmp_path) if not name.startswith(".")]
    assert first in whole
    for name in whole:
        data = (tmp_path / name).read_bytes()
        assert len(data) == 3_000_000
        assert hashlib.sha256(data).hexdigest() in name
