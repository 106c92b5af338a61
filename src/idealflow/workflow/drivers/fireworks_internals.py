"""The one private name of FireWorks that we need, for want of a public one; a test notices when it goes."""

from __future__ import annotations

from typing import Any

__all__ = ["refresh"]


def refresh(launchpad: Any, fw_id: int) -> None:
    """Update a workflow around one of its fireworks, as ``lpad admin refresh`` does: states, and children that may start now.

    Raises
    ------
    RuntimeError
        If the workflow cannot be mended; FireWorks says why.

    Examples
    --------
    >>> from unittest.mock import create_autospec
    >>> from fireworks import LaunchPad
    >>> refresh(create_autospec(LaunchPad), fw_id=1)  # a launchpad stands for a server
    """
    launchpad._refresh_wf(fw_id)
