"""A setting with a new name: the former one is read, and makes no other campaign."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from monty.json import MontyDecoder

from idealflow.errors import InputError
from idealflow.storage import ArtifactStore
from idealflow.workflow import AseLabeller, IdealMaker, LabelMaker, ModelUpdateMaker
from idealflow.workflow.campaign.opening import science_key
from idealflow.workflow.campaign.record import load_settings, save_settings, settings_of
from idealflow.workflow.config.load import maker_from_settings
from idealflow.workflow.config.spelling import present_spelling
from idealflow.workflow.jobs.keys import former_key, settings_key
from support import tiny

#: science key of a campaign with every setting but the labeller at its default of then, when `n_judges` was one of them
KEY = "2-c53ab6fe0c070a71"


@dataclass
class OwnUpdateMaker(ModelUpdateMaker):
    """A user's, with a setting of its own."""

    margin: float = 2.0


@dataclass
class OwnIdealMaker(IdealMaker):
    """A user's."""

    note: str = ""


FORMER = {"n_steps": 5, "n_replay": 3, "n_judges": 2, "energy_reject_floor": 2e-4}
PRESENT = {"energy_reject_floor": 2e-4}  # the default


def test_the_former_name_is_read_in_python_and_in_stored_makers() -> None:
    maker = ModelUpdateMaker(n_validation=5)
    assert ModelUpdateMaker(n_judges=5) == maker
    stored = {"n_judges" if key == "n_validation" else key: value for key, value in maker.as_dict().items()}
    assert MontyDecoder().decode(json.dumps(stored)) == maker
    assert "n_judges" not in maker.as_dict()
    assert replace(maker, n_steps=3).n_validation == 5


def test_a_config_with_the_former_name_says_how_it_is_written_now() -> None:
    settings, lines = present_spelling(tiny.settings() | {"update": FORMER})
    assert settings == tiny.settings(update=PRESENT)
    assert lines == ["update.n_judges is called update.n_validation now"]
    with pytest.raises(InputError, match=r"n_judges is called n_validation now; give n_validation alone"):
        present_spelling(tiny.settings(update={"n_judges": 2}))


def test_the_new_name_makes_no_new_key() -> None:
    label = LabelMaker(AseLabeller(tiny.EMT, reference="EMT"))
    assert science_key(IdealMaker(label=label, update=ModelUpdateMaker(n_replay=16))) == KEY
    stored = json.loads(json.dumps(ModelUpdateMaker(n_validation=5).as_dict()))
    first = {"n_judges" if key == "n_validation" else key: value for key, value in stored.items()}
    assert settings_key(stored) == settings_key(first)
    assert former_key(stored) == former_key(first)
    assert settings_key(ModelUpdateMaker(n_validation=6)) != settings_key(stored)


def test_settings_kept_under_the_former_name_are_no_change(tmp_path: Path) -> None:
    maker = tiny.maker(tmp_path, update=PRESENT)
    kept = settings_of(maker)
    former = {"update.n_judges" if key == "update.n_validation" else key: value for key, value in kept.items()}
    assert former != kept
    store = ArtifactStore(str(tmp_path / "artifacts"))
    stored = store.put_bytes(json.dumps(former).encode(), suffix=".json")
    assert load_settings(store, stored) == json.loads(json.dumps(kept))
    assert load_settings(store, save_settings(store, maker)) == json.loads(json.dumps(kept))
    assert science_key(maker) == science_key(maker_from_settings(tiny.settings() | {"update": FORMER}))


def test_a_users_maker_that_was_stored_with_former_names_is_read() -> None:
    maker = OwnUpdateMaker(n_validation=5, margin=7.0)
    stored = maker.as_dict()
    stored["n_judges"] = stored.pop("n_validation")
    assert MontyDecoder().process_decoded(stored | {"category": None}) == maker
    queued = MontyDecoder().process_decoded(stored | {"category": "gpu"})
    assert queued == maker
    assert IdealMaker(update=queued).queues == {"update": "gpu"}
    with pytest.raises(InputError, match=r"OwnUpdateMaker: n_judges is called n_validation now"):
        OwnUpdateMaker.from_dict(stored | {"n_validation": 5})
    campaign = OwnIdealMaker(campaign="own").as_dict() | {"category": "cpu"}
    del campaign["queues"]
    assert MontyDecoder().process_decoded(campaign).queues == {"default": "cpu"}


def test_what_has_no_part_in_queues_is_refused_beside_a_category_too() -> None:
    with pytest.raises(InputError, match=r"queues has no part 'segments' \(did you mean 'segment'\?\)"):
        present_spelling({"category": "cpu", "queues": {"segments": "gpu"}})
    with pytest.raises(InputError, match=r"queues\.segment must be the name of a category, got 3"):
        present_spelling({"category": "cpu", "queues": {"segment": 3}})
    with pytest.raises(InputError, match=r"queues must be a mapping .* got \[\]"):
        present_spelling({"category": "cpu", "queues": []})


def test_no_round_is_no_number_of_rounds() -> None:
    maker = IdealMaker(max_rounds=0, label=LabelMaker(AseLabeller(tiny.EMT, reference="EMT")))
    with pytest.raises(InputError, match="max_rounds must be at least 1, got 0"):
        maker.make(tiny.frame())
