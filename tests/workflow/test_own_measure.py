"""A campaign on a third party's uncertainty, the one of the how-to, by its import path alone."""

from __future__ import annotations

import subprocess
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idealflow.core import SOAP, SOAPCoverage, UncertaintyModel
from idealflow.errors import InputError
from idealflow.report.sections.environments import environments
from idealflow.storage import ArtifactStore
from idealflow.workflow import BootstrapMaker, UncertaintyScreenMaker
from idealflow.workflow.campaign.checks import check_campaign
from idealflow.workflow.campaign.opening import science_key
from idealflow.workflow.learner.uncertainties import load_uncertainty
from support import tiny

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
OWN = "my_measure:Distance"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)


def run(folder: Path, **changes: Any) -> Any:
    segment = {"schedule": tiny.schedule(1, 20)[1:]}
    own = {"bootstrap": {"uncertainty": OWN}, "threshold": 3.5}
    return tiny.run(folder, segment=segment, evaluation={"n_frames": 2}, **own, **changes)


def test_a_whole_campaign_on_the_mixture(tmp_path: Path) -> None:
    mixture = {"uncertainty": "mixture", "uncertainty_settings": {"components": 3, "sketch": 24}}
    segment = {"schedule": tiny.schedule(1, 20)[1:]}
    state, campaign = tiny.run(tmp_path / "whole", segment=segment, evaluation={"n_frames": 2}, bootstrap=mixture)
    assert state.status == "finished"
    assert state.n_substructures >= 2
    last = load_uncertainty(ArtifactStore(state.artifacts).get(state.learner.uncertainty))
    assert type(last).__name__ == "MixtureModel"
    assert last.auto_threshold() == state.threshold
    asked = [(doc.walker, doc.step, doc.atom) for doc in campaign.substructures()]
    assert len(set(asked)) == len(asked)
    tiny.run(tmp_path / "parts", segment=segment, evaluation={"n_frames": 2}, bootstrap=mixture, max_rounds=1)
    again, _ = tiny.run(tmp_path / "parts", segment=segment, evaluation={"n_frames": 2}, bootstrap=mixture)
    assert again.learner == state.learner
    assert again.walkers == state.walkers
    [drawn] = environments(campaign).blocks  # in the descriptors of the SOAP model that the mixture has
    assert [trace["name"] for trace in drawn["data"]] == [
        "frame",
        "vacuum crop",
        "crop, not yet relaxed",
        "substructure",
    ]
    for trace in drawn["data"]:
        places = [np.frombuffer(b64decode(trace[axis]["bdata"]), trace[axis]["dtype"]) for axis in "xy"]
        assert np.isfinite(places).all()
        assert min(len(np.unique(axis)) for axis in places) >= 50


def test_a_whole_campaign_screens_crops_relaxes_and_learns_on_it(tmp_path: Path) -> None:
    state, campaign = run(tmp_path / "whole")
    assert state.status == "finished"
    assert state.n_substructures >= 2
    assert campaign.evaluation() is not None
    artifacts = ArtifactStore(state.artifacts)
    first, last = (load_uncertainty(artifacts.get(entry.uncertainty)) for entry in (state.first_learner, state.learner))
    assert type(first).__name__ == type(last).__name__ == "Distance"
    assert last.n_samples["Cu"] > first.n_samples["Cu"]
    assert sum(last.n_covered.values()) == state.n_substructures
    docs = campaign.substructures(state="accepted")
    screened = [campaign.lineage(doc.uuid).screen for doc in docs]
    assert all(doc.max_uncertainty > state.threshold for doc in screened)
    relaxations = [campaign.lineage(doc.uuid).relaxation for doc in docs]
    assert all(doc.trace[-1] <= doc.trace[0] for doc in relaxations)
    asked = [(doc.walker, doc.step, doc.atom) for doc in campaign.substructures()]
    assert len(set(asked)) == len(asked)  # what was labelled does not trigger again

    run(tmp_path / "parts", max_rounds=2)
    again, _ = run(tmp_path / "parts")
    assert again.learner == state.learner  # by the hashes of its files
    assert again.walkers == state.walkers

    # a worker that has never seen the config finds the class by what the file says
    path = artifacts.get(state.learner.uncertainty)
    code = "import sys; from idealflow.core import load_uncertainty as load; print(load(sys.argv[1]).n_samples)"
    paths = {"PYTHONPATH": ":".join(entry for entry in sys.path if entry), "PATH": ""}
    read = subprocess.run([sys.executable, "-c", code, path], env=paths, capture_output=True, text=True, check=True)
    assert read.stdout.strip() == str(last.n_samples)


@pytest.mark.parametrize(
    ("bootstrap", "message"),
    [
        (
            {"uncertainty": "sopa"},
            r"bootstrap.uncertainty: .*'sopa' \(did you mean 'soap'\?\); available: committee, mixture, soap",
        ),
        ({"uncertainty": "nowhere:Mine"}, r"bootstrap.uncertainty: cannot import .*'nowhere:Mine'.* PYTHONPATH"),
        ({"uncertainty": "my_measure:Gone"}, r"bootstrap.uncertainty: cannot import .*'Gone'"),
        ({"uncertainty": "my_measure:objective"}, r"is no class but of type function"),
        ({"uncertainty": "ase:Atoms"}, r"no idealflow.core.Uncertainty: Atoms has no auto_threshold, .*SOAPCoverage"),
        (
            {"uncertainty": OWN, "uncertainty_settings": {"power": 2}},
            r"bootstrap.uncertainty_settings: .*'power'.*none",
        ),
        ({"uncertainty": "committee", "uncertainty_settings": {"size": 2}}, r"'size'; its settings are members"),
        ({"uncertainty": "committee", "uncertainty_settings": {"members": 2}}, r"committee_size"),
    ],
)
def test_refused_before_any_compute(bootstrap: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        check_campaign(tiny.maker(tmp_path, bootstrap=bootstrap), tiny.frame())


def test_a_class_in_place_of_a_name_is_told_to_register() -> None:
    with pytest.raises(InputError, match=r'the class UncertaintyModel; register it with register_uncertainty\("name"'):
        BootstrapMaker(uncertainty=UncertaintyModel)


def test_an_object_whose_file_nobody_could_open_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hidden(SOAPCoverage):
        """Defined where no import path leads."""

        def __call__(self, atoms: Any, indices: Any = None) -> Any:
            return self.base(atoms, indices)

    monkeypatch.chdir(tmp_path)
    crystal = tiny.frame()
    crystal.rattle(0.1, seed=1)
    hidden = Hidden(UncertaintyModel.fit([crystal], SOAP(["Cu"], 3.0, 2, 2, 0.3)))
    with pytest.raises(InputError, match=r'Hidden is not registered: .*register_uncertainty\("hidden", Hidden\)'):
        UncertaintyScreenMaker().make(tiny.frame(), hidden, threshold=3.0)
    assert np.isfinite(hidden(tiny.frame())).all()


def test_keys_of_the_built_in_ones_are_those_from_before_the_registry(tmp_path: Path) -> None:
    def key(**bootstrap: Any) -> str:
        return science_key(tiny.maker(tmp_path, bootstrap=bootstrap, update={"energy_reject_floor": 2e-4}))

    assert key() == "2-c03020f873f9998f"
    assert key(uncertainty="committee", committee_size=2) == "2-587b9cf7f962e452"
    assert len({key(), key(uncertainty=OWN), key(uncertainty=OWN, uncertainty_settings={"power": 1})}) == 3
