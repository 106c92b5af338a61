"""Whether a trained copy of the force field may stay."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from idealflow.workflow.learner.ledger import Ledger
from idealflow.workflow.learner.trial import Known, Trial, Verdict


def errors(*forces: float) -> np.ndarray:
    """No energy error, no stress."""
    return np.array([[0.0, force, np.nan] for force in forces]).reshape(-1, 3)


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
        ((0.5, 0.1), ([0.1, 0.1], [0.3, 0.32]), "error on held-out structures grew from 0.1000 to 0.3100"),
        ((0.5, 0.2), ([0.1, 0.1], [0.5, 0.5]), None),  # no worse than the new ones, by the factor
        ((0.1, 0.31), ([], []), "error on the new labels grew from 0.1000 to 0.3100"),
        ((0.0, 0.002), ([], []), None),  # next to nothing
        ((0.1, float("nan")), ([0.1], [0.1]), "not finite"),
        ((0.1, 0.1), ([0.1], [float("inf")]), "not finite"),
    ],
)
def test_an_update_that_makes_things_worse_is_rejected(
    new: tuple[float, float], validation: tuple[list[float], list[float]], said: str | None
) -> None:
    made = trial(new, validation)
    verdict = Verdict.of(made, 3.0)
    if said is None:
        assert verdict.rejected is None
        assert verdict.learned is made
    else:
        assert said in str(verdict.rejected)
        assert verdict.learned is None


def test_where_nothing_was_trained_nothing_was_learned() -> None:
    assert Verdict.of(None, 3.0) == Verdict(None, None)
    assert Verdict.of(None, 3.0).learned is None


def test_a_ledger_takes_in_what_was_learned() -> None:
    ledger = Ledger()
    ledger.add(["a", "b", "c"], np.ones((3, 3)), held_out=[False, True, False])
    trial((0.5, 0.1), ([0.1, 0.2], [0.2, 0.3])).enter(ledger, ["d"])
    assert ledger.keys == ["a", "b", "c", "d"]
    assert [row[1] for row in ledger.errors] == [1.0, 0.2, 0.3, 0.1]
    assert ledger.errors_of(held_out=True)[:, 1].tolist() == [0.2]
    assert ledger.errors_of(held_out=False)[:, 1].tolist() == [1.0, 0.3, 0.1]


def test_a_validation_set_holds_both_roles_and_nothing_that_is_replayed() -> None:
    ledger = Ledger()
    ledger.add([f"k{i}" for i in range(20)], np.ones((20, 3)), held_out=[i < 5 for i in range(20)])
    replayed = ["k7", "k8", "k9"]
    for seed in range(20):
        picked = ledger.validation(3, np.random.default_rng(seed), exclude=replayed)
        assert len(picked) == len(set(picked)) == 6
        assert sum(int(key[1:]) < 5 for key in picked) == 3
        assert not set(picked) & set(replayed)
