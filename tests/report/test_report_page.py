"""The report's content: what is in the store is on the page, in words, and what is not is said to be missing."""

from __future__ import annotations

import base64
import json
import re
import zlib
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from ase.cluster import Octahedron

from idealflow.provenance import Campaign, sample_campaign
from idealflow.report import summarise, write_report
from idealflow.report.page import rendered, report_data
from idealflow.report.sections.blocks import numbers, table, thinned
from idealflow.report.sections.dynamics import dynamics
from idealflow.report.sections.gallery import Packing, gallery_rows, most_telling
from idealflow.report.sections.head import head
from idealflow.report.sections.settings_words import NAMES, setting_value
from idealflow.report.sections.troubles import troubles
from idealflow.workflow.campaign.record import settings_of
from support import tiny
from support.stored import in_memory, many

#: kinds of blocks that stand for data
DRAWN = {"figure", "table", "facts"}


@pytest.fixture(scope="module")
def sample() -> Campaign:
    return sample_campaign()


@pytest.fixture(scope="module")
def whole(finished: Any) -> dict[str, Any]:
    """Data of a page whose campaign has all of its files."""
    return report_data(Campaign.open(finished.folder))


def blocks(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """All blocks of a page that have a title, by it."""
    found = [block for section in data["sections"] for block in section["blocks"]]
    return {block["title"]: block for block in found if "title" in block}


def unpacked(packed: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(packed["bdata"]), dtype=np.dtype(packed["dtype"]).newbyteorder("<"))


def test_all_that_a_finished_campaign_stored_is_drawn(whole: dict[str, Any]) -> None:
    missing = {title: block["text"] for title, block in blocks(whole).items() if block["kind"] == "missing"}
    assert missing == {}
    kinds = {title: block["kind"] for title, block in blocks(whole).items()}
    for title in ("Highest uncertainty of each screened frame", "Labels asked for", "Temperature", "Potential energy", "Density",
                  "Mean squared displacement", "Radial distribution", "Energies of whole frames", "Forces, last model",
                  "Uncertainty against force error", "Environments of frame, vacuum crop, crop and substructure",
                  "Substructures of each labelled frame (L)", "Time by stage"):  # fmt: skip
        assert kinds[title] == "figure", title
    json.dumps(whole, allow_nan=False)


def test_numbers_have_units_and_words(whole: dict[str, Any]) -> None:
    dimensionless = {"uncertainty (1 = known)", "g(r)", "labelled so far", "labels", "round", "MD step", "frames", "atoms",
                     "substructures in the frame", "uncertainty / threshold", "first component", "second component", "objective",
                     "step", ""}  # fmt: skip
    for block in blocks(whole).values():
        assert block["kind"] not in DRAWN or block.get("hint") is not None
        if block["kind"] == "figure":
            axes = {block["layout"][axis]["title"]["text"] for axis in ("xaxis", "yaxis")}
            assert all(label in dimensionless or re.search(r"\(.+\)$", label) for label in axes), axes
    headings = [
        column["name"] for block in blocks(whole).values() if block["kind"] == "table" for column in block["columns"]
    ]
    assert not [name for name in headings if "_" in name.replace("t_sub", "").replace("t_entire", "")]


def test_the_uncertainty_figure_tells_covered_atoms_apart(whole: dict[str, Any], finished: Any) -> None:
    campaign = Campaign.open(finished.folder)
    traces = {trace["name"]: trace for trace in blocks(whole)["Highest uncertainty of each screened frame"]["data"]}
    first = {}
    for screen in campaign.screens():
        first.setdefault((screen.walker, screen.step), screen)
    expected = {screen.step: screen.centres[0].uncertainty for screen in first.values() if screen.centres}
    met = traces["highest uncovered: triggers"]
    found = dict(zip(unpacked(met["x"]).tolist(), unpacked(met["y"]).tolist(), strict=True))
    assert found == pytest.approx(expected, rel=1e-6)
    threshold = campaign.state().threshold
    assert min(found.values()) > threshold
    covered = unpacked(traces["over the threshold, but covered"]["y"])
    assert (covered > threshold).all()


def test_packed_coordinates_are_those_of_the_labels(sample: Campaign) -> None:
    docs = sample.substructures()
    packing = Packing([doc.uuid for doc in docs])
    packing.read(sample)
    packed = packing.as_json()
    raw, n, atoms = zlib.decompress(base64.b64decode(packed["data"])), packed["count"], packed["atoms"]
    sizes = np.frombuffer(raw, "<i4", n)
    assert sizes.tolist() == [doc.n_atoms for doc in docs]
    at = 4 * n
    cells = np.frombuffer(raw, "<f4", 9 * n, at).reshape(n, 3, 3)
    at += 36 * n
    high, low = (np.frombuffer(raw, np.uint8, 3 * atoms, at + k * 3 * atoms).astype(int) for k in (0, 1))
    steps = ((high << 8) | low).astype(np.uint16).view(np.int16).reshape(3, atoms).T
    kinds = np.frombuffer(raw, np.uint8, atoms, at + 6 * atoms)
    roles = np.frombuffer(raw, np.uint8, atoms, at + 7 * atoms)
    for i, doc in enumerate(docs):
        own = slice(sizes[:i].sum(), sizes[: i + 1].sum())
        positions = np.array(doc.structure.positions)
        expected = positions - positions[doc.centre_of_cell]
        assert np.abs(steps[own] * packed["precision"] - expected).max() <= 0.0051
        assert kinds[own].tolist() == doc.structure.numbers
        assert np.flatnonzero(roles[own]).tolist() == sorted(doc.core)
        assert np.flatnonzero(roles[own] == 2).tolist() == [doc.centre_of_cell]
        assert cells[i] == pytest.approx(np.array(doc.structure.cell), rel=1e-6, abs=1e-6)


def test_a_substructure_is_told_from_the_frame_to_the_model(whole: dict[str, Any], finished: Any) -> None:
    told = json.loads(zlib.decompress(base64.b64decode(whole["gallery"]["details"])))
    campaign = Campaign.open(finished.folder)
    doc = campaign.substructures(state="accepted")[-1]
    found = told[doc.uuid]
    steps = dict(found["blocks"][0]["items"])
    assert {"dynamics", "screen", "relaxation", "label", "error before", "model", "error after"} <= set(steps)
    lineage = campaign.lineage(doc.uuid)
    assert f"version {lineage.version_after}" in steps["model"]
    assert len(found["blocks"][1]["rows"]) == len(lineage.crop.candidates)
    frame = found["frame"]
    assert (frame["whole"], len(frame["numbers"])) == (107, 107)
    assert frame["roles"].count(3) == 1
    assert frame["roles"].count(2) == len(doc.core) - 1


def test_a_bootstrap_under_way_has_a_page(sample: Campaign, tmp_path: Path) -> None:
    campaign = Campaign(sample.store, "not begun")
    page = write_report(campaign, campaign.fetch, tmp_path / "page.html", None)
    data = report_data(campaign)
    assert "The bootstrap is under way" in page.read_text()
    assert data["gallery"]["packed"]["count"] == 0
    assert {block["kind"] for title, block in blocks(data).items() if title not in ("Acceleration", "Origin")} == {
        "missing"
    }


def test_what_the_store_lacks_is_said(sample: Campaign) -> None:
    """The sample does not keep the uncertainty's file, its frames, and its settings."""
    data = report_data(sample)
    lacking = {title for title, block in blocks(data).items() if block["kind"] == "missing"}
    assert lacking == {"Environments of frame, vacuum crop, crop and substructure", "Settings"}
    told = json.loads(zlib.decompress(base64.b64decode(data["gallery"]["details"])))
    texts = [block["text"] for one in told.values() for block in one["blocks"] if block["kind"] == "missing"]
    assert any("The frame's file cannot be read" in text for text in texts)


def test_failures_have_their_causes(sample: Campaign) -> None:
    key = sample.substructures()[0].request_key

    def fail(found: list[dict[str, Any]]) -> None:
        for output in (document["output"] for document in found):
            if output.get("kind") == "substructure" and output["request_key"] == key:
                output |= {"state": "failed", "cause": "no <convergence>", "energy": None, "forces": None}
            if output.get("kind") == "update" and key in output["accepted"]:
                output |= {"decision": "rejected", "reason": "errors grew", "quarantined": [key], "failed": [key],
                           "accepted": [], "learned": [],
                           "centre_force_errors": []}  # fmt: skip

    campaign = in_memory(fail)
    shown = {block["title"]: block for block in troubles(campaign, {}).blocks}
    assert ["no <convergence>", "1"] in shown["Causes"]["rows"]
    assert shown["Failed labels"]["rows"][0][-1] == "no <convergence>"
    assert shown["Quarantined"]["rows"] == [["2", "atom 77 at step 40 of walker 0"]]
    assert shown["Rejected updates"]["rows"] == [["2", "errors grew"]]
    data = report_data(campaign)
    assert data["gallery"]["columns"]["cause"] == {"0": "no <convergence>"}
    page = rendered(data)
    assert "no <convergence>" not in page
    assert "no \\u003cconvergence>" in page


def test_charge_and_spin_of_a_label_are_told() -> None:
    def charge(found: list[dict[str, Any]]) -> None:
        for output in (document["output"] for document in found):
            if output.get("kind") == "substructure":
                output["structure"] |= {"charge": 1.0, "spin": 2.0}

    told = json.loads(zlib.decompress(base64.b64decode(report_data(in_memory(charge))["gallery"]["details"])))
    for one in told.values():
        assert dict(one["blocks"][0]["items"])["charge and spin"] == "total charge +1 e, spin multiplicity 2"


def test_of_many_substructures_the_most_telling_are_told_whole() -> None:
    campaign = in_memory(many(5))
    data = report_data(campaign, most_told=10)
    assert data["gallery"]["packed"]["count"] == 25
    told = json.loads(zlib.decompress(base64.b64decode(data["gallery"]["details"])))
    assert len(told) == 10
    rows = gallery_rows(campaign)
    chosen = most_telling(rows, 10)
    assert {rows[i]["uuid"] for i in chosen} == set(told)
    assert int(np.argmax([row["uncertainty"] for row in rows])) in chosen
    assert most_telling(rows, 100) == list(range(25))


class Moving:
    """What the dynamics section asks of a campaign, with frames of a particle without a cell."""

    def __init__(self, atoms: Any) -> None:
        self.frames = []
        for number in range(12):
            frame = atoms.copy()
            frame.rattle(0.05, seed=number)
            frame.info["time_fs"] = 10.0 * number
            self.frames.append(frame)

    def log(self) -> Any:
        return sample_campaign().log()

    def state(self) -> Any:
        return sample_campaign().state()

    def trajectory(self, _: int) -> Any:
        return self.frames


def test_a_particle_without_a_cell_counts_neighbours_and_has_no_density() -> None:
    particle = Octahedron("Cu", 5, 2)
    particle.cell, particle.pbc = np.zeros((3, 3)), False
    shown = {block["title"]: block for block in dynamics(Moving(particle)).blocks}
    assert shown["Density"]["kind"] == "missing"
    trace = shown["Neighbours at a distance"]["data"][1]
    r, counts = unpacked(trace["x"]), unpacked(trace["y"])
    distances = np.array([frame.get_all_distances() for frame in Moving(particle).frames[-6:]])
    near = ((distances > 0) & (distances < 3.2)).sum() / distances.shape[0] / len(particle)
    assert (counts[r < 3.2] * (r[1] - r[0])).sum() == pytest.approx(near, rel=1e-5)


def test_pairs_of_species_are_drawn_apart() -> None:
    salt = bulk("NaCl", "rocksalt", a=5.6, cubic=True) * 2
    shown = {block["title"]: block for block in dynamics(Moving(salt)).blocks}
    names = [trace["name"] for trace in shown["Radial distribution"]["data"]]
    assert "Cl–Na, last frames" in names
    assert len(names) == 6
    assert {trace["name"] for trace in shown["Mean squared displacement"]["data"]} == {"Na", "Cl"}


def test_long_lines_keep_their_extremes() -> None:
    y = np.random.default_rng(0).normal(size=50_000)
    x, kept = thinned(np.arange(50_000), y)
    assert len(x) <= 3000
    assert (kept.max(), kept.min()) == (y.max(), y.min())
    assert (np.diff(x) > 0).all()
    assert np.isnan(unpacked(numbers([1.0, np.inf]))[1])


def test_the_head_warns_where_labels_or_uncertainty_are_no_guide(sample: Campaign) -> None:
    summary = summarise(sample)
    quiet = [block["text"] for block in head(summary).blocks if block["kind"] == "note"]
    assert quiet == [
        "Reference: EMT (stands in for DFT). All labels on this page are made by it, and all errors are against it."
    ]
    odd = {"labels_by_method": {"EMT <1>": 5, "LJ": 2}, "calibration": summary["calibration"] | {"warning": "no guide"}}
    warned = [block["text"] for block in head(summary | odd).blocks if block.get("warning")]
    assert warned == ["The labels are by several methods: 5 labels by EMT <1>, 2 labels by LJ.", "no guide."]


def test_tables_write_numbers_for_readers() -> None:
    assert table("t", "", [("a", "")], [[0.000123456], [None], [float("inf")], [-3.0], [123456]])["rows"] == [
        ["0.0001235"], ["–"], ["∞"], ["−3"], ["123\u202f456"]
    ]  # fmt: skip


def test_every_setting_has_words_and_no_word_is_of_a_setting_that_is_not_there() -> None:
    maker = tiny.maker(Path("nowhere"))
    sections = {entry.name: getattr(maker, entry.name) for entry in fields(maker)}
    known = {
        f"{section}.{entry.name}"
        for section, stage in sections.items()
        if is_dataclass(stage)
        for entry in fields(stage)
        if entry.name != "name"
    }
    top = {name for name, value in sections.items() if not is_dataclass(value)}
    assert {key for key in NAMES if "." in key} == known
    assert {key for key in NAMES if "." not in key} <= top
    assert {key for key in settings_of(maker) if "." not in key} - set(NAMES) == {
        "artifacts",
        "work",
        "queues",
        "launchpad",
    }


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("segment.schedule", [{"kind": "hold", "temperature": 300, "to": None, "steps": 20}], "300 K for 20 steps"),
        ("segment.sampler", {"name": "langevin", "timestep": None, "friction": 0.01}, "langevin, friction 0.01 1/fs"),
        (
            "bootstrap.seeds",
            ["POSCAR", {"element": "NaCl", "crystal": "rocksalt", "a": 5.64}],
            "POSCAR; rocksalt NaCl, a 5.64",
        ),
        ("bootstrap.force_field_settings", {}, "as by default"),
        ("crop.oxidation_states", {"Na": 1, "Cl": -1}, "Na 1, Cl -1"),
        ("label.labeller", {"@class": "AseLabeller", "calculator": "a.B", "kwargs": {}, "reference": None}, "a.B"),
        ("label.labeller", {"external": "VASP", "vasp": {"kind": "metal"}}, "VASP, vasp (kind metal)"),
        ("threshold", {"force_error": 0.15}, "force error 0.15"),
        ("embedding", "ides", "a crop, relaxed on its uncertainty (ides)"),
    ],
)
def test_settings_are_told_in_words(key: str, value: Any, said: str) -> None:
    assert setting_value(key, value) == said


def test_a_campaign_by_monte_carlo_has_no_time_and_no_velocities(tmp_path: Path) -> None:
    sampler = {"name": "monte-carlo", "max_displacement": 0.2, "n_moved": 20}
    state, campaign = tiny.run(tmp_path, segment={"sampler": sampler}, evaluation={"n_frames": 3})
    assert state.status == "finished"
    page = write_report(campaign, campaign.fetch, tmp_path / "report.html", tmp_path / "figures")
    json.dumps(report_data(campaign), allow_nan=False)  # a page cannot read NaN
    assert page.exists()
    drawn = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert {"temperature", "rdf", "errors"} <= drawn
    assert "msd" not in drawn
    shown = {block["title"]: block for block in dynamics(campaign).blocks}
    assert [trace["name"] for trace in shown["Temperature"]["data"]] == ["target"]
    assert shown["Mean squared displacement"]["layout"]["xaxis"]["title"]["text"] == "step"
    assert "cm²/s" not in shown["Mean squared displacement"]["hint"]
    json.dumps(summarise(campaign), allow_nan=False)
