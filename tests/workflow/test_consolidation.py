"""All data learned together: in a whole campaign, killed in the middle, and by force fields that cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idealflow.core import SOAP, UncertaintyModel
from idealflow.forcefields import CommitteeUncertainty, get_force_field
from idealflow.forcefields.toolkit import GradientLearner
from idealflow.forcefields.toolkit import training as training_module
from idealflow.storage import ArtifactStore
from idealflow.workflow.learner import stretches
from idealflow.workflow.learner.guard import Guard, judged
from idealflow.workflow.learner.ledger import Ledger
from idealflow.workflow.learner.version import (
    load_consolidated,
    load_force_field_artifact,
    load_uncertainty_artifact,
)
from idealflow.workflow.stages import consolidate, update
from support import tiny
from support.labelled_cells import copper_cells

UPDATE = {
    "n_steps": 5, "n_replay": 3, "n_validation": 2, "max_steps": 5, "consolidate_every": 1, "consolidation_steps": 10,
    "consolidation_share": 5.0, "consolidation_learning_rate": 3e-4,
}  # fmt: skip


def test_a_campaign_consolidates_between_rounds_and_says_so(tmp_path: Path) -> None:
    state, campaign = tiny.run(tmp_path, update=UPDATE)
    docs = campaign.consolidations()
    assert state.status == "finished"
    assert len(docs) == sum(doc.decision == "accepted" for doc in campaign.updates()) > 0
    assert [doc.last for doc in docs] == [False] * (len(docs) - 1) + [docs[-1].last]
    assert state.n_consolidations == sum(doc.decision == "accepted" for doc in docs) > 0
    assert state.n_consolidations + state.n_discarded_consolidations == len(docs)
    assert state.consolidation_atom_steps == sum(doc.atom_steps for doc in docs) > 0
    assert state.atom_steps == campaign.bootstrap().atom_steps + sum(doc.atom_steps for doc in campaign.updates())
    for doc in docs:
        assert doc.steps == (40 if doc.last else 10)
        assert doc.version_after == doc.version_before + (doc.decision == "accepted")
    store, kept = ArtifactStore(state.artifacts), [doc for doc in docs if doc.decision == "accepted"][-1]
    ledger, model = Ledger.load(store, kept.learner.ledger), load_force_field_artifact(store, kept.learner)
    assert kept.learner.consolidated == kept.learner.force_field
    held = np.array(ledger.held_out)
    assert kept.all_after.forces == pytest.approx(np.array(ledger.errors)[~held, 1].mean())
    structures = campaign.dataset()
    assert len(model.errors(structures)) == len(structures)
    # whoever moved atoms or asked for a label can be looked up: a report of errors, a trajectory coloured by uncertainty
    learners = campaign.learners()
    assert learners[kept.version_after] == kept.learner
    asked = {doc.model_version for doc in [*campaign.segments(), *campaign.substructures()]}
    assert asked <= set(learners)
    assert asked & {doc.version_after for doc in docs if doc.decision == "accepted"}


def test_a_consolidation_that_was_killed_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = {"segment": {"schedule": tiny.schedule(5, 35)}, "evaluation": {"n_frames": 0}, "update": UPDATE}
    whole, campaign = tiny.run(tmp_path / "a", **short)
    assert campaign.consolidations()[0].decision == "accepted"
    monkeypatch.setattr(training_module, "SAVE_EVERY_S", -1.0)  # after every step
    told: list[int] = []

    def killed(event: Any) -> None:
        told.append(event.step)
        if event.step == 6:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(consolidate, "emit", killed)
        with pytest.raises(KeyboardInterrupt):
            tiny.run(tmp_path / "b", **short)
        with pytest.raises(KeyboardInterrupt):  # step 6 itself was not stored
            tiny.run(tmp_path / "b", **short)
    assert told == [1, 2, 3, 4, 5, 6, 6]
    again, _ = tiny.run(tmp_path / "b", **short)
    assert again.learner.force_field.sha256 == whole.learner.force_field.sha256
    assert again.learner.ledger.sha256 == whole.learner.ledger.sha256
    assert not list((tmp_path / "b" / "work").glob("consolidate*"))


def test_an_update_that_was_killed_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = {"n_steps": 5, "max_steps": 15, "learned_within": 1e-6, "consolidate_every": 0}
    short = {"segment": {"schedule": tiny.schedule(5, 35)}, "evaluation": {"n_frames": 0}, "update": long}
    whole, campaign = tiny.run(tmp_path / "a", **short)
    assert campaign.updates()[0].steps >= 15
    monkeypatch.setattr(stretches, "KEEP_EVERY_S", -1.0)  # after every stretch
    learned, begun = [], GradientLearner.update

    def counted(self: Any, *data: Any, **how: Any) -> Any:
        learned.append(how["seed"])
        if len(learned) in (3, 4):
            raise KeyboardInterrupt
        return begun(self, *data, **how)

    with monkeypatch.context() as patch:
        patch.setattr(GradientLearner, "update", counted)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                tiny.run(tmp_path / "b", **short)
        again, _ = tiny.run(tmp_path / "b", **short)
    first = learned[0]
    assert learned[:5] == [first, first + 1, first + 2, first + 2, first + 2]  # what was finished is not learned again
    assert again.learner.force_field.sha256 == whole.learner.force_field.sha256
    assert again.learner.ledger.sha256 == whole.learner.ledger.sha256
    assert not list((tmp_path / "b" / "work").glob("stretches*"))


def test_an_update_that_was_killed_learns_as_the_settings_say_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what it had finished it takes nothing that other settings made."""
    long = {"n_steps": 5, "max_steps": 10, "learned_within": 1e-6, "consolidate_every": 0}
    short: dict[str, Any] = {"segment": {"schedule": tiny.schedule(5, 35)}, "evaluation": {"n_frames": 0}}
    monkeypatch.setattr(stretches, "KEEP_EVERY_S", -1.0)  # after every stretch
    masked = long | {"mask_shell_forces": True}
    whole, _ = tiny.run(tmp_path / "a", update=masked, **short)

    keep = stretches.Stretches.keep

    def kept_and_killed(*given: Any) -> None:
        keep(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stretches.Stretches, "keep", kept_and_killed)
        with pytest.raises(KeyboardInterrupt):
            tiny.run(tmp_path / "b", update=long, **short)
    assert list((tmp_path / "b" / "work").glob("stretches*/*/*.json"))
    again, _ = tiny.run(tmp_path / "b", update=masked, **short)
    assert again.learner.force_field.sha256 == whole.learner.force_field.sha256


