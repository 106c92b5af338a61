"""Files written beside their place and renamed: whole or not there, and nothing is lost when writing fails."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replacing"]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a name for a new file beside ``path``, which takes the name of ``path`` when the block ends well.

    The new file's name is hidden, new, and ends as ``path`` does; it is gone when the block raises. What stands at
    ``path`` is replaced in one step, or left as it is.
    """
    draft = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    try:
        yield draft
        with draft.open("rb") as written:
            os.fsync(written.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
