"""No document of store or queue grows with the frame."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import bson
import pytest
from ase.build import bulk
from jobflow import Flow
from jobflow.managers.fireworks import flow_to_workflow

from idealflow.errors import InputError
from idealflow.schemas import CampaignState
from idealflow.workflow import IdealMaker
from idealflow.workflow.campaign.checks import check_campaign
from idealflow.workflow.campaign.state import next_action
from support import tiny

#: no document may be larger, in bytes; MongoDB refuses more than 16 MB
LARGE = 100_000


def queued(flow: Flow) -> int:
    """Bytes of the largest document that the flow makes in FireWorks' queue."""
    workflow = flow_to_workflow(flow)
    return max(len(bson.encode(part.to_db_dict())) for part in (workflow, *workflow.fws))


def largest(campaign: Any) -> dict[str, int]:
    """Bytes of the largest stored document of each kind."""
    sizes: dict[str, int] = defaultdict(int)
    for document in campaign.store.query({}, load=True):
        kind = (document["output"] or {}).get("kind") or document["name"].split()[0]
        sizes[kind] = max(sizes[kind], len(bson.encode(document)))
    return dict(sizes)


def queued_round(maker: IdealMaker, state: CampaignState) -> int:
    """Bytes of the largest document of a round's flow in the queue."""
    return queued(maker.flow(state, next_action(state), 1))


def test_the_opening_of_a_large_campaign_is_a_small_document(tmp_path: Path) -> None:
    maker = tiny.maker(tmp_path, continuation="launchpad", evaluation={"n_frames": 0})
    sizes = {n: queued(maker.make(bulk("Cu", "fcc", 3.62, cubic=True).repeat(n))) for n in (3, 30)}
    assert sizes[30] < sizes[3] + 100
    assert sizes[30] < LARGE


def test_documents_of_a_round_are_as_large_for_a_large_frame_as_for_a_small_one(finished: Any, tmp_path: Path) -> None:
    atoms = bulk("Cu", "fcc", 3.62, cubic=True).repeat(10)
    del atoms[5]
    hot = [{"kind": "hold", "temperature": 2000, "steps": 5}]
    state, campaign = tiny.run(
        tmp_path, atoms=atoms, max_rounds=4, segment={"schedule": hot}, evaluation={"n_frames": 0}, threshold=3.0
    )
    assert campaign.substructures(state="accepted")
    small, large = largest(finished.campaign), largest(campaign)
    assert {"segment", "screen", "crop", "relaxation", "substructure", "update", "state"} <= set(large)
    for kind, size in large.items():
        # 37 times the atoms; crops differ by a few atoms
        assert size < 1.3 * small[kind] + 500, (kind, size, small[kind])
    assert max(large.values()) < LARGE
    maker = tiny.maker(tmp_path, segment={"schedule": hot}, continuation="launchpad")
    running = state.model_copy(update={"status": "running"})
    before = next(each for each in finished.states if each.round == 3)
    assert (
        queued_round(maker, running) < queued_round(tiny.maker(finished.folder, continuation="launchpad"), before) + 500
    )


@pytest.mark.parametrize("changes", [{"embedding": "frame", "evaluation": {"n_frames": 0}}, {}])
def test_frames_too_large_for_one_label_document_are_refused_whole(tmp_path: Path, changes: dict[str, Any]) -> None:
    atoms = bulk("Cu", "fcc", 3.62, cubic=True).repeat(18)
    with pytest.raises(InputError, match=r"at most 20000 atoms .* got 23328; set evaluation.n_frames to 0"):
        check_campaign(tiny.maker(tmp_path, **changes), atoms)
    check_campaign(tiny.maker(tmp_path, evaluation={"n_frames": 0}), atoms)
