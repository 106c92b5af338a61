"""Reports and summaries of the campaigns at the paper's size, which the pages unpack and show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from idealflow.provenance import CampaignChain, sample_campaign
from idealflow.report.page import rendered, report_data
from workbench import reports


@pytest.mark.parametrize("file", reports.kept_files(), ids=lambda file: "-".join(file.parts[-3::2]))
def test_each_campaign_has_the_summary_of_its_row_and_a_page(file: Path, tmp_path: Path) -> None:
    ancestry = json.loads((file.parent / file.name.replace(reports.ENDING, ".json")).read_text())["ancestry"]
    summaries, pages = reports.kept_texts(file, "json"), reports.kept_texts(file, "html")
    assert list(summaries) == list(pages) == [row["campaign"] for row in ancestry]
    reports.unpack(tmp_path)
    size = file.name.removesuffix(reports.ENDING)
    shown = reports.summaries(file.parts[-3], size)
    for row in ancestry:
        name, summary = row["campaign"], json.loads(summaries[row["campaign"]])
        assert summary["status"] == ("running" if size == "m3gnet-paper" else "finished")  # that is a stretch
        assert summary["n_steps"] == row["n_steps"]
        assert summary["n_labelled_frames"] == row["n_labelled_frames"]
        assert summary["n_substructures"] + summary["n_bootstrap_labels"] == row["n_own_labels"]
        assert (tmp_path / reports.page_of(name, size)).read_text() == pages[name]
        assert name in pages[name]
        assert f"reports/{reports.page_of(name, size)}" in shown


def test_lithium_and_alumina_have_reports() -> None:
    assert {"li_melting", "al2o3"} <= {file.parts[-3] for file in reports.kept_files()}


def test_what_is_kept_names_no_folder_of_the_machine(tmp_path: Path) -> None:
    campaign = sample_campaign(tmp_path / "sample")
    assert str(tmp_path) in rendered(report_data(campaign))  # it names the file that the sample lacks
    reports.write_reports(CampaignChain([campaign]), tmp_path / "kept.tar.xz")
    for kind in ("json", "html"):
        [text] = reports.kept_texts(tmp_path / "kept.tar.xz", kind).values()
        assert str(tmp_path) not in text
