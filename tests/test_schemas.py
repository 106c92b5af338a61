"""Documents: what is stored stays readable, under the names that it is stored by."""

from __future__ import annotations

import json
import math
import tarfile
from pathlib import Path
from typing import Any

import pytest
from monty.json import MontyEncoder
from pydantic import ValidationError

from idealflow import schemas
from idealflow.core import Crop
from idealflow.schemas import LabelledDoc, RelaxationDoc, StoredCrop, SubstructureDoc
from support import tiny

STORED = Path(__file__).parent / "fixtures" / "version-0.1.0"
KINDS = {
    "segment": schemas.SegmentDoc, "screen": schemas.ScreenDoc, "crop": schemas.CropDoc, "relaxation": RelaxationDoc,
    "substructure": SubstructureDoc, "label": LabelledDoc, "update": schemas.ModelUpdateDoc, "state": schemas.CampaignState,
    "bootstrap": schemas.BootstrapDoc, "evaluation": schemas.EvaluationDoc,
}  # fmt: skip


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Every document of a campaign of version 0.1.0, as it is stored."""
    folder = tmp_path_factory.mktemp("stored")
    with tarfile.open(STORED / "finished.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    rows = tiny.sqlite(folder / "finished").query({"output.kind": {"$exists": True}}, load=True)
    return [row["output"] for row in rows]


def says(written: Any, stored: Any) -> bool:
    """Whether all that was stored is written again; later versions may say more. NaN is NaN."""
    if isinstance(stored, dict):
        return written.keys() >= stored.keys() and all(says(written[name], value) for name, value in stored.items())
    if isinstance(stored, list):
        return len(written) == len(stored) and all(map(says, written, stored))
    return written == stored or (math.isnan(written) and math.isnan(stored))


def test_stored_documents_say_the_same_when_they_are_read_and_written(outputs: list[dict[str, Any]]) -> None:
    assert {output["kind"] for output in outputs} == set(KINDS)
    for output in outputs:
        written = json.loads(json.dumps(KINDS[output["kind"]].model_validate(output), cls=MontyEncoder))
        for name, value in output.items():
            if name != "@version":
                assert says(written[name], value), (output["kind"], name)


def test_every_document_is_stored_by_the_package_that_stored_ones_name() -> None:
    for name in schemas.__all__:
        assert getattr(schemas, name).__module__ == "idealflow.schemas", name


def of_kind(outputs: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    return next(output for output in outputs if output["kind"] == kind)


def test_minus_one_of_earlier_versions_is_none(outputs: list[dict[str, Any]]) -> None:
    nothing = {"structure": None, "core": [], "parent_indices": [], "centre": -1}
    relaxation = RelaxationDoc.model_validate(of_kind(outputs, "relaxation") | nothing | {"crop_index": -1})
    assert (relaxation.centre, relaxation.crop_index) == (None, None)
    failed = {"state": "failed", "cause": "no crop", "geometry_key": "", "energy": None, "forces": None}
    label = SubstructureDoc.model_validate(of_kind(outputs, "substructure") | nothing | failed)
    assert (label.centre, label.geometry_key) == (None, None)
    with pytest.raises(ValueError, match="no structure and no centre in it: no crop"):
        assert label.centre_of_cell
    kept = RelaxationDoc.model_validate(of_kind(outputs, "relaxation"))
    assert kept.model_dump()["centre"] == of_kind(outputs, "relaxation")["centre"] >= 0


def test_what_is_required_stays_required(outputs: list[dict[str, Any]]) -> None:
    for name in ("campaign", "round", "walker", "crop_uuid", "centre", "seconds"):
        broken = {key: value for key, value in of_kind(outputs, "relaxation").items() if key != name}
        with pytest.raises(ValidationError, match=f"{name}\n  Field required"):
            RelaxationDoc.model_validate(broken)


def test_a_stored_crop_is_the_crop_that_was_found(outputs: list[dict[str, Any]]) -> None:
    for data in of_kind(outputs, "crop")["chosen"]:
        kept = StoredCrop.model_validate(data)
        crop = Crop.from_dict(kept.model_dump())
        assert json.loads(json.dumps(crop.to_dict())) == json.loads(kept.model_dump_json())
    early = {"reference" if key == "in_frame" else key: value for key, value in crop.to_dict().items()}
    assert StoredCrop.model_validate(early).in_frame == crop.in_frame.tolist()
