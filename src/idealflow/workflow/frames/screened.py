"""What a screen found of every atom of a frame, as a file that goes from the segment to the screen."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from idealflow.core import ScreenedFrame
from idealflow.core.archive import read_archive, write_archive
from idealflow.schemas import Artifact
from idealflow.storage import ArtifactStore

__all__ = ["load_screened", "save_screened"]

_FILE_TYPE = "idealflow screened frame"
_VERSION = 1


def save_screened(store: ArtifactStore, screened: ScreenedFrame, threshold: float) -> Artifact:
    """Store uncertainties and triggering atoms of a frame, with the threshold by which they trigger.

    Examples
    --------
    >>> import numpy as np
    >>> store = ArtifactStore("artifacts")
    >>> seen = ScreenedFrame(np.array([0.5, 3.0]), np.array([False, True]), np.array([1]))
    >>> artifact = save_screened(store, seen, threshold=2.0)
    >>> again = load_screened(store, artifact, threshold=2.0)
    >>> again.values.tolist(), again.triggering.tolist()
    ([0.5, 3.0], [False, True])
    >>> load_screened(store, artifact, threshold=2.5) is None  # other atoms trigger then
    True
    """
    arrays = {"values": screened.values, "triggering": screened.triggering, "centres": screened.centres}
    with TemporaryDirectory() as folder:
        path = write_archive(Path(folder) / "screened.npz", _FILE_TYPE, _VERSION, arrays, {"threshold": threshold})
        return store.put_file(path, suffix=".npz")


def load_screened(store: ArtifactStore, artifact: Artifact, threshold: float) -> ScreenedFrame | None:
    """Read what :func:`save_screened` wrote; None if that was at another threshold.

    Raises
    ------
    ArtifactError
        If the file is missing, damaged or foreign.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> campaign = sample_campaign()
    >>> load_screened(campaign.artifacts, campaign.state().walkers[0].md_state, threshold=2.0)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    idealflow.errors.ArtifactError: ... expected 'idealflow screened frame' up to version 1
    """
    arrays, meta = read_archive(store.get(artifact), _FILE_TYPE, _VERSION)
    if meta["threshold"] != threshold:
        return None
    return ScreenedFrame(arrays["values"], arrays["triggering"], arrays["centres"])
