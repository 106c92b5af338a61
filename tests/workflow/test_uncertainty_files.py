"""Files of an uncertainty, version after version: each holds what is new, and all of them say what the object knew."""

import logging
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from idealflow.core import SOAP, SOAPCoverage, UncertaintyModel, load_uncertainty, register_uncertainty
from idealflow.core.archive import read_archive, write_archive
from idealflow.core.leaning import lean, leans_on
from idealflow.errors import ArtifactError
from idealflow.storage import ArtifactStore
from idealflow.workflow.learner.uncertainties import load_stored_uncertainty, store_uncertainty
from idealflow.workflow.stages import alone


def alloy(seed, rattle=0.08, repeat=2):
    atoms = bulk("Ni", "fcc", a=3.57, cubic=True)
    atoms.symbols[0] = "Al"
    atoms = atoms.repeat(repeat)
    atoms.rattle(rattle, seed=seed)
    return atoms


def first_model():
    return UncertaintyModel.fit([alloy(seed) for seed in range(6)], SOAP(["Ni", "Al"], 3.5, 4, 3, 0.4))


def learned(model, number):
    """What the update of a round does."""
    model = model.copy()
    model.update([alloy(100 + number)], [np.arange(32) < 20])
    model.cover(alloy(200 + number, 0.2), [number % 32])
    if number % 4 == 3:
        model.cover(alloy(300 + number), [1], quarantined=True)
    if number % 8 == 7:
        model.forget_quarantined()
    return model


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """Versions, each learned from the file of the one before; and the object that was never written."""
    tmp_path = tmp_path_factory.mktemp("history")
    store, model = ArtifactStore(tmp_path / "artifacts"), first_model()
    files, models = [store_uncertainty(store, tmp_path, model, None)], [model]
    for number in range(18):
        model = learned(model, number)
        files.append(
            store_uncertainty(
                store, tmp_path, learned(load_stored_uncertainty(store.get(files[-1])), number), files[-1]
            )
        )
        models.append(model)
    return tmp_path / "artifacts", files, models


@pytest.fixture
def chain(history, tmp_path):
    """A copy of the history, to do with as one likes."""
    folder, files, models = history
    shutil.copytree(folder, tmp_path / "artifacts")
    return ArtifactStore(tmp_path / "artifacts"), files, models


def same(one, other):
    probe = alloy(999, 0.15)
    assert (one.n_samples, one.n_covered, one.n_quarantined) == (other.n_samples, other.n_covered, other.n_quarantined)
    np.testing.assert_array_equal(one(probe), other(probe))
    np.testing.assert_array_equal(one.covered(probe, 3.0), other.covered(probe, 3.0))
    return one.auto_threshold() == other.auto_threshold()


def test_every_version_is_read_as_it_was_and_holds_what_is_new(chain, tmp_path):
    store, files, models = chain
    for number in (0, 1, 5, 18):
        loaded = load_uncertainty(store.get(files[number]))
        assert same(loaded, models[number])
        assert loaded.save(tmp_path / "whole").stat().st_size > 3 * np.median([file.size for file in files[1:]])
    d = models[0].soap.n_features
    triangle = 2 * 8 * d * (d + 1) / 2
    for before, after in pairwise(models):
        new = sum(after.n_samples.values()) - sum(before.n_samples.values())
        assert new == 20
    # 20 environments, the covering centres that are gathered, places of the sample; now and then a folded base
    sizes = np.array([file.size for file in files[1:]])
    assert np.median(sizes) < (20 + 16) * d * 8 + 2 * 512 * 16 + 20_000
    assert sizes.max() < triangle + (20 + 64 + 2 * 512) * d * 8 + 2 * 512 * 16 + 30_000


def test_the_same_history_gives_the_same_files(chain, tmp_path):
    store, files, _ = chain
    again = learned(load_stored_uncertainty(store.get(files[7])), 7)
    assert store_uncertainty(store, tmp_path, again, files[7]) == files[8]