@pytest.mark.parametrize("start", ["present", "consolidated"])
def test_a_consolidation_begins_with_the_weights_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    begun, consolidate_once = [], GradientLearner.consolidate

    def noted(self: Any, *args: Any, **settings: Any) -> Any:
        begun.append(weights_of(self))
        return consolidate_once(self, *args, **settings)

    monkeypatch.setattr(GradientLearner, "consolidate", noted)
    state, campaign = tiny.run(tmp_path, update=UPDATE | {"consolidation_start": start}, evaluation={"n_frames": 0})
    store, learners = ArtifactStore(state.artifacts), campaign.learners()
    docs = [doc for doc in campaign.consolidations() if doc.decision != "skipped"]
    assert len(docs) == len(begun) > 1
    for doc, weights in zip(docs, begun, strict=True):
        learner = learners[doc.version_before]
        now, then = load_force_field_artifact(store, learner), load_consolidated(store, learner)
        assert then is not None
        assert weights_of(now) != weights_of(then)
        assert weights == weights_of(now if start == "present" else then)


@pytest.mark.parametrize("helped", [True, False])
def test_labels_that_an_update_refused_are_learned_by_the_next_consolidation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, helped: bool
) -> None:
    class Refusing(Guard):
        def objection(self, *_: np.ndarray) -> str | None:
            return "no" if not verdicts else None

    verdicts: list[bool] = []

    def decided(*_: Any) -> tuple[bool, str]:
        verdicts.append(helped)
        return helped, "told so"

    monkeypatch.setattr(update, "Guard", Refusing)
    monkeypatch.setattr(consolidate, "judged", decided)
    state, campaign = tiny.run(tmp_path, update=UPDATE, evaluation={"n_frames": 0})
    refused, first = campaign.updates()[0], campaign.consolidations()[0]
    assert (refused.decision, refused.learned) == ("rejected", [])
    assert len(refused.accepted) > 0
    store = ArtifactStore(state.artifacts)
    before, after = (Ledger.load(store, doc.learner.ledger) for doc in (refused, first))
    samples = [sum(load_uncertainty_artifact(store, doc.learner).n_samples.values()) for doc in (refused, first)]
    assert before.waiting == refused.accepted
    assert not set(before.keys) & set(refused.accepted)
    asked = campaign.substructures(request_key=refused.accepted[0])[0]
    if helped:
        assert first.learned == refused.accepted
        assert after.keys == [*before.keys, *refused.accepted]
        assert after.waiting == []
        assert np.isfinite(np.array(after.errors)[:, :2]).all()
        assert samples[1] == samples[0] + sum(
            doc.n_atoms for doc in campaign.substructures(round=refused.round, state="accepted")
        )
        assert campaign.lineage(asked.uuid).version_after == first.version_after
    else:
        assert first.learned == []
        assert first.learner == refused.learner  # they wait on
        assert Ledger.load(store, state.learner.ledger).waiting == refused.accepted
        assert campaign.lineage(asked.uuid).version_after is None


