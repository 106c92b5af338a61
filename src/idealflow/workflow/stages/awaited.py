"""Labels that are computed elsewhere: no stage learns or compares while one that it needs is awaited."""

from __future__ import annotations

from collections.abc import Iterable

from idealflow.errors import LabelsAwaitedError
from idealflow.schemas import LabelledDoc

__all__ = ["refuse_awaited"]


def refuse_awaited(docs: Iterable[LabelledDoc]) -> None:
    """Refuse to go on while some of these labels are awaited.

    Raises
    ------
    LabelsAwaitedError
        With their number.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> doc = sample_campaign().labels(origin="bootstrap")[0]
    >>> refuse_awaited([doc])
    >>> refuse_awaited([doc, doc.model_copy(update={"state": "awaited"})])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    idealflow.errors.LabelsAwaitedError: 1 label is awaited from outside: ...
    """
    if count := sum(doc.state == "awaited" for doc in docs):
        raise LabelsAwaitedError(count)
