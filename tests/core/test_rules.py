"""Rule objects, and single rules by keyword: two spellings of one call."""

import numpy as np
import pytest
from ase.build import bulk
from test_cropping import Coordination, rattled

from idealflow.core.cropping import CropRules, CropWeights, crop_search
from idealflow.core.dynamics import MDState, Schedule, SegmentChecks, SegmentEnds, SegmentFiles, Stage, md_segment
from idealflow.core.embedding import RelaxRules, embed, relax_shell
from idealflow.errors import InputError
from support.md_worker import ExactEMT


def search(**rules):
    return crop_search(Coordination(), rattled(3), 40, 8, np.random.default_rng(0), **rules)


def test_crops_are_the_same_by_object_and_by_keyword():
    by_object = search(rules=CropRules(max_atoms=200), weights=CropWeights(size_weight=2.0))
    by_keyword = search(max_atoms=200, size_weight=2.0)
    mixed = search(rules=CropRules(max_atoms=10), max_atoms=200, weights=CropWeights(size_weight=2.0))
    scores = [[crop.score for crop in crops] for crops in (by_object, by_keyword, mixed)]
    assert scores[0] == scores[1] == scores[2]
    assert [crop.score for crop in search(max_atoms=200)] != scores[0]


def test_segments_are_the_same_by_object_and_by_keyword(tmp_path):
    start = MDState.initial(bulk("Cu", cubic=True), 300.0, 0)
    hold = Schedule([Stage("hold", 300.0, steps=50)])
    by_object = md_segment(
        ExactEMT(),
        start,
        schedule=hold,
        ends=SegmentEnds(stop_step=9),
        checks=SegmentChecks(check_interval=3),
        files=SegmentFiles(trajectory=tmp_path / "one"),
    )
    by_keyword = md_segment(
        ExactEMT(), start, schedule=hold, stop_step=9, check_interval=3, trajectory=tmp_path / "two"
    )
    assert by_object.state.digest() == by_keyword.state.digest()
    assert by_object.n_frames == by_keyword.n_frames == 4
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: search(max_atmos=200), r"crop_search has no rule 'max_atmos' \(did you mean 'max_atoms'\?\)"),
        (lambda: relax_shell(None, None, steps=3), r"relax_shell has no rule 'steps'.*max_steps, cell, threshold"),
        (lambda: relax_shell(None, None, rules=RelaxRules(), cells=False), r"did you mean 'cell'"),
        (lambda: embed(None, [], objectiv="mean"), r"embed has no rule 'objectiv' \(did you mean 'objective'\?\)"),
        (lambda: md_segment(None, None, schedule=None, stop=3, sampler="nve"), r"did you mean 'stop_step'"),
    ],
)
def test_unknown_rules_are_refused_by_name(call, told):
    with pytest.raises(InputError, match=told):
        call()


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (
            lambda: search(rules={"max_atoms": 90}),
            r"crop_search takes the rule object CropRules\(\.\.\.\), got \{'max_atoms': 90\}",
        ),
        (lambda: search(rules=RelaxRules()), r"crop_search takes the rule object CropRules\(\.\.\.\), got RelaxRules"),
        (lambda: search(weights=0), r"the rule object CropWeights\(\.\.\.\), got 0"),
        (lambda: relax_shell(None, None, rules=CropRules()), r"relax_shell takes the rule object RelaxRules"),
        (lambda: search(max_atoms=-1), r"max_atoms must be a number of at least 1, got -1"),
        (lambda: search(max_atoms="90"), r"max_atoms must be a number of at least 1, got '90'"),
        (lambda: CropRules(vacuum=float("nan")), r"vacuum must be a number of at least 0, got nan"),
    ],
)
def test_what_is_no_rule_object_or_no_possible_rule_is_refused(call, told):
    with pytest.raises(InputError, match=told):
        call()