def test_forces_of_the_shell_are_masked_wherever_a_label_is_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its update, in replays, in consolidations; structures of the bootstrap have no shell."""
    learned: list[Any] = []
    for name in ("update", "consolidate"):
        made = getattr(GradientLearner, name)

        def noted(self: Any, *sets: Any, made: Any = made, **how: Any) -> Any:
            learned.extend((made.__name__, number, atoms) for number, part in enumerate(sets) for atoms in part)
            return made(self, *sets, **how)

        monkeypatch.setattr(GradientLearner, name, noted)
    _, campaign = tiny.run(tmp_path, update=UPDATE | {"mask_shell_forces": True}, evaluation={"n_frames": 0})
    cores = {doc.request_key: doc.core for doc in campaign.substructures(state="accepted")}
    seen = set()
    for way, part, atoms in learned:
        core = cores.get(atoms.info["request_key"])
        if core is None:
            assert "force_weight" not in atoms.arrays
            continue
        seen.add((way, part))
        assert np.flatnonzero(atoms.arrays["force_weight"]).tolist() == sorted(core)
    assert seen == {("update", 0), ("update", 1), ("consolidate", 0)}


def weights_of(force_field: Any) -> list[Any]:
    return [value.tolist() for value in force_field.module.state_dict().values()]


@pytest.mark.parametrize(("told", "taken"), [(3e-4, 3e-4), (None, 8e-3)])
def test_the_rate_is_the_force_fields_own_unless_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: float | None, taken: float
) -> None:
    rates, consolidate_once = [], GradientLearner.consolidate

    def noted(self: Any, *args: Any, **settings: Any) -> Any:
        rates.append(settings["lr"])
        return consolidate_once(self, *args, **settings)

    monkeypatch.setattr(GradientLearner, "consolidate", noted)
    update = UPDATE | {"consolidation_learning_rate": told}
    tiny.run(tmp_path, update=update, segment={"schedule": tiny.schedule(5, 35)}, evaluation={"n_frames": 0})
    assert rates[0] == taken
    assert set(rates[1:]) <= {taken, taken / 4}


def test_a_force_field_that_cannot_is_left_to_its_updates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(GradientLearner, "consolidate")
    state, campaign = tiny.run(tmp_path, update=UPDATE, segment={"schedule": tiny.schedule(5, 35)})
    assert state.status == "finished"
    assert campaign.consolidations() == []
    assert {doc.consolidates for doc in campaign.updates()} == {False}


def test_a_share_that_is_too_small_is_told_and_nothing_is_trained(tmp_path: Path) -> None:
    update = UPDATE | {"consolidation_share": 1e-6}
    state, campaign = tiny.run(tmp_path, update=update, segment={"schedule": tiny.schedule(5, 35)})
    assert {doc.decision for doc in campaign.consolidations()} == {"skipped"}
    assert "too small to help" in campaign.consolidations()[0].reason
    assert state.consolidation_atom_steps == 0


@pytest.mark.parametrize(
    ("after", "held", "helped", "said"),
    [
        ([[0.002, 0.09]] * 3, [1, 0, 0], True, "0.52 (energy) and 0.90 (forces)"),
        ([[0.004, 0.10]] * 3, [1, 0, 0], False, "1.00 (energy) and 1.00 (forces)"),
        ([[0.020, 0.05]] + [[0.001, 0.05]] * 2, [1, 0, 0], False, "energy error on held-out structures grew"),
        ([[0.004, 0.13]] + [[0.001, 0.05]] * 2, [1, 0, 0], False, "force error on held-out structures grew"),
        ([[0.020, 0.05]] + [[0.001, 0.02]] * 2, [0, 0, 0], True, "(energy)"),
        ([[np.nan, 0.05]] + [[0.001, 0.05]] * 2, [1, 0, 0], False, "not finite"),
    ],
)
def test_it_stays_only_if_it_helps(after: list[list[float]], held: list[int], helped: bool, said: str) -> None:
    before = np.array([[0.004, 0.10, 0.0]] * 3)
    found = judged(before, np.array([[*row, 0.0] for row in after]), np.array(held, dtype=bool))
    assert (found[0], said in found[1]) == (helped, True)


def test_a_committee_is_led_by_the_consolidated_force_field() -> None:
    cells, soap = copper_cells(6, 1), SOAP(["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3)
    untrained = get_force_field("local", species=["Cu"], cutoff=4.0, hidden=[4])
    committee = CommitteeUncertainty.fit(cells, UncertaintyModel.fit(cells, soap), untrained, members=2, steps=10)
    leader = committee.members[0]
    leader.consolidate(cells, steps=5, lr=1e-3, seed=1)
    led = committee.led_by(leader)
    assert led.members[0].errors(cells).tolist() == leader.errors(cells).tolist()
    assert led.members[1].errors(cells).tolist() == committee.members[1].errors(cells).tolist()
    assert led(cells[0]).mean() != committee(cells[0]).mean()
    assert led.n_samples == committee.n_samples
    assert np.mean([led(cell).mean() for cell in cells]) == pytest.approx(1.0, rel=0.5)
