"""What tests of campaigns share: one tiny finished campaign."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, settings

# the same examples everywhere, whatever the time they take; `pytest --hypothesis-profile default` looks for new ones
settings.register_profile("same", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("same")


class Finished(NamedTuple):
    """A finished campaign, the folder it lies in (laid out as `idealflow run` does), and every state it committed. Read only."""

    folder: Path
    state: object
    campaign: object
    states: list


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The tiny campaign, run once by the local driver."""
    from idealflow.workflow.folder.directory import CampaignDirectory
    from support import tiny

    folder, states = tmp_path_factory.mktemp("finished"), []
    state, campaign = tiny.run(folder, on_round=states.append)
    CampaignDirectory(folder).write_config({"structure": "frame", **tiny.settings()})
    return Finished(folder, state, campaign, states)


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Path]:
    """Write a config of the tiny campaign, with changes, into the test's folder; its path."""
    from support.program import write_config

    return partial(write_config, tmp_path)
