"""Labels computed elsewhere: a campaign pauses, its cells go out, labels come back, and it goes on as if it had made them.

EMT stands in for the program outside.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.io import read, write

from idealflow import Campaign, cli
from idealflow.core.extxyz import write_extxyz
from idealflow.errors import InputError
from idealflow.labelling import in_a_box
from idealflow.storage.keys import field_key
from idealflow.workflow import IdealMaker
from idealflow.workflow.campaign.checks import check_campaign
from idealflow.workflow.config.load import maker_from_settings
from idealflow.workflow.labellers import ExternalLabeller, labeller_from_settings
from idealflow.workflow.outside.bringing import bring_labels
from idealflow.workflow.outside.matching import order_of
from idealflow.workflow.outside.requests import awaited_requests
from idealflow.workflow.outside.returned import read_returned
from support import emulated_vasp, tiny
from support.other_method import HOT
from support.program import one_line, run

SHORT: dict[str, Any] = {"evaluation": {"n_frames": 0}}
OUTSIDE = {"label": {"labeller": {"external": "EMT outside (stands in for DFT)"}}}
ENGINE = "EMT of ASE"


def computed(cells: list[Atoms], change: Callable[[Atoms, dict[str, Any]], None] | None = None) -> list[Any]:
    """What a program outside makes of the cells: extended XYZ frames with its energies, forces and stresses."""
    frames = []
    for cell in cells:
        atoms = cell.copy()
        atoms.calc = EMT()
        results = {"energy": float(atoms.get_potential_energy()), "forces": atoms.get_forces()}
        if atoms.pbc.all():
            stress = atoms.get_stress()
            results["stress"] = stress[[0, 5, 4, 5, 1, 3, 4, 3, 2]]
        if change is not None:
            change(atoms, results)
        columns = {"forces": results.pop("forces")} if "forces" in results else {}
        frames.append((atoms, {"request_key": cell.info["request_key"]} | results, columns))
    return frames


class Outside:
    """A campaign in a folder whose labels are computed elsewhere."""

    def __init__(self, config: Path, folder: Path, tmp_path: Path) -> None:
        self.config, self.folder, self._tmp = config, folder, tmp_path

    def run(self, *options: str) -> dict[str, Any]:
        assert run(self.config, self.folder, "--quiet", *options) == 0
        return json.loads((self.folder / "summary.json").read_text())

    def cells(self, *options: str) -> list[Atoms]:
        file = self._tmp / "cells.extxyz"
        assert cli.main(["export", str(self.folder), str(file), "--requests", "--force", *options]) == 0
        return read(file, ":")

    def bring(self, frames: list[Any], *options: str) -> int:
        file = self._tmp / "labels.extxyz"
        write_extxyz(file, frames)
        return cli.main(["import", str(self.folder), str(file), *options])


@pytest.fixture
def outside(config: Callable[..., Path], tmp_path: Path) -> Outside:
    path = config(**OUTSIDE)
    return Outside(path, tmp_path / "out", tmp_path)


def test_a_campaign_goes_on_as_if_it_had_made_the_labels(
    outside: Outside, capsys: pytest.CaptureFixture[str], tmp_path: Path, finished: Any
) -> None:
    pauses = []
    while (summary := outside.run())["status"] == "paused":
        cells = outside.cells()
        pauses.append(len(cells))
        assert f"{len(cells)} label" in summary["reason"]
        assert "--requests` writes" in summary["reason"]
        capsys.readouterr()
        assert cli.main(["status", str(outside.folder)]) == 0
        assert "paused" in (told := capsys.readouterr().out)
        assert "awaited from outside" in told
        assert outside.bring(computed(cells), "--engine", ENGINE) == 0
        assert "none is awaited any more" in capsys.readouterr().out
        assert len(pauses) < 20
    assert summary["status"] == "finished"
    assert pauses[0] == 8  # all of the bootstrap at once
    campaign, inside = Campaign.open(outside.folder), finished.campaign
    assert campaign.state().learner.force_field.sha256 == inside.state().learner.force_field.sha256
    assert [doc.request_key for doc in campaign.substructures()] == [doc.request_key for doc in inside.substructures()]
    for one, other in zip(campaign.dataset(), inside.dataset(), strict=True):
        assert one.get_potential_energy() == other.get_potential_energy()
        assert np.array_equal(one.get_forces(), other.get_forces())
    assert {doc.engine for doc in campaign.substructures(state="accepted")} == {ENGINE}
    assert summary["n_failed_labels"] == 0
    assert len(campaign.evaluation().frames) == 3  # whole frames were asked for, too
    assert summary["t_sub_s"] is summary["t_entire_s"] is summary["R_AL"] is None  # nobody said how long a label took
    assert not list((outside.folder / "work").glob("label-*"))

    assert cli.main(["export", str(outside.folder), str(tmp_path / "set.xyz")]) == 0
    assert ENGINE in (tmp_path / "set.card.md").read_text()
    capsys.readouterr()
    assert cli.main(["export", str(outside.folder), str(tmp_path / "more.xyz"), "--requests"]) == 2
    assert "waits for no label from outside" in one_line(capsys)


def test_labels_may_come_back_in_parts_and_twice_and_are_never_replaced(
    outside: Outside, capsys: pytest.CaptureFixture[str]
) -> None:
    outside.run()
    frames = computed(outside.cells())
    capsys.readouterr()
    assert outside.bring(frames[:3], "--engine", ENGINE) == 0
    assert "3 labels stored; 5 still awaited" in capsys.readouterr().out
    assert outside.run()["reason"].startswith("5 labels are awaited")
    assert len(outside.cells()) == 5
    capsys.readouterr()
    assert outside.bring(frames[:4], "--engine", ENGINE) == 0
    assert "1 label stored, 3 there already; 4 still awaited" in capsys.readouterr().out

    frames[0][1]["energy"] += 0.5
    assert outside.bring(frames, "--engine", ENGINE) == 2
    assert "has a label already (accepted, by EMT of ASE), which is never replaced" in one_line(capsys)
    assert len(Campaign.open(outside.folder).labels(state="awaited")) == 4  # all of a file or none

    stress = frames[4][1].pop("stress")
    assert outside.bring(frames[4:5], "--engine", ENGINE) == 0
    assert "1 of them, of periodic cells, came without a stress" in capsys.readouterr().out
    assert outside.bring(frames[4:5], "--engine", ENGINE) == 0
    assert "0 labels stored, 1 there already" in capsys.readouterr().out
    frames[4][1]["stress"] = stress  # what is stored has none: not the same label
    assert outside.bring(frames[4:5], "--engine", ENGINE) == 2
    assert "which is never replaced" in one_line(capsys)


def test_a_label_that_failed_outside_is_a_failed_label(outside: Outside, capsys: pytest.CaptureFixture[str]) -> None:
    outside.run()

    def fails(atoms: Atoms, results: dict[str, Any]) -> None:
        if atoms.info["request_key"].endswith("2"):
            results.clear()
            results["failed"] = "SCF did not converge"

    frames = computed(outside.cells(), fails)
    capsys.readouterr()
    assert outside.bring(frames, "--engine", ENGINE) == 0
    assert "7 labels stored, 1 stored as failed; none is awaited" in capsys.readouterr().out
    outside.run("--max-rounds", "1")
    campaign = Campaign.open(outside.folder)
    assert campaign.bootstrap().failed == {"tiny/bootstrap/000002": "SCF did not converge"}
    assert campaign.bootstrap().n_labelled_here == 7


def moved(atoms: Atoms, _: dict[str, Any]) -> None:
    atoms.positions[3] += 0.01


def strained(atoms: Atoms, _: dict[str, Any]) -> None:
    atoms.set_cell(atoms.cell.array * 1.01, scale_atoms=True)


def other_species(atoms: Atoms, _: dict[str, Any]) -> None:
    atoms.numbers[0] = 79


def not_finite(_: Atoms, results: dict[str, Any]) -> None:
    results["forces"][0, 0] = np.nan


def short(_: Atoms, results: dict[str, Any]) -> None:
    del results["energy"]


def in_hartree(_: Atoms, results: dict[str, Any]) -> None:
    results["energy"] /= 27.211386


def with_the_opposite_sign(_: Atoms, results: dict[str, Any]) -> None:
    results["forces"] *= -1


def far_away(atoms: Atoms, results: dict[str, Any]) -> None:
    if atoms.info["request_key"].endswith("4"):
        results["energy"] += 100.0


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Atoms]]:
    """A campaign that waits for the labels of its bootstrap, and its cells; read only."""
    from support.program import write_config

    folder = tmp_path_factory.mktemp("waiting")
    campaign = Outside(write_config(folder, **SHORT, **OUTSIDE), folder / "out", folder)
    assert campaign.run()["status"] == "paused"
    return folder / "out", campaign.cells()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (moved, "atom 3 (Cu) has moved by 0.0173 Å; label the positions as they were written"),
        (strained, "label the cell as it was written, neither turned nor strained"),
        (other_species, "it is AuCu31, asked for was Cu32"),
        (not_finite, "finite"),
        (short, "energy"),
        (in_hartree, "Hartree for energies would explain it"),
        (with_the_opposite_sign, "the opposite sign"),
        (far_away, "tiny/bootstrap/000004 has 3.1"),
    ],
)
def test_what_is_wrong_with_labels_is_said_and_nothing_is_stored(
    waiting: tuple[Path, list[Atoms]], tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Any, told: str
) -> None:
    folder, cells = waiting
    write_extxyz(tmp_path / "labels.extxyz", computed(cells, change))
    assert cli.main(["import", str(folder), str(tmp_path / "labels.extxyz"), "--engine", ENGINE]) == 2
    assert told in one_line(capsys)
    assert len(Campaign.open(folder).labels(state="awaited")) == len(cells)


def test_labels_need_their_key_and_their_engine(
    waiting: tuple[Path, list[Atoms]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, cells = waiting
    file, frames = tmp_path / "labels.extxyz", computed(cells)

    def refused(*options: str) -> str:
        assert cli.main(["import", str(folder), str(file), *options]) == 2
        return one_line(capsys)

    assert "labels.extxyz does not exist" in refused()
    write_extxyz(file, frames)
    assert "nothing says what computed tiny/bootstrap/000000; give --engine" in refused()
    write_extxyz(file, [*frames, frames[0]])
    assert "has two labels for tiny/bootstrap/000000" in refused("--engine", ENGINE)
    del frames[1][1]["request_key"]
    write_extxyz(file, frames)
    assert "structure 1 of" in refused("--engine", ENGINE)
    frames[1][1]["request_key"] = "tiny/bootstrap/000080"
    write_extxyz(file, frames)
    assert "never asked for tiny/bootstrap/000080 (did you mean 'tiny/bootstrap/00000" in refused("--engine", ENGINE)
    frames[1][1].update(request_key="tiny/bootstrap/000001", engine="another program")
    write_extxyz(file, frames)
    assert "the labels are by several engines: EMT of ASE, another program" in refused("--engine", ENGINE)


def test_doubtful_labels_can_be_accepted(outside: Outside, capsys: pytest.CaptureFixture[str]) -> None:
    outside.run()
    frames = computed(outside.cells(), far_away)
    assert outside.bring(frames, "--engine", ENGINE) == 2
    assert "or give --accept-doubtful to take them as they are" in one_line(capsys)
    assert outside.bring(frames, "--engine", ENGINE, "--accept-doubtful") == 0


def test_an_import_that_is_killed_leaves_all_labels_or_none(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    outside.run()
    frames = computed(outside.cells())

    class Killed(BaseException):
        pass

    written = []

    def killed(document: dict[str, Any], field: str) -> Any:
        written.append(document["output"]["request_key"])
        if len(set(written)) == 5:  # in the middle of the fifth document
            raise Killed
        return field_key(document, field)

    with monkeypatch.context() as patch:
        patch.setattr("idealflow.storage.table.field_key", killed)
        with pytest.raises(Killed):
            outside.bring(frames, "--engine", ENGINE)
    assert len(set(written)) == 5
    assert len(Campaign.open(outside.folder).labels(state="awaited")) == 8
    assert outside.bring(frames, "--engine", ENGINE) == 0
    assert len(Campaign.open(outside.folder).labels(state="accepted")) == 8


def vasp_run(folder: Path, steps: int = 3) -> None:
    """Write the vasprun.xml of a static run of the POSCAR in a folder; EMT stands in for VASP."""
    atoms = read(folder / "POSCAR")
    atoms.calc = EMT()
    incar = {"NELM": "60", "NSW": "0", "ISMEAR": "1", "ISPIN": "1", "EDIFF": "1E-6", "ENCUT": "300", "GGA": "PE"}
    stress = -emulated_vasp.KBAR * atoms.get_stress(voigt=False)
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    done = emulated_vasp.Run(atoms, incar, [1, 1, 1], "Gamma", energy, forces, stress, steps)
    (folder / "vasprun.xml").write_text(emulated_vasp.vasprun(done))


def test_cells_for_vasp_and_its_runs(
    config: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labeller = {"external": "VASP PBE (EMT stands in)", "vasp": {"kind": "metal", "incar": {"ENCUT": 300}}}
    campaign = Outside(config(**SHORT, label={"labeller": labeller}), tmp_path / "out", tmp_path)
    campaign.run()
    folder = tmp_path / "runs"
    command = ["export", str(campaign.folder), str(folder), "--requests", "--format", "vasp"]
    bring = ["import", str(campaign.folder), str(folder)]
    assert cli.main(command) == 0
    places = sorted(folder.iterdir())
    assert [place.name for place in places] == [f"tiny_bootstrap_{number:06d}" for number in range(8)]
    assert "ENCUT = 300" in (places[0] / "INCAR").read_text()
    assert (places[0] / "KPOINTS").is_file()
    assert json.loads((places[0] / "request.json").read_text()) == {"request_key": "tiny/bootstrap/000000"}
    capsys.readouterr()
    assert cli.main(command) == 2
    assert "give --force to replace it" in one_line(capsys)
    assert cli.main([*command, "--force"]) == 0
    capsys.readouterr()
    assert cli.main(bring) == 2
    assert "has no vasprun.xml in any of its 8 folders yet" in one_line(capsys)
    (places[0] / "vasprun.xml").write_text("<modeling>")
    assert cli.main([*command, "--force"]) == 2  # runs are not thrown away
    assert "holds files that no export wrote" in one_line(capsys)
    assert cli.main(bring) == 2
    assert "vasprun.xml cannot be read" in one_line(capsys)
    vasp_run(places[0], steps=60)
    assert cli.main(bring) == 2
    assert "vasprun.xml: the electrons did not converge; let it run again, or write the cause into" in one_line(capsys)

    (places[0] / "failed.txt").write_text("the electrons did\nnot converge\n")
    for place in places[1:7]:
        vasp_run(place)
    assert cli.main(bring) == 0
    told = capsys.readouterr().out
    assert "1 of 8 folders have no vasprun.xml yet" in told
    assert "6 labels stored, 1 stored as failed; 1 still awaited" in told
    docs = {doc.request_key: doc for doc in Campaign.open(campaign.folder).labels()}
    assert docs["tiny/bootstrap/000000"].cause == "the electrons did not converge"
    for number in range(1, 7):
        doc = docs[f"tiny/bootstrap/{number:06d}"]
        assert doc.engine.startswith("VASP 6")
        atoms = Campaign.open(campaign.folder).labelled(doc)
        forces, stress = atoms.get_forces(), atoms.get_stress()
        atoms.calc = EMT()
        assert np.allclose(atoms.get_forces(), forces, rtol=0, atol=1e-6)
        assert np.allclose(atoms.get_stress(), stress, rtol=0, atol=1e-6)


def test_atoms_may_come_back_in_another_order(outside: Outside) -> None:
    outside.run()
    assert outside.bring(computed([cell[::-1] for cell in outside.cells()]), "--engine", ENGINE) == 0
    campaign = Campaign.open(outside.folder)
    for doc in campaign.labels(state="accepted"):
        atoms = campaign.labelled(doc)
        forces = atoms.get_forces()
        atoms.calc = EMT()
        assert np.allclose(atoms.get_forces(), forces, rtol=0, atol=1e-10)


def test_learned_labels_are_made_again_outside(folder: Path, tmp_path: Path) -> None:
    label = OUTSIDE["label"] | {"other_method": "relabel"}
    state, campaign = tiny.run(folder, label=label, max_rounds=1, **HOT)
    learned = len(campaign.dataset())
    assert (state.status, state.reason.split()[0]) == ("paused", str(learned))
    cells = awaited_requests(campaign)
    for key, cell in cells.items():
        cell.info["request_key"] = key

    def with_another_zero(atoms: Atoms, results: dict[str, Any]) -> None:
        results["energy"] -= 3.5 * len(atoms)

    write_extxyz(tmp_path / "labels.extxyz", computed(list(cells.values()), with_another_zero))
    done = bring_labels(campaign, read_returned(tmp_path / "labels.extxyz"), ENGINE)
    assert (done.stored, done.awaited) == (learned, 0)
    state, campaign = tiny.run(folder, label=label, max_rounds=1, **HOT)
    assert len(campaign.relabellings()[0].relabelled) == learned
    assert all(atoms.get_potential_energy() / len(atoms) < -3.0 for atoms in campaign.dataset())


def test_a_queue_has_nobody_who_brings_labels_back() -> None:
    maker: IdealMaker = maker_from_settings(tiny.settings(**OUTSIDE, continuation="launchpad"))
    with pytest.raises(InputError, match="external is for campaigns that pause and go on here"):
        check_campaign(maker, tiny.frame())


def test_a_check_says_where_labels_come_from(config: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = str(config(**SHORT, **OUTSIDE))
    assert cli.main(["check", path]) == 0
    assert (
        "EMT outside (stands in for DFT) is computed elsewhere: the campaign pauses for its labels"
        in capsys.readouterr().out
    )
    assert cli.main(["check", path, "--label"]) == 2
    assert "no label can be tried: EMT outside (stands in for DFT) is computed elsewhere" in capsys.readouterr().err


def test_the_settings_of_an_external_labeller() -> None:
    labeller = labeller_from_settings({"external": "PBE", "settings": {"cutoff": 520}})
    assert isinstance(labeller, ExternalLabeller)
    assert ExternalLabeller.from_dict(labeller.as_dict()) == labeller
    assert labeller.science() != ExternalLabeller("PBE").science()
    for wrong, told in (
        ({"external": " "}, "got nothing"),
        ({"external": "PBE", "vsp": {}}, "unknown key labeller.vsp (did you mean 'vasp'?)"),
        ({"external": "PBE", "vasp": {"knd": "metal"}}, "`vasp` has the arguments of idealflow.vasp_static"),
        ({"external": "PBE", "maker": "x.y"}, "both external and maker"),
    ):
        with pytest.raises(InputError, match=None) as refused:
            labeller_from_settings(wrong)
        assert told in str(refused.value)


def test_a_particle_comes_back_in_its_box(tmp_path: Path) -> None:
    particle = Atoms("Cu4Au", [[0, 0, 0], [2.5, 0, 0], [0, 2.5, 0], [0, 0, 2.5], [2.5, 2.5, 0]])
    boxed = in_a_box(particle)
    write(tmp_path / "POSCAR", boxed, format="vasp", direct=True, sort=True)
    back = read(tmp_path / "POSCAR", format="vasp")
    assert back.get_chemical_symbols() != particle.get_chemical_symbols()
    order = order_of(back, particle)
    assert [back.symbols[i] for i in order] == list(particle.symbols)
    assert np.allclose(back.positions[order], boxed.positions, atol=1e-9)
