"""Figures: files are written, equal for equal data, and nothing is drawn of nothing."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from idealflow.errors import InputError
from idealflow.report import comparison, figures

STEPS = np.arange(0, 1000, 10)
RNG = np.random.default_rng(0)
LOG = pd.DataFrame(
    {
        "step": STEPS,
        "max_uncertainty": np.exp(RNG.normal(size=STEPS.size)),
        "temperature": 300.0 + STEPS + RNG.normal(0, 30, STEPS.size),
        "target": 300.0 + STEPS,
    }
)
WALKERS = pd.concat([LOG.assign(walker=0), LOG.assign(walker=1)])
PARITY = pd.DataFrame({"reference": RNG.normal(size=30)}).assign(
    first=lambda t: t.reference + 0.1, last=lambda t: t.reference + RNG.normal(0, 0.01, 30)
)
ERRORS = pd.DataFrame(
    {
        "step": RNG.permutation(30),
        **{f"{k}_{m}": RNG.random(30) for k in ("energy", "force") for m in ("first", "last")},
    }
)
R = np.linspace(0.1, 6.0, 60)

DRAW = {
    "uncertainty": lambda p: figures.uncertainty_figure(LOG, p, threshold=3.0, label_steps=[20, 20, 50], title="Cu"),
    "uncertainty of walkers": lambda p: figures.uncertainty_figure(WALKERS, p, threshold=3.0),
    "labels": lambda p: figures.labels_figure([20, 20, 50], p, n_steps=1000),
    "temperature": lambda p: figures.temperature_figure(LOG, p),
    "temperature of walkers": lambda p: figures.temperature_figure(WALKERS, p),
    "msd": lambda p: figures.msd_figure(STEPS, {"Cu": STEPS / 10.0, "Au": STEPS / 20.0}, p),
    "rdf": lambda p: figures.rdf_figure({"before": (R, np.sin(R) ** 2), "after": (R, np.ones(60))}, p),
    "parity": lambda p: comparison.parity_figure(PARITY, PARITY, p, reference="EMT", n_frames=30),
    "errors": lambda p: comparison.frame_errors_figure(ERRORS, p, reference="EMT"),
}


@pytest.mark.parametrize("name", DRAW)
def test_a_figure_is_written_and_the_same_again(name, tmp_path):
    one, two = DRAW[name](tmp_path / "a.png"), DRAW[name](tmp_path / "b.png")
    assert one.read_bytes() == two.read_bytes()
    picture = imread(one)
    assert picture.shape[0] > 400
    assert picture.shape[1] > 800
    assert len(np.unique(picture[..., :3].reshape(-1, 3), axis=0)) > 20  # lines and text, not a blank sheet
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


EMPTY = LOG.iloc[:0]
NAN = LOG.assign(max_uncertainty=np.nan, temperature=np.nan)
REFUSED = {
    "empty log": (lambda p: figures.uncertainty_figure(EMPTY, p, threshold=3.0), "no finite value"),
    "unscreened log": (lambda p: figures.uncertainty_figure(NAN, p, threshold=3.0), "no finite value"),
    "no threshold": (lambda p: figures.uncertainty_figure(LOG, p, threshold=np.inf), "threshold"),
    "missing column": (lambda p: figures.temperature_figure(LOG.drop(columns="target"), p), "'target'"),
    "no temperature": (lambda p: figures.temperature_figure(NAN.assign(target=np.nan), p), "no finite value"),
    "no column of temperatures": (
        lambda p: figures.temperature_figure(LOG.drop(columns="temperature"), p),
        "'temperature'",
    ),
    "no labels": (lambda p: figures.labels_figure([], p, n_steps=10), "no finite value"),
    "no msd": (lambda p: figures.msd_figure(STEPS, {}, p), "no MSD"),
    "msd of other length": (lambda p: figures.msd_figure(STEPS, {"Cu": [1.0]}, p), "one value"),
    "no rdf": (lambda p: figures.rdf_figure({}, p), "no RDF"),
    "empty rdf": (lambda p: figures.rdf_figure({"x": ([], [])}, p), "no finite value"),
    "no frames": (lambda p: comparison.parity_figure(PARITY.iloc[:0], PARITY, p, reference="EMT"), "no finite value"),
    "no forces": (lambda p: comparison.parity_figure(PARITY, PARITY.iloc[:0], p, reference="EMT"), "no finite value"),
    "no errors": (lambda p: comparison.frame_errors_figure(ERRORS.iloc[:0], p, reference="EMT"), "no finite value"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_nothing_is_drawn_of_nothing(name, tmp_path):
    call, words = REFUSED[name]
    with pytest.raises(InputError, match=words):
        call(tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
