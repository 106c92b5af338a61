"""What `stage` does for every stage: arguments as annotated, earlier output, stamp, response."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from jobflow import JobStore, Maker, Response
from jobflow.managers.local import run_locally
from maggma.stores import MemoryStore
from monty.json import MontyEncoder
from pydantic import ValidationError

from idealflow.core.dynamics import Schedule
from idealflow.errors import CampaignError
from idealflow.schemas import CentreDoc, RelaxationDoc, ScreenDoc, StageContext, StoredStructure
from idealflow.workflow.jobs.decode import decoded, document_of
from idealflow.workflow.jobs.stage import stage, stamp

CENTRE = {"atom": 3, "species": "Cu", "uncertainty": 2.0}
STRUCTURE = {
    "numbers": [29],
    "positions": [[0.0, 0.0, 0.0]],
    "cell": [[3.0, 0, 0], [0, 3.0, 0], [0, 0, 3.0]],
    "pbc": [True] * 3,
}


def taking(
    centre: CentreDoc,
    many: Sequence[CentreDoc | None],
    named: dict[str, CentreDoc],
    either: RelaxationDoc | StoredStructure,
    requests: Sequence[tuple[int, int]],
    schedule: Schedule,
    threshold: float,
    left_alone: object = None,
) -> None:
    """Takes what stages take."""


def test_arguments_get_the_form_that_their_annotations_name() -> None:
    schedule = Schedule.from_dict({"stages": [{"kind": "hold", "temperature": 300.0, "steps": 5}]})
    marked = CENTRE | {"@module": "idealflow.schemas", "@class": "CentreDoc", "@version": "0.1.0"}
    given = decoded(
        taking,
        (marked, [CENTRE, None], {"0": CENTRE}, STRUCTURE, [[1, 2]], schedule.to_dict(), 5),
        {"left_alone": CENTRE},
    ).arguments
    centre = CentreDoc(**CENTRE)
    assert given["centre"] == centre
    assert given["many"] == [centre, None]
    assert given["named"] == {"0": centre}
    assert given["either"] == StoredStructure(**STRUCTURE)
    assert given["requests"] == [(1, 2)]
    assert given["schedule"] == schedule
    assert isinstance(given["threshold"], int)  # a number stays the number that is hashed
    assert given["left_alone"] is CENTRE


def test_what_has_its_form_stays_the_same_object() -> None:
    centre, structure = CentreDoc(**CENTRE), StoredStructure(**STRUCTURE)
    schedule = Schedule.from_dict({"stages": [{"kind": "hold", "temperature": 300.0, "steps": 5}]})
    given = decoded(taking, (centre, [], {}, structure, [], schedule, 5.0), {}).arguments
    assert given["centre"] is centre
    assert given["either"] is structure
    assert given["schedule"] is schedule
    assert given["left_alone"] is None  # defaults are filled in


def test_a_mapping_that_is_no_such_document_is_refused() -> None:
    with pytest.raises(ValidationError, match="uncertainties"):
        decoded(taking, (CENTRE | {"uncertainties": 1.0}, [], {}, STRUCTURE, [], {}, 1.0), {})


def test_only_documents_are_read_back() -> None:
    assert document_of(taking) is None
    assert document_of(Counting.make.original) is not None


@dataclass
class Counting(Maker):
    """Counts how often its body runs."""

    name: str = "counting"
    bodies: ClassVar[list[Any]] = []

    def _same_threshold(self, done: ScreenDoc, given: Mapping[str, Any]) -> bool:
        return done.threshold == given["threshold"]

    def _respond(self, done: ScreenDoc, given: Mapping[str, Any]) -> Response:
        return Response(output=done, stored_data={"asked": given["threshold"], "found": done.threshold})

    @stage(output_schema=ScreenDoc)
    def make(self, context: StageContext, centre: CentreDoc, threshold: float) -> ScreenDoc:  # noqa: ARG002  # stamped by it
        """Is reused whatever is asked."""
        return self._body(centre, threshold)

    @stage(output_schema=ScreenDoc, reuse=False)
    def again(self, context: StageContext, centre: CentreDoc, threshold: float) -> ScreenDoc:  # noqa: ARG002  # stamped by it
        """Is never reused."""
        return self._body(centre, threshold)

    @stage(output_schema=ScreenDoc, reuse=_same_threshold)
    def same(self, context: StageContext, centre: CentreDoc, threshold: float) -> ScreenDoc:  # noqa: ARG002  # stamped by it
        """Is reused for the same threshold."""
        return self._body(centre, threshold)

    @stage(then=_respond)
    def respond(self, context: StageContext, centre: CentreDoc, threshold: float) -> ScreenDoc:  # noqa: ARG002  # stamped by it
        """Has a response made of its document."""
        return self._body(centre, threshold)

    def _body(self, centre: CentreDoc, threshold: float) -> ScreenDoc:
        self.bodies.append(centre)
        return ScreenDoc(
            walker=0, step=5, segment_uuid="s", model_version=1, threshold=threshold, n_atoms=1, n_uncertain=0,
            n_triggering=0, max_uncertainty=1.0, quantiles={}, centres=[centre], **stamp(),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("method", "threshold", "runs", "found"),
    [
        ("make", 2.0, 1, 1.0),
        ("again", 2.0, 2, 2.0),
        ("same", 1.0, 1, 1.0),
        ("same", 2.0, 2, 2.0),
        ("respond", 2.0, 1, 1.0),
    ],
)
def test_a_stored_output_is_reused_where_it_is_what_is_asked_for(
    method: str, threshold: float, runs: int, found: float, tmp_path: Path
) -> None:
    context = StageContext(campaign="c", round=4, seed=1, artifacts=str(tmp_path), work=str(tmp_path))
    store = JobStore(MemoryStore())
    Counting.bodies.clear()
    outputs = []
    for asked in (1.0, threshold):
        job = getattr(Counting(), method)(context, CENTRE, asked)
        job.set_uuid("the same job")
        output = run_locally(job, store=store, log=False, root_dir=tmp_path, ensure_success=True)[job.uuid][1].output
        outputs.append(ScreenDoc.model_validate(json.loads(json.dumps(output, cls=MontyEncoder))))
    assert len(Counting.bodies) == runs
    assert all(isinstance(centre, CentreDoc) for centre in Counting.bodies)
    assert outputs[1].threshold == found
    assert {(doc.campaign, doc.round) for doc in outputs} == {("c", 4)}
    assert all(doc.seconds >= 0.0 for doc in outputs)


def test_a_document_outside_of_a_campaign_cannot_be_stamped() -> None:
    @dataclass
    class Without(Maker):
        """Has no context."""

        name: str = "without"

        @stage()
        def make(self, state: object) -> object:  # noqa: ARG002  # no context
            """Stamps all the same."""
            return stamp()

    with pytest.raises(CampaignError, match="names campaign and round"):
        type(Without()).make.original(Without(), None)
