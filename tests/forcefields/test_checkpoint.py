import json

import pytest
import torch

from idealflow.errors import ArtifactError
from idealflow.forcefields import load_force_field
from idealflow.forcefields.local import LocalForceField
from idealflow.forcefields.toolkit import checkpoint


def test_the_same_force_field_gives_the_same_bytes(trained, tmp_path):
    first = trained.save(tmp_path / "a").read_bytes()
    assert trained.save(tmp_path / "other name").read_bytes() == first
    assert load_force_field(tmp_path / "a").save(tmp_path / "c").read_bytes() == first


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_refused(trained, tmp_path, kept):
    path = trained.save(tmp_path / "model")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(ArtifactError, match="model"):
        load_force_field(path)


def test_a_changed_byte_is_refused(trained, tmp_path):
    path = trained.save(tmp_path / "model")
    whole = bytearray(path.read_bytes())
    whole[-5000] ^= 1
    path.write_bytes(whole)
    with pytest.raises(ArtifactError, match="sha256"):
        load_force_field(path)


@pytest.mark.parametrize(("key", "value"), [("format", 99), ("force_field", "m3gnet")])
def test_another_format_or_architecture_is_refused(trained, tmp_path, key, value):
    path = trained.save(tmp_path / "model")
    line, _, body = path.read_bytes().partition(b"\n")
    path.write_bytes(json.dumps({**json.loads(line), key: value}).encode() + b"\n" + body)
    with pytest.raises(ArtifactError, match=str(value)):
        LocalForceField.load(path)


def test_a_write_that_fails_leaves_the_old_file_whole(trained, tmp_path, monkeypatch):
    path = trained.save(tmp_path / "model")
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        trained.save(path)
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["model"]


def test_the_body_needs_no_trust(trained, tmp_path):
    _, _, body = trained.save(tmp_path / "model").read_bytes().partition(b"\n")
    (tmp_path / "body").write_bytes(body)
    assert set(torch.load(tmp_path / "body", weights_only=True)) == {"model", "optimiser"}
