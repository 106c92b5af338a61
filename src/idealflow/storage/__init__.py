"""Where a campaign keeps things: documents in one SQLite file, large files named by their hash.

:class:`Table` reads and writes the documents; :class:`SQLiteStore` is a table as a maggma store, which jobflow writes to, and is
imported when it is first used: maggma takes a second.
"""

from typing import TYPE_CHECKING

from idealflow.late_imports import late
from idealflow.storage.artifacts import ArtifactStore
from idealflow.storage.replace import replacing, replacing_folder
from idealflow.storage.shards import is_shard_key, read_shard, read_shard_keys, shard_keys, write_shard
from idealflow.storage.table import Table

if TYPE_CHECKING:
    from idealflow.storage.sqlite_store import DuplicateDocumentError, SQLiteStore

__all__ = [
    "ArtifactStore",
    "DuplicateDocumentError",
    "SQLiteStore",
    "Table",
    "is_shard_key",
    "read_shard",
    "read_shard_keys",
    "replacing",
    "replacing_folder",
    "shard_keys",
    "write_shard",
]

__getattr__, __dir__ = late(__name__, {"sqlite_store": "DuplicateDocumentError SQLiteStore"})
