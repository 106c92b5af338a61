import copy
import math

import numpy as np
import pytest
import torch

from idealflow.errors import ArtifactError, InputError
from idealflow.forcefields import Consolidating, get_force_field
from idealflow.forcefields.local import samples as samples_module
from idealflow.forcefields.local.scales import rescale
from idealflow.forcefields.local.training import loss_of, refit_energies
from idealflow.forcefields.toolkit import Draws, least_change, species_offsets
from support.labelled_cells import alloy_cells, copper_cells, labelled


def densities_by_torch(vec, centre, kind_of_neighbour, n, cutoff, model):
    """The densities as the documentation defines them, (n, n_species * n_radial, 16), which torch differentiates in ``vec``."""
    r = vec.norm(dim=1)
    x, y, z = (vec / r[:, None]).T
    x2, y2, z2 = x * x, y * y, z * z
    a, b, c, d = math.sqrt(35 / 8), math.sqrt(105), math.sqrt(21 / 8), math.sqrt(105) / 2
    s3, s5, s7, s15 = (math.sqrt(number) for number in (3, 5, 7, 15))
    harmonic = torch.stack(
        [torch.ones_like(x), s3 * y, s3 * z, s3 * x, s15 * x * y, s15 * y * z, s5 / 2 * (3 * z2 - 1), s15 * x * z,
         s15 / 2 * (x2 - y2), a * y * (3 * x2 - y2), b * x * y * z, c * y * (5 * z2 - 1), s7 / 2 * z * (5 * z2 - 3),
         c * x * (5 * z2 - 1), d * z * (x2 - y2), a * x * (x2 - 3 * y2)],
        dim=1,
    )  # fmt: skip
    u = (r / cutoff).clamp(max=1.0)
    polynomials = [torch.ones_like(u), 2 * (1 - u) ** 2 - 1]
    while len(polynomials) < model.n_radial:
        polynomials.append(2 * polynomials[1] * polynomials[-1] - polynomials[-2])
    radial = torch.stack(polynomials[: model.n_radial], dim=1) * ((1 - u * u) ** 3)[:, None]
    rows = centre * model.n_species + kind_of_neighbour
    flat = torch.zeros(n * model.n_species, model.n_radial, 16, dtype=vec.dtype)
    return flat.index_add(0, rows, radial[:, :, None] * harmonic[:, None, :]).view(n, -1, 16)


def huber(difference):
    zero = torch.zeros_like(difference)
    return torch.nn.functional.huber_loss(difference, zero, reduction="none", delta=0.1) / 0.1


def loss_by_torch(model, samples, cutoff):
    """The loss in double precision, with forces and stress as derivatives that torch takes."""
    total = torch.zeros((), dtype=torch.float64)
    for sample in samples:
        frame, n = sample.frame, len(sample.frame.kind)
        kind = torch.from_numpy(frame.kind)
        centre, j = torch.from_numpy(np.repeat(np.arange(n), np.diff(frame.offsets))), torch.from_numpy(frame.j)
        moved = torch.zeros(n, 3, dtype=torch.float64, requires_grad=True)
        strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
        vec = torch.from_numpy(frame.vec)
        vec = vec + moved[j] - moved[centre] + vec @ strain
        energy = model(densities_by_torch(vec, centre, kind[j], n, cutoff, model), kind).sum()
        by_position, by_strain = torch.autograd.grad(energy, [moved, strain], create_graph=True)
        energy_loss = huber((energy + model.reference[kind].sum() - sample.energy) / n)
        mask = torch.from_numpy(sample.force_weight)
        force_loss = (huber(-by_position - torch.from_numpy(sample.forces)).mean(1) * mask).sum() / mask.sum()
        stress = by_strain[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] / (frame.volume or 1.0)
        stress_loss = huber(stress - torch.from_numpy(sample.stress)).mean() if sample.has_stress else 0.0
        total = total + 4.0 * energy_loss + force_loss + 10.0 * stress_loss
    return total / len(samples)


