"""What the pages show is true: configs are accepted, links lead somewhere, the README's example runs."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
import yaml
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from idealflow.workflow.config.load import load_config, maker_from_settings
from idealflow.workflow.frames.build import build_structure

ROOT = Path(__file__).parents[2]
PAGES = sorted(page for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")] if "_build" not in page.parts)
EXAMPLES = ROOT / "docs" / "examples"
NOT_OURS = {"JOB_STORE"}  # jobflow's own settings, shown in the how-to of FireWorks


def blocks(language: str) -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        matches = re.finditer(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)
        found += [(f"{page.stem}-{i}", match[1]) for i, match in enumerate(matches)]
    return found


def configs() -> list[tuple[str, dict]]:
    found = [(name, yaml.safe_load(text)) for name, text in blocks("yaml")]
    return [(name, settings) for name, settings in found if not NOT_OURS & set(settings)]


@pytest.mark.parametrize("settings", [entry[1] for entry in configs()], ids=[entry[0] for entry in configs()])
def test_config_fragments_are_accepted(settings, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)  # my_labels.py of the how-to
    structure = settings.pop("structure", None)
    force_field = settings.get("bootstrap", {}).get("force_field")
    maker = maker_from_settings(settings)
    assert maker.bootstrap.force_field == (force_field or "local")
    if isinstance(structure, dict) and "file" not in structure:
        assert len(build_structure(structure)) > 0


def test_the_tutorials_config_is_accepted():
    maker, atoms, _ = load_config(EXAMPLES / "first.yaml")
    assert len(atoms) == 255
    assert maker.label.method == "EMT (stands in for DFT)"


@pytest.mark.parametrize(("name", "source"), [("dataset", "dataset"), ("earlier", "campaign")])
def test_configs_that_build_on_the_tutorial(name, source):
    settings = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
    assert len(build_structure(settings.pop("structure"))) in (254, 255)
    assert maker_from_settings(settings).bootstrap.source == source


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" in target or target.startswith("notebooks/") or "/notebooks/" in target:
            continue  # notebooks are copied when the pages are built
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_committee_of_the_how_to_works():
    page = (ROOT / "docs" / "howto" / "uncertainty.md").read_text()
    (source,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    source = source.replace("members=4", "members=2, steps=10")  # the page's own are a minute's work
    names: dict = {"labelled": cells(4, 0.06), "new_labels": cells(1, 0.2), "frame": cells(1, 0.3)[0]}
    exec(source, names)  # noqa: S102  # our own page
    assert len(names["centres"]) > 0


def cells(n: int, amplitude: float) -> list:
    """Copper cells with labels of EMT."""
    found = []
    for seed in range(n):
        atoms = bulk("Cu", cubic=True) * 2
        atoms.rattle(amplitude, seed=seed)
        atoms.calc = EMT()
        results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "stress": atoms.get_stress()}
        atoms.calc = SinglePointCalculator(atoms, **results)
        found.append(atoms)
    return found


def test_the_example_of_an_uncertainty_of_ones_own_runs(capsys, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    runpy.run_path(str(EXAMPLES / "check_uncertainty.py"), run_name="__main__")
    printed = re.search(r"shell of \d+ atoms: (.*) -> (.*)", capsys.readouterr().out)
    assert float(printed[2]) < float(printed[1])


def test_the_example_of_stages_alone_prints_what_its_page_shows(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / "stages.py"), run_name="__main__")
    size = r"255 atoms -> (\d+), uncertainty of the shell (.*)"  # which cell is best is decided by last digits
    printed = re.search(size, capsys.readouterr().out)
    shown = re.search(size, (ROOT / "docs" / "howto" / "python.md").read_text())
    assert float(printed[2]) == pytest.approx(float(shown[2]), abs=0.3)
    assert int(printed[1]) <= 150
    assert int(shown[1]) <= 150


def test_readme_example_runs(capsys):
    (source,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names: dict = {}
    exec(source, names)  # noqa: S102  # our own page
    assert names["ides"].core.sum() < len(names["ides"].atoms) < len(names["frame"])
    assert "499 atoms" in capsys.readouterr().out