def test_the_metric_is_there_for_the_last_version_and_may_be_dropped(chain, tmp_path, caplog):
    store, files, models = chain
    metrics = [store.get(file).with_suffix(".metric") for file in files]
    assert [path.exists() for path in metrics] == [False] * 18 + [True]
    taken = load_stored_uncertainty(store.get(files[-1]))
    metrics[-1].write_bytes(metrics[-1].read_bytes()[:-300])
    with caplog.at_level(logging.WARNING):
        damaged = load_stored_uncertainty(store.get(files[-1]))
    assert "the metric is made again" in caplog.text
    metrics[-1].unlink()
    dropped = load_stored_uncertainty(store.get(files[-1]))
    for found in (taken, damaged, dropped):
        assert same(found, models[-1])
    other = models[0].save_metric(tmp_path / "other.metric")
    with pytest.raises(ArtifactError, match="is the metric of"):
        dropped.take_metric(other)


def test_nothing_is_decomposed_where_a_metric_lies(chain, monkeypatch):
    store, files, models = chain
    loaded = load_stored_uncertainty(store.get(files[-1]))
    probe = alloy(999, 0.15)
    expected, threshold = models[-1](probe), models[-1].auto_threshold()

    def refuse(*_, **__):
        raise AssertionError("a matrix was decomposed")

    monkeypatch.setattr(np.linalg, "eigh", refuse)
    np.testing.assert_array_equal(loaded(probe), expected)
    assert loaded.auto_threshold() == threshold
    with pytest.raises(AssertionError, match="decomposed"):
        load_uncertainty(store.get(files[-1])).auto_threshold()


def test_a_file_without_those_it_leans_on_is_refused_by_name(chain):
    store, files, _ = chain
    path = store.get(files[-1])
    Path(store.url, leans_on(path)[0]["path"]).unlink()
    with pytest.raises(ArtifactError, match=r"leans on .*, which does not exist; put back"):
        load_uncertainty(path)


def test_a_remote_store_brings_what_a_file_leans_on(chain, tmp_path):
    _, _, models = chain
    store = ArtifactStore("memory://leaning", cache=tmp_path / "first")
    base = store_uncertainty(store, tmp_path, models[0], None)
    last = store_uncertainty(store, tmp_path, models[1], base)
    elsewhere = ArtifactStore("memory://leaning", cache=tmp_path / "second")
    assert last.size < base.size
    assert same(load_uncertainty(elsewhere.get(last)), models[1])


def test_a_stage_alone_takes_a_file_that_leans_on_others(chain):
    store, files, models = chain
    context, _, taken, threshold = alone.screen(None, alloy(1), str(store.get(files[5])))
    assert threshold == models[5].auto_threshold()
    assert leans_on(ArtifactStore(context.artifacts).get(taken.uncertainty)) == []


class Doubled(SOAPCoverage):
    """A measure of one's own, whose file holds the SOAP model's inside."""

    name = "doubled"

    def __call__(self, atoms, indices=None):
        return 2.0 * self.base(atoms, indices)


def test_a_measure_of_ones_own_leans_too(tmp_path):
    register_uncertainty("doubled", Doubled)
    store, model = ArtifactStore(tmp_path / "artifacts"), first_model()
    first = store_uncertainty(store, tmp_path, Doubled(model, parameters={"x": np.arange(3)}), None)
    second = store_uncertainty(store, tmp_path, Doubled(learned(model, 0), parameters={"x": np.arange(4)}), first)
    assert second.size < 0.5 * first.size
    loaded = load_stored_uncertainty(store.get(second))
    assert isinstance(loaded, Doubled)
    assert loaded.parameters["x"].tolist() == [0, 1, 2, 3]
    assert same(loaded.base, learned(model, 0))


def test_an_archive_of_former_versions_is_followed_by_a_whole_one(tmp_path):
    old, new = (write_archive(tmp_path / name, "state", 1, {"x": np.arange(500)}, {"name": name}) for name in "ab")
    lean(new, old, {"path": "a"})
    assert leans_on(new) == []
    assert new.stat().st_size > 4000
    arrays, meta = read_archive(new, "state", 1)
    assert meta == {"name": "b"}
    np.testing.assert_array_equal(arrays["x"], np.arange(500))
