import numpy as np
import pytest
import torch

from idealflow.errors import InputError
from idealflow.forcefields import get_force_field
from idealflow.forcefields.local import force_field as force_field_module
from idealflow.forcefields.local import polish as polish_module
from idealflow.forcefields.local import samples as samples_module
from idealflow.forcefields.local.polish import polish
from idealflow.forcefields.local.training import loss_of
from support.labelled_cells import copper_cells


def weights(force_field):
    return [parameter.detach().clone() for parameter in force_field.model.parameters()]


def test_the_loss_falls_to_what_is_reported(trained, copper):
    learner = trained.copy()
    samples = learner.samples(copper[:6])
    weight = polish_module.ENERGY_WEIGHT
    before = float(loss_of(learner.model, samples, learner.cutoff, weight).detach())
    end = polish(learner.model, samples, learner.cutoff, 10)
    after = float(loss_of(learner.model, samples, learner.cutoff, weight).detach())
    assert after == pytest.approx(end, rel=1e-4)
    assert after < 0.9 * before


def test_pieces_add_up_to_the_whole(trained, copper, monkeypatch):
    ends = []
    for at_once in (4096, 70):  # all six structures, and two at a time
        monkeypatch.setattr(samples_module, "ATOMS_AT_ONCE", at_once)
        learner = trained.copy()
        ends.append(polish(learner.model, learner.samples(copper[:6]), learner.cutoff, 3))
    assert ends[0] == pytest.approx(ends[1], rel=1e-3)


def test_a_model_that_is_not_finite_is_left_alone_and_told(trained, copper):
    learner = trained.copy()
    with torch.no_grad():
        learner.model.readout[0, 0] = torch.nan
    before = weights(learner)
    assert not np.isfinite(polish(learner.model, learner.samples(copper[:2]), learner.cutoff, 3))
    assert all(torch.equal(a, b) or a.isnan().any() for a, b in zip(before, weights(learner), strict=True))


def test_energies_do_not_scatter_after_updates(trained, copper, held_out, monkeypatch):
    new, scatter = copper_cells(4, 3), {}
    for how in ("nothing", "closed form", "polish"):
        learner = trained.copy()
        learner.settings["polish_steps"] = 12 if how == "polish" else 0
        means = []
        with monkeypatch.context() as patch:
            if how == "nothing":
                patch.setattr(force_field_module, "refit_energies", lambda *_: None)
            for k, cell in enumerate(new):
                learner.update([cell], copper[:12], steps=10, lr=1e-3, seed=k)
                means.append(learner.errors(held_out)[:, 0].mean())
        scatter[how] = np.mean(means)
    assert scatter["closed form"] < 0.6 * scatter["nothing"]
    assert scatter["polish"] < 0.6 * scatter["nothing"]


@pytest.mark.parametrize("wrong", [-1, 1.5])
def test_impossible_numbers_of_polish_steps_are_refused(wrong):
    with pytest.raises(InputError, match="polish_steps"):
        get_force_field("local", species=["Cu"], polish_steps=wrong)
