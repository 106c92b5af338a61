"""Whether a trained copy of the force field may stay."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from idealflow.errors import IdealflowError
from idealflow.forcefields import TrainReport, get_force_field
from idealflow.forcefields.local.force_field import LocalForceField
from idealflow.storage import ArtifactStore
from idealflow.workflow.jobs.progress import listening
from idealflow.workflow.learner.guard import Guard
from idealflow.workflow.learner.ledger import Ledger
from idealflow.workflow.learner.stretches import Stretch, Stretches
from idealflow.workflow.learner.trial import Effort, Known, Trial, Verdict, attempts, train
from support.labelled_cells import copper_cells


def errors(*forces: float, energy: float = 0.0) -> np.ndarray:
    """Errors of forces, all with the same energy error, and no stress."""
    return np.array([[energy, force, np.nan] for force in forces]).reshape(-1, 3)


def trial(new: tuple[float, float], validation: tuple[list[float], list[float]]) -> Trial:
    known = Known(["a"], [], ["b", "c"][: len(validation[0])], [])
    return Trial(
        SimpleNamespace(), known, errors(new[0]), errors(new[1]), errors(*validation[0]), errors(*validation[1])
    )  # fmt: skip


@pytest.mark.parametrize(
    ("new", "validation", "said"),
    [
        ((0.5, 0.1), ([0.1, 0.2], [0.2, 0.1]), None),
        ((0.5, 0.1), ([0.1, 0.1], [0.3, 0.3]), None),  # by the factor itself
        ((0.5, 0.1), ([0.1, 0.1], [0.3, 0.32]), "force error on held-out structures grew from 0.1000 to 0.3100"),
        ((0.6, 0.5), ([0.1, 0.1], [0.5, 0.5]), None),  # no worse than the new ones
        ((0.6, 0.5), ([0.1, 0.1], [0.5, 0.52]), "force error on held-out structures grew from 0.1000 to 0.5100"),
        ((0.1, 0.31), ([], []), "force error on the new labels grew from 0.1000 to 0.3100"),
        ((0.0, 0.002), ([], []), None),  # next to nothing
        ((0.1, float("nan")), ([0.1], [0.1]), "not finite"),
        ((0.1, 0.1), ([0.1], [float("inf")]), "not finite"),
    ],
)
def test_an_update_that_makes_forces_worse_is_rejected(
    new: tuple[float, float], validation: tuple[list[float], list[float]], said: str | None
) -> None:
    made = trial(new, validation)
    verdict = Verdict.of(made, Guard(forces=3.0))
    if said is None:
        assert verdict.rejected is None
        assert verdict.learned is made
    else:
        assert said in str(verdict.rejected)
        assert verdict.learned is None


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (0.010, 0.020, None),  # doubled
        (0.010, 0.021, "energy error on held-out structures grew from 0.0100 to 0.0210 eV/atom"),
        (0.0001, 0.0004, None),  # small errors count as 0.2 meV/atom
        (0.0001, 0.00041, "more than energy_reject_factor = 2 allows"),
    ],
)
def test_energies_have_a_guard_of_their_own(before: float, after: float, said: str | None) -> None:
    new = errors(0.1), errors(0.1)
    found = Guard().objection(*new, errors(0.1, energy=before), errors(0.1, energy=after))
    assert found is None if said is None else said in str(found)


def test_the_floor_of_the_energy_guard_is_a_setting() -> None:
    new = errors(0.1), errors(0.1)
    before, after = errors(0.1, energy=0.0001), errors(0.1, energy=0.00021)
    assert Guard().objection(*new, before, after) is None
    assert "grew from 0.0001 to 0.0002 eV/atom" in str(Guard(energy_floor=0.0).objection(*new, before, after))


class Scripted:
    """A force field with errors told in advance, (new, validation): before, then after each update."""

    name = "scripted"

    def __init__(self, *script: tuple[float, float]) -> None:
        self.script, self.at, self.updates, self.judged = list(script), [0], [], []

    def copy(self) -> Scripted:
        return self

    def errors(self, dataset: list[str]) -> np.ndarray:
        self.judged.append((self.at[0], *dataset))
        new, validation = self.script[self.at[0]]
        return errors(new if dataset == ["new"] else validation)

    def update(self, *_: object, steps: int, lr: float, seed: int) -> SimpleNamespace:
        self.at[0] += 1
        self.updates.append((steps, round(lr, 6), seed))
        return SimpleNamespace(atom_steps=10 * steps, loss=[0.5], errors=errors(self.script[self.at[0]][0]))


KNOWN = Known([], [], ["v"], ["validation"])  # type: ignore[list-item]  # names stand for structures
EFFORT = Effort(n_steps=20, max_steps=50, learned_within=1.5, learning_rate=1e-3)


def test_an_update_goes_on_until_the_new_labels_are_learned() -> None:
    learned_at_once = Scripted((0.5, 0.1), (0.15, 0.1))
    assert train(learned_at_once, ["new"], KNOWN, EFFORT, seed=7).steps == 20
    slow = Scripted((0.5, 0.1), (0.4, 0.1), (0.16, 0.1), (0.15, 0.1))
    trial = train(slow, ["new"], KNOWN, EFFORT, seed=7)
    assert [update[0] for update in slow.updates] == [20, 20, 10]
    assert len({update[2] for update in slow.updates}) == 3  # each stretch has batches of its own
    assert (trial.steps, trial.atom_steps) == (50, 500)
    assert trial.new_before[0, 1] == 0.5
    assert trial.new_after[0, 1] == 0.15
    never = Scripted((0.5, 0.1), (0.4, 0.1), (0.3, 0.1), (0.3, 0.1))
    assert train(never, ["new"], KNOWN, EFFORT, seed=7).steps == 50


def test_errors_are_computed_once() -> None:
    slow = Scripted((0.5, 0.1), (0.4, 0.1), (0.15, 0.1))
    train(slow, ["new"], KNOWN, EFFORT, seed=7)
    # an update's report has those of the new structures
    assert slow.judged == [(0, "new"), (0, "validation"), (1, "validation"), (2, "validation")]


def test_a_report_of_other_structures_is_refused() -> None:
    class Wide(Scripted):
        def update(self, *given: object, **how: Any) -> SimpleNamespace:
            report = super().update(*given, **how)
            return SimpleNamespace(**vars(report) | {"errors": errors(0.1, 0.2)})

    with pytest.raises(IdealflowError, match=r"errors of each new structure, \(1, 3\), got \(2, 3\)"):
        train(Wide((0.5, 0.1), (0.4, 0.1)), ["new"], KNOWN, EFFORT, seed=7)


def test_without_a_validation_set_there_is_one_stretch() -> None:
    assert train(Scripted((0.5, 0.1), (0.4, 0.1)), ["new"], Known([], [], [], []), EFFORT, seed=7).steps == 20


def test_a_rejected_update_is_tried_at_a_lower_rate_then_from_the_last_consolidation() -> None:
    effort = Effort(20, 20, 1.5, 1e-3)
    present = Scripted((0.5, 0.1), (9.0, 9.0), (8.0, 8.0))
    consolidated = Scripted((0.7, 0.1), (0.2, 0.1))
    verdict = attempts(present, lambda: consolidated, ["new"], KNOWN, effort, Guard(), seed=1)
    assert [update[1] for update in present.updates] == [1e-3, 3e-4]
    assert [update[1] for update in consolidated.updates] == [3e-4]
    assert len({update[2] for update in [*present.updates, *consolidated.updates]}) == 3
    assert verdict.learned is not None
    assert verdict.learned.force_field is consolidated
    assert verdict.learned.new_before[0, 1] == 0.5  # it is the version before that is compared with
    assert len(verdict.refused) == 2


def test_what_helps_at_a_lower_rate_is_kept_and_what_never_helps_is_not() -> None:
    effort = Effort(20, 20, 1.5, 1e-3)
    verdict = attempts(
        Scripted((0.5, 0.1), (9.0, 9.0), (0.2, 0.1)), lambda: None, ["new"], KNOWN, effort, Guard(), seed=1
    )
    assert (verdict.rejected, len(verdict.refused)) == (None, 1)
    verdict = attempts(
        Scripted((0.5, 0.1), (9.0, 9.0), (8.0, 8.0)), lambda: None, ["new"], KNOWN, effort, Guard(), seed=1
    )
    assert "grew from" in str(verdict.rejected)
    assert verdict.learned is None
    assert len(verdict.refused) == 1


def test_where_nothing_was_trained_nothing_was_learned() -> None:
    assert Verdict.of(None, Guard()) == Verdict(None, None)
    assert Verdict.of(None, Guard()).learned is None


def test_a_uniform_replay_draws_all_alike() -> None:
    ledger = Ledger()
    ledger.add(
        [f"k{i}" for i in range(10)], np.array([[0.0, 100.0, 0.0]] + [[0.0, 1e-9, 0.0]] * 9), held_out=[False] * 10
    )
    rng = np.random.default_rng(0)
    drawn = [ledger.replay(1, rng, "uniform")[0] for _ in range(400)]
    assert {drawn.count(f"k{i}") > 15 for i in range(10)} == {True}
    assert [ledger.replay(1, rng)[0] for _ in range(20)] == ["k0"] * 20


def test_a_ledger_takes_in_what_was_learned() -> None:
    ledger = Ledger()
    ledger.add(["a", "b", "c"], np.ones((3, 3)), held_out=[False, True, False])
    trial((0.5, 0.1), ([0.1, 0.2], [0.2, 0.3])).enter(ledger, ["d"])
    assert ledger.keys == ["a", "b", "c", "d"]
    assert [row[1] for row in ledger.errors] == [1.0, 0.2, 0.3, 0.1]
    assert ledger.errors_of(held_out=True)[:, 1].tolist() == [0.2]
    assert ledger.errors_of(held_out=False)[:, 1].tolist() == [1.0, 0.3, 0.1]


def test_what_is_learned_once_more_stands_once_in_the_ledger() -> None:
    ledger = Ledger()
    ledger.add(["a", "b"], np.ones((2, 3)), held_out=[False, True])
    ledger.add(["b", "c"], np.full((2, 3), 2.0))
    assert ledger.keys == ["a", "b", "c"]
    assert [row[0] for row in ledger.errors] == [1.0, 2.0, 2.0]
    assert ledger.held_out == [False, True, False]


def test_what_was_learned_does_not_wait(tmp_path: Path) -> None:
    """A cell that was learned may be asked for once more, by a walker that blew up, and be refused then."""
    ledger = Ledger(keys=["a"], errors=[[1.0, 1.0, 1.0]], held_out=[False])
    ledger.wait(["a", "b", "b"])
    assert ledger.waiting == ["b"]
    store = ArtifactStore(tmp_path)
    ledger.waiting = ["a", "b"]  # as version 0.1.0 could have it
    assert Ledger.load(store, ledger.save(store)).waiting == ["b"]


def test_a_validation_set_holds_both_roles_and_nothing_that_is_replayed() -> None:
    ledger = Ledger()
    ledger.add([f"k{i}" for i in range(20)], np.ones((20, 3)), held_out=[i < 5 for i in range(20)])
    replayed = ["k7", "k8", "k9"]
    for seed in range(20):
        picked = ledger.validation(3, np.random.default_rng(seed), exclude=replayed)
        assert len(picked) == len(set(picked)) == 6
        assert sum(int(key[1:]) < 5 for key in picked) == 3
        assert not set(picked) & set(replayed)


def test_no_two_stretches_of_an_update_have_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, for one that is found is taken for what it is named."""
    asked: list[str] = []

    class Noted(Stretches):
        def found(self, task: str) -> None:
            asked.append(task)

    report = TrainReport(1, [0.1], errors(0.5), atom_steps=4)
    monkeypatch.setattr(LocalForceField, "update", lambda *_, **__: report)
    monkeypatch.setattr(LocalForceField, "errors", lambda _, cells: errors(*[0.1] * len(cells)))
    cells, force_field = copper_cells(2, 1), get_force_field("local", species=["Cu"], cutoff=3.0, hidden=[4])
    known, effort = Known([], [], ["held out"], cells[1:]), Effort(1, 1001, 1.5, 1e-3)
    attempts(force_field, lambda: force_field, cells[:1], known, effort, Guard(forces=1.01), 0, Noted(tmp_path))
    assert len(asked) == len(set(asked)) == 3 * 1001