@pytest.mark.parametrize(
    ("cells", "settings"),
    [
        (copper_cells(3, 1), {}),
        (alloy_cells(4, 1), {"cutoff": 4.0, "n_radial": 10, "n_channels": 5, "hidden": [7, 6, 5]}),
    ],
    ids=["one species", "two species, other sizes"],
)
def test_loss_and_gradient_are_those_that_torch_finds_by_differentiating_twice(cells, settings):
    weight = np.ones(len(cells[0]))
    weight[::3] = 0.0
    cells[0].set_array("force_weight", weight)
    cells[1].calc.results.pop("stress", None)
    learner = get_force_field("local", species=sorted(set(cells[0].get_chemical_symbols())), **settings)
    learner.fit(cells, steps=5)
    samples = learner.samples(cells)
    learner.model.zero_grad()
    found = loss_of(learner.model, samples, learner.cutoff)
    found.backward()
    exact = copy.deepcopy(learner.model).double()
    exact.zero_grad()
    expected = loss_by_torch(exact, samples, learner.cutoff)
    expected.backward()
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    for mine, theirs in zip(learner.model.parameters(), exact.parameters(), strict=True):
        scale = float(theirs.grad.abs().max())
        np.testing.assert_allclose(mine.grad.numpy(), theirs.grad.numpy(), atol=1e-4 * scale)


def states(force_field):
    return [value.numpy().tobytes() for _, value in sorted(force_field.model.state_dict().items())]


@pytest.mark.parametrize("method", ["fit", "consolidate"])
def test_a_training_that_is_stopped_after_every_step_ends_like_one_that_is_not(copper, tmp_path, method):
    begun = get_force_field("local", species=["Cu"], hidden=[8])
    begun.fit(copper[:4], steps=10)

    def train(**limits):
        learner = begun.copy()
        return learner, getattr(learner, method)(copper[:12], steps=7, seed=3, **limits)

    whole, report = train()
    assert report.finished
    file, n_calls, finished = tmp_path / "state", 0, False
    while not finished:
        assert file.exists() == (n_calls > 0)
        learner, stopped = train(checkpoint=file, deadline=0.0)
        finished, n_calls = stopped.finished, n_calls + 1
    assert n_calls == 7
    assert not file.exists()
    assert states(learner) == states(whole)
    assert stopped.loss == report.loss
    assert learner.save(tmp_path / "a").read_bytes() == whole.save(tmp_path / "b").read_bytes()


def test_the_state_of_another_training_is_not_gone_on_from(copper, tmp_path):
    begun = get_force_field("local", species=["Cu"], hidden=[8])
    begun.fit(copper[:4], steps=10)
    file = tmp_path / "state"
    begun.copy().consolidate(copper[:12], steps=7, seed=3, checkpoint=file, deadline=0.0)
    expected, learner = begun.copy(), begun.copy()
    expected.consolidate(copper[:12], steps=7, seed=4)
    assert learner.consolidate(copper[:12], steps=7, seed=4, checkpoint=file).steps == 7
    assert states(learner) == states(expected)


def test_a_damaged_state_is_refused(copper, tmp_path):
    begun = get_force_field("local", species=["Cu"], hidden=[8])
    file = tmp_path / "state"
    begun.fit(copper[:4], steps=10, checkpoint=file, deadline=0.0)
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ArtifactError, match="damaged"):
        begun.fit(copper[:4], steps=10, checkpoint=file)


def test_progress_is_told_and_counts_the_steps_of_earlier_processes(copper, tmp_path):
    learner, told = get_force_field("local", species=["Cu"], hidden=[8]), []
    learner.fit(copper[:4], steps=3, checkpoint=tmp_path / "state", deadline=0.0)
    learner.fit(copper[:4], steps=3, checkpoint=tmp_path / "state", progress=lambda *now: told.append(now[:2]))
    assert told == [(2, 3), (3, 3)]


def test_consolidation_learns_all_and_keeps_what_was_known(trained, copper, held_out):
    hot = copper_cells(8, 5)
    for k, cell in enumerate(hot):
        cell.set_cell(cell.cell * 1.15, scale_atoms=True)
        hot[k] = labelled(cell)
    learner = trained.copy()
    assert isinstance(learner, Consolidating)
    before = learner.errors(hot).mean(axis=0)
    learner.consolidate([*copper, *hot], steps=200, lr=2e-3, seed=0)
    assert learner.errors(hot).mean(axis=0)[1] < 0.7 * before[1]
    assert learner.errors(held_out).mean(axis=0)[1] < 1.6 * trained.errors(held_out).mean(axis=0)[1]


def test_new_scales_leave_predictions_as_they_are(trained, copper):
    hot = copper[0].copy()
    hot.set_cell(hot.cell * 1.3, scale_atoms=True)
    hot = labelled(hot)
    learner = trained.copy()
    rescale(learner.model, learner.samples([hot]), learner.cutoff)
    assert not torch.allclose(learner.model.mean, trained.model.mean, rtol=1e-2)
    np.testing.assert_allclose(learner.errors(copper[:4]), trained.errors(copper[:4]), atol=2e-4)


