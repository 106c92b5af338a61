"""A bucket in place of the shared folder: s3fs against moto's server, which stands in for S3."""

import boto3
import pytest
from moto.server import ThreadedMotoServer

from idealflow.errors import ArtifactError
from idealflow.storage import ArtifactStore
from support import tiny


@pytest.fixture(scope="module")
def bucket():
    """URL of an empty bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "tests")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "tests")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        boto3.client("s3").create_bucket(Bucket="idealflow")
        boto3.client("s3").put_bucket_versioning(Bucket="idealflow", VersioningConfiguration={"Status": "Enabled"})
        yield "s3://idealflow"
    server.stop()


def writes(url):
    """How many times an object was written."""
    found = boto3.client("s3").list_object_versions(Bucket="idealflow", Prefix=url.removeprefix("s3://idealflow/"))
    return len(found.get("Versions", []))


def test_written_once_read_anywhere_damage_found_and_mended(bucket, tmp_path):
    url, content = f"{bucket}/artifacts", bytes(range(256)) * 40_000  # 10 MB: an upload in parts
    artifact = ArtifactStore(url, cache=tmp_path / "one").put_bytes(content, ".bin")
    assert writes(f"{url}/{artifact.path}") == 1
    elsewhere = ArtifactStore(url, cache=tmp_path / "two")
    assert elsewhere.get(artifact).read_bytes() == content
    assert elsewhere.put_bytes(content, ".bin") == artifact
    assert writes(f"{url}/{artifact.path}") == 1

    boto3.client("s3").put_object(Bucket="idealflow", Key=f"artifacts/{artifact.path}", Body=content[:-1])
    third = ArtifactStore(url, cache=tmp_path / "three")
    with pytest.raises(ArtifactError, match=rf"{artifact.path}.*expected 10240000 bytes, found 10239999"):
        third.get(artifact)
    assert third.put_bytes(content, ".bin") == artifact
    assert writes(f"{url}/{artifact.path}") == 3
    assert third.get(artifact).read_bytes() == content


def test_a_campaign_with_its_files_in_a_bucket_is_the_same_campaign(bucket, finished, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    state, campaign = tiny.run(tmp_path / "run", artifacts=f"{bucket}/tiny")
    assert state.status == "finished"
    for name in ("force_field", "uncertainty", "ledger"):
        assert getattr(state.learner, name) == getattr(finished.state.learner, name)
    assert [doc.uuid for doc in campaign.substructures()] == [doc.uuid for doc in finished.campaign.substructures()]
    assert len(campaign.dataset()) == len(finished.campaign.dataset())
    assert not (tmp_path / "run" / "artifacts").exists()
