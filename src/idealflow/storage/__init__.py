"""Where a campaign keeps things: documents in one SQLite file, large files named by their hash."""

from idealflow.storage.artifacts import ArtifactStore
from idealflow.storage.replace import replacing
from idealflow.storage.shards import is_shard_key, read_shard, read_shard_keys, shard_keys, write_shard
from idealflow.storage.sqlite_store import DuplicateDocumentError, SQLiteStore

__all__ = [
    "ArtifactStore",
    "DuplicateDocumentError",
    "SQLiteStore",
    "is_shard_key",
    "read_shard",
    "read_shard_keys",
    "replacing",
    "shard_keys",
    "write_shard",
]
