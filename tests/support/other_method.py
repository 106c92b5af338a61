"""A campaign labelled by EMT that goes on with another method: Lennard-Jones, which stands in for another kind of DFT."""

from __future__ import annotations

from typing import Any

from idealflow.schemas import CampaignState
from idealflow.storage import ArtifactStore
from idealflow.workflow.learner.ledger import Ledger
from support import tiny

LJ = {"sigma": 2.27, "epsilon": 0.167, "rc": 6.0}
NAME = "Lennard-Jones (stands in for DFT)"

#: hot enough that the second round has labels
HOT: dict[str, Any] = {
    "segment": {"schedule": tiny.schedule(0, 30)[1:]},
    "bootstrap": {"n_structures": 6},
    "evaluation": {"n_frames": 0},
}


def by_lennard_jones(other_method: str | None = None, **kwargs: float) -> dict[str, Any]:
    """Settings of the label stage; ``kwargs`` are other parameters of the potential, that is, another method again."""
    labeller = {"calculator": "ase.calculators.lj.LennardJones", "kwargs": LJ | kwargs, "reference": NAME}
    return {"labeller": labeller, "other_method": other_method}


def ledger_of(state: CampaignState) -> Ledger:
    """What a campaign has learned."""
    return Ledger.load(ArtifactStore(state.artifacts), state.learner.ledger)
