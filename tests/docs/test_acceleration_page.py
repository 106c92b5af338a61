"""The page of accelerations: the paper's own lines, ours by the same arithmetic, and substructures counted by frame."""

from __future__ import annotations

import pytest

from idealflow.analysis import acceleration
from idealflow.report.sections.cost import PAPER
from workbench import acceleration_tables as tables


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


def spaced(number: int) -> str:
    return f"{number:,}".replace(",", " ")


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_lines_agree_with_the_definitions(name):
    t_sub, t_entire, n_steps, n_frames, per_frame, *gains = PAPER[name]
    found = acceleration(
        t_sub=t_sub,
        t_entire=t_entire,
        n_steps=n_steps,
        n_labelled_frames=n_frames,
        n_substructures=round(n_frames * per_frame),
    )
    for ours, theirs in zip((found.R_AL, found.R_FPMD), gains, strict=True):
        assert ours == pytest.approx(theirs, rel=2e-3)


def test_our_lines_agree_with_the_definitions():
    measured = [row for _, row, _ in tables.campaigns() if row["t_entire_s"] is not None]
    assert any(row["campaign"] == "li-gpaw" for row in measured)
    for row in measured:
        assert row["R_AL"] == pytest.approx(row["t_entire_s"] / (row["t_sub_s"] * row["L"]), rel=2e-3)
        assert row["R_FPMD"] == pytest.approx(row["R_AL"] * row["n_steps"] / row["n_labelled_frames"], rel=2e-3)


def test_every_campaign_with_whole_frames_has_a_line():
    found = cells(tables.accelerations())
    measured = [
        (tables.name_of(system, row), row) for system, row, _ in tables.campaigns() if row["t_entire_s"] is not None
    ]
    assert len(found) == len(measured) + len(PAPER)
    for name, row in measured:
        [line] = [line for line in found if (line[0], line[2]) == (name, spaced(row["n_atoms"]))]
        assert float(line[8].replace(" ", "")) == pytest.approx(row["R_AL"], rel=0.06)


def test_substructures_are_counted_by_frame():
    found = cells(tables.per_frame())
    for system, row, substructures in tables.campaigns():
        [line] = [line for line in found if line[:2] == [spaced(row["n_atoms"]), tables.name_of(system, row)]]
        assert int(line[2]) == row["n_labelled_frames"]
        assert float(line[3]) == pytest.approx(row["L"], abs=0.006)
        assert len(substructures) == round(row["L"] * row["n_labelled_frames"])
        assert sum(int(cell.removesuffix(" %")) for cell in line[4:8]) == pytest.approx(100, abs=2)


def test_a_law_of_lithium_is_used_within_its_sizes_alone():
    rows = {row["campaign"]: (row, found) for system, row, found in tables.campaigns() if system.size == "quick"}
    assert not tables.gain_by_law(*rows["li-fcc"]).startswith("(")
    assert tables.gain_by_law(*rows["li-polycrystal"]).startswith("(")


def test_labels_are_counted_within_their_steps_and_decline_where_the_page_says_so():
    counted, rows = tables.counted_labels(), cells(tables.labels_before_and_now())
    for each, row in zip(counted, rows, strict=True):
        assert row[4].split(" in ") == [str(len(each.at)), spaced(each.n_steps)]
        assert all(0 <= at <= each.n_steps for at in each.at)
        assert int(row[6]) == sum(at <= each.trial[1] for at in each.at)
    lithium, alumina, iridium = rows
    assert float(lithium[8]) < 0.1 * float(lithium[7])
    assert int(alumina[6]) == 0
    assert float(iridium[5]) < 0.1 * float(iridium[3])
