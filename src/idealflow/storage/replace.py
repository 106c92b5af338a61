"""Files written beside their place and renamed: a reader finds the whole file or the former one, also when writing fails."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replacing", "replacing_folder"]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path of a draft beside ``path``, which takes its place when the block ends without an error.

    The draft's name is hidden, new, and ends as ``path`` does. When the block raises, the draft is removed and ``path`` is left
    as it is; else ``path`` is replaced in one step.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder, "result.txt")) as draft:
    ...         _ = draft.write_text("whole")
    ...     Path(folder, "result.txt").read_text()
    'whole'
    """
    draft = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    try:
        yield draft
        with draft.open("rb") as written:
            os.fsync(written.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside ``path``, which takes its place when the block ends without an error.

    What was at ``path`` is removed then, and not before. When the block raises, the new folder is removed.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing_folder(Path(folder, "data")) as draft:
    ...         _ = (draft / "result.txt").write_text("whole")
    ...     Path(folder, "data", "result.txt").read_text()
    'whole'
    """
    draft, former = (path.with_name(f".{uuid.uuid4().hex}") for _ in range(2))
    draft.mkdir()
    try:
        yield draft
        if path.exists():
            path.rename(former)
        draft.rename(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        if former.exists() and not path.exists():
            former.rename(path)
        shutil.rmtree(former, ignore_errors=True)
