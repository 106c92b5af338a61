"""A small finished campaign that ships with the package, to try queries on and for the examples of the documentation."""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

from idealflow.provenance.campaign import Campaign

__all__ = ["sample_campaign"]

PACKED = Path(__file__).with_name("sample.tar.xz")


def sample_campaign(folder: str | Path | None = None) -> Campaign:
    """Open a small finished campaign: 107 copper atoms for 60 steps, with the EMT potential in place of DFT.

    It was made as `idealflow run` makes any campaign. Its documents are whole; of its files the last model, the
    trajectories and the comparison with the reference were kept.

    Parameters
    ----------
    folder
        Where to unpack it, so that it can also be looked at with `idealflow status FOLDER`; the folder must not exist.
        None: a new folder for temporary files.

    Returns
    -------
    Campaign
        The campaign, opened read-only; ``.folder.path`` is its folder.

    Raises
    ------
    FileExistsError
        If the folder exists.

    Examples
    --------
    >>> campaign = sample_campaign()
    >>> campaign.state().status
    'finished'
    """
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="idealflow-sample-"), "sample")
    Path(folder).mkdir(parents=True)
    with tarfile.open(PACKED) as packed:
        packed.extractall(folder, filter="data")
    return Campaign.open(folder)