def test_a_stretch_is_kept_whatever_numbers_a_force_field_reports(tmp_path: Path) -> None:
    force_field = get_force_field("local", species=["Cu"], cutoff=3.0, hidden=[4])
    kept = Stretches(tmp_path, every_s=0.0)
    kept.keep("0-0", Stretch(force_field, errors(0.5), np.int64(31), np.float32(0.5)))
    found = kept.found("0-0")
    assert found is not None
    assert (found.atom_steps, found.loss) == (31, 0.5)


@pytest.mark.parametrize("suffix", ["json", "model"])
def test_a_stretch_that_was_cut_short_is_trained_again(tmp_path: Path, suffix: str) -> None:
    """Wherever the file ends; and it is kept anew, over what is left."""
    force_field = get_force_field("local", species=["Cu"], cutoff=3.0, hidden=[4])
    stretch = Stretch(force_field, errors(0.5), 31, 0.5)
    Stretches(tmp_path, every_s=0.0).keep("0-0", stretch)
    path = tmp_path / f"0-0.{suffix}"
    whole = path.read_bytes()
    for end in np.linspace(0, len(whole) - 1, 7).astype(int):
        path.write_bytes(whole[:end])
        told: list[str] = []
        with listening(lambda seen, told=told: told.append(seen.message)):
            assert Stretches(tmp_path).found("0-0") is None
        assert any("trained again" in message for message in told)
    Stretches(tmp_path, every_s=0.0).keep("0-0", stretch)
    assert Stretches(tmp_path).found("0-0") is not None