def test_energies_are_mended_and_forces_hardly_notice(trained, copper, held_out):
    learner = trained.copy()
    with torch.no_grad():
        learner.model.linear += 0.003 * torch.randn(
            learner.model.linear.shape, generator=torch.Generator().manual_seed(0)
        )
    before = learner.errors(held_out).mean(axis=0)
    refit_energies(learner.model, learner.samples(copper), learner.cutoff)
    after = learner.errors(held_out).mean(axis=0)
    assert after[0] < 0.3 * before[0]
    assert after[1] < 1.1 * before[1]


def test_energies_that_are_all_off_alike_do_not_send_an_update_astray(trained, copper):
    shifted = [labelled(cell) for cell in copper[:4]]
    for cell in shifted:
        cell.calc.results["energy"] += 3.0 * len(cell)
    learner = trained.copy()
    learner.update(shifted, [], steps=10, lr=3e-4, seed=0)
    before, after = trained.errors(copper).mean(axis=0), learner.errors(copper).mean(axis=0)
    assert learner.errors(shifted).mean(axis=0)[0] < 0.01
    assert after[1] < 1.3 * before[1]


def test_a_shift_of_each_species_is_taken_back():
    fractions = np.array([[0.5, 0.5], [0.25, 0.75], [0.75, 0.25]])
    assert species_offsets(fractions, fractions @ [0.3, -0.2]) == pytest.approx([0.3, -0.2], abs=0.02)


def test_the_least_change_is_the_smallest_that_explains_the_residuals():
    rng = np.random.default_rng(0)
    inputs, residuals = rng.normal(size=(4, 9)), rng.normal(size=4)
    expected, *_ = np.linalg.lstsq(inputs, residuals, rcond=None)
    np.testing.assert_allclose(least_change(inputs, residuals, 0.0), expected, atol=1e-8)
    assert np.abs(least_change(inputs, residuals, 1.0)).sum() < np.abs(expected).sum()


def test_what_compositions_do_not_tell_is_left_alone():
    offsets = species_offsets([[0.75, 0.25, 0.0]] * 3, [0.1, 0.2, 0.3])
    assert offsets @ [0.75, 0.25, 0.0] == pytest.approx(0.2, abs=1e-3)
    assert offsets[2] == 0.0


def test_residuals_that_are_not_finite_are_refused():
    with pytest.raises(InputError, match="structure 1 is nan"):
        species_offsets([[1.0], [1.0]], [0.1, np.nan])


def test_every_structure_has_its_turn_before_any_has_two():
    draws = Draws([7, 3], [2, 1], seed=5)
    seen = [draws.next() for _ in range(7)]
    first = [index for batch in seen for index in batch[:2]]
    assert sorted(first[:7]) == list(range(7))
    assert sorted(first[7:]) == list(range(7))


def test_what_does_not_fit_into_memory_is_computed_again_with_the_same_result(copper, monkeypatch):
    cells = [labelled(cell) for cell in copper[:4]]
    for cell in cells:
        cell.set_array("force_weight", np.full(len(cell), 0.5))  # so that no other test has prepared them
    whole, bounded = (get_force_field("local", species=["Cu"], hidden=[4]) for _ in range(2))
    with monkeypatch.context() as patch:
        patch.setattr(samples_module, "PAIRS_KEPT", 3000)
        assert [sample.keeps for sample in bounded.samples(cells)] == [True, True, False, False]
        bounded.fit(cells, steps=5)
    whole.fit(cells, steps=5)
    assert states(bounded) == states(whole)


def test_a_structure_is_prepared_once_and_anew_when_anything_of_it_changes(copper):
    learner = get_force_field("local", species=["Cu"], hidden=[4])
    (sample,) = learner.samples(copper[:1])
    assert learner.copy().samples(copper[:1])[0] is sample
    moved = labelled(copper[0])
    moved.positions[0] += 1e-9
    weighted = labelled(copper[0])
    weighted.set_array("force_weight", np.linspace(0, 1, len(weighted)))
    other = get_force_field("local", species=["Cu"], hidden=[4], cutoff=4.9)
    for found in (learner.samples([moved])[0], learner.samples([weighted])[0], other.samples(copper[:1])[0]):
        assert found is not sample


def test_an_empty_batch_is_refused():
    with pytest.raises(InputError, match="at least one structure"):
        Draws([0, 3], [4, 0], seed=0)
