"""Bad input is one line on stderr, exit status 2, and nothing computed; numbers are read as people write them."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest
from ase.build import bulk
from hypothesis import given
from hypothesis import strategies as st

from idealflow import cli
from idealflow.config_text import dump_yaml, load_yaml
from idealflow.workflow.config.load import load_config
from support import tiny

LABELLER = {"calculator": tiny.EMT}
MAKER = {"maker": "idealflow.workflow.labellers.vasp.vasp_static"}
SOAP = {"n_max": 3, "l_max": 3, "r_cut": 3.0, "sigma": 0.3}


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the program, see that it refuses with one line and writes nothing; the line."""

    def run(*arguments: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        assert cli.main([str(argument) for argument in arguments]) == 2
        text = capsys.readouterr()
        assert text.err.startswith("idealflow: "), text.err
        assert text.err.count("\n") == 1
        assert text.out == ""
        assert sorted(tmp_path.rglob("*")) == before
        return text.err

    return run


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "an oxidation state missing": (
        {"crop": {"oxidation_states": {"O": -2}}},
        "crop.oxidation_states must name every species of the frame; Cu missing, got O; add them",
    ),
    "an oxidation state of no element": (
        {"crop": {"oxidation_states": {"Cu": 0, "Qq": 1}}},
        "crop.oxidation_states must be keyed by chemical symbols, got ['Qq']",
    ),
    "reversed rattle": ({"bootstrap": {"rattle": [0.2, 0.1]}}, "bootstrap: rattle must be two numbers in Å, 0 <= lowest"),
    "negative rattle": ({"bootstrap": {"rattle": [-0.2, 0.1]}}, "got [-0.2, 0.1]"),
    "no seeds": ({"bootstrap": {"seeds": []}}, "bootstrap: seeds must hold at least one structure"),
    "empty name": ({"campaign": ""}, "campaign: string should have at least 1 character"),
    "long name": ({"campaign": "x" * 5000}, "campaign: string should have at most 200 characters"),
    "half a vacancy": ({"structure": {"element": "Cu", "cubic": True, "vacancies": 2.5}}, "whole number, got 2.5"),
    "vacancies in words": ({"structure": {"element": "Cu", "cubic": True, "vacancies": "two"}}, "whole number, got 'two'"),
    "negative seed": ({"structure": {"element": "Cu", "cubic": True, "seed": -1}}, "seed of a structure must be at least 0"),
    "missing structure": ({"structure": "no.cif"}, "relative to the config"),
    "structure is a folder": ({"structure": "."}, "is a folder or no ordinary file"),
    "dataset is missing": ({"bootstrap": {"dataset": "no.xyz"}}, "relative to the config"),
    "too hot": ({"segment": {"max_temperature": 1999.0}}, "max_temperature = 1999 K"),
    "atoms of ordinary speed": ({"segment": {"max_kinetic_energy": 0.5}}, "max_kinetic_energy = 0.5 eV"),
    "too hot at the start": ({"segment": {"start_temperature": 3e4}}, "highest temperature, 30000 K"),
    "long step": ({"segment": {"sampler": {"name": "langevin", "timestep": 2000}}}, "at most 100 fs, got 2000"),
    "threshold by a wrong name": (
        {"threshold": "automatic"},
        "threshold: must be auto, a number above 0, or {force_error: NUMBER} in eV/Å, got 'automatic'",
    ),
    "infinite threshold": ({"threshold": float("inf")}, "threshold must be a finite number, got inf"),
    "infinite force": ({"segment": {"max_force": float("inf")}}, "segment.max_force must be a finite number"),
    "no calculator": ({"label": {"labeller": {"calculator": "os.system"}}}, "os.system is no ASE calculator"),
    "class of another kind": ({"label": {"labeller": {"calculator": "ase.Atom"}}}, "ase.Atom is no ASE calculator"),
    "missing calculator": ({"label": {"labeller": {"calculator": "my_pots.Pot"}}}, "there is no module 'my_pots' beside"),
    "two import folders": ({"label": {"labeller": LABELLER | {"import_from": "/nowhere"}}}, "import_from /nowhere is not"),
    "maker that refuses": ({"label": {"labeller": {"maker": "ase.Atoms", "kwargs": {"x": 1}}}}, "{'x': 1}: TypeError"),
    "unknown key of a dataset": ({"bootstrap": {"dataset": "d", "keys": {"energi": "E"}}}, "bootstrap.keys: input should be"),
    "keys without a dataset": ({"bootstrap": {"keys": {"energy": "E"}}}, "keys are names in a dataset"),
    "maker of something else": ({"label": {"labeller": {"maker": "ase.Atoms"}}}, "is no atomate2 static maker: it makes Atoms"),
    "time limit in words": ({"label": {"labeller": LABELLER | {"time_limit_s": "1h"}}},
        "`time_limit_s` must be a number or null"),
    "time limit of truth": ({"label": {"labeller": LABELLER | {"time_limit_s": True}}}, "number or null, got True"),
    "kwargs as a list": ({"label": {"labeller": LABELLER | {"kwargs": [1]}}},
        "label: labeller: `kwargs` must be a mapping, got [1]"),
    "reference as a number": ({"label": {"labeller": LABELLER | {"reference": 5}}}, "`reference` must be text or null, got 5"),
    "calculator as a number": ({"label": {"labeller": {"calculator": 5}}}, "`calculator` must be text, got 5"),
    "cores in words": ({"label": {"labeller": MAKER | {"cores": "x"}}}, "`cores` must be a whole number, got 'x'"),
    "no cores": ({"label": {"labeller": MAKER | {"cores": 0}}}, "`cores` must be at least 1, got 0"),
    "key of a labeller": ({"label": {"labeller": LABELLER | {"references": "x"}}},
        "unknown key labeller.references (did you mean 'reference'?)"),
    "misspelt calculator": ({"label": {"labeller": {"calculater": tiny.EMT}}}, "(did you mean 'calculator'?); give either"),
    "two engines": ({"label": {"labeller": LABELLER | MAKER}}, "labeller has both calculator and maker"),
    "timestep in words": ({"segment": {"sampler": {"name": "langevin", "timestep": "two"}}},
        "segment: sampler 'langevin': `timestep` must be a number or null, got 'two'"),
    "no friction": ({"segment": {"sampler": {"name": "langevin", "friction": None}}},
        "`friction` must be a number, got None; leave it out for the default, 0.01"),
    "truth as friction": ({"segment": {"sampler": {"name": "langevin", "friction": True}}},
        "`friction` must be a number, got True"),
    "half an atom": ({"segment": {"sampler": {"name": "monte-carlo", "n_moved": 1.5}}},
        "`n_moved` must be a whole number, got 1.5"),
    "shape in words": ({"segment": {"sampler": {"name": "npt", "hydrostatic": "no"}}}, "`hydrostatic` must be true or false"),
    "setting of a sampler": ({"segment": {"sampler": {"name": "nve", "timestap": 1}}}, "did you mean 'timestep'?"),
    "sampler in a list": ({"segment": {"sampler": {"name": ["nve"]}}}, "unknown sampler ['nve']"),
    "temperature in words": ({"segment": {"schedule": [{"kind": "hold", "temperature": "hot", "steps": 10}]}}, "got 'hot'"),
    "no kind": ({"segment": {"schedule": [{"temperature": 300, "steps": 10}]}}, "kind is missing"),
    "fixed atom beyond the last": ({"segment": {"fixed_atoms": [200]}},
        "segment.fixed_atoms must be indices of the 107 atoms, 0 to 106"),
    "negative fixed atom": ({"segment": {"fixed_atoms": [-1]}}, "0 to 106, got -1"),
    "one width": ({"bootstrap": {"force_field_settings": {"hidden": 8}}},
        "bootstrap.force_field_settings: hidden must be a list of whole numbers"),
    "width in words": ({"bootstrap": {"force_field_settings": {"hidden": "8"}}}, "got '8'"),
    "cutoff with its unit": ({"bootstrap": {"force_field_settings": {"cutoff": "4A"}}},
        "bootstrap.force_field_settings: cutoff must be a positive number, got '4A'"),
    "steps in words": ({"bootstrap": {"force_field_settings": {"fit_steps": "many"}}}, "fit_steps must be a whole number"),
    "unknown setting of a force field": ({"bootstrap": {"force_field_settings": {"width": 8}}}, "argument 'width'"),
    "device of a force field": (
        {"bootstrap": {"force_field": "m3gnet-small", "force_field_settings": {"device": "cuda"}}},
        "IDEALFLOW_FORCE_FIELD_DEVICE=cuda",
    ),
    "species of a force field": ({"bootstrap": {"force_field_settings": {"species": ["Cu"]}}}, "species is the campaign's"),
    "radius in words": ({"bootstrap": {"soap": SOAP | {"r_cut": "3.0x"}}}, "bootstrap.soap: r_cut must exceed 1 Å, got '3.0x'"),
    "unknown compression": (
        {"bootstrap": {"soap": SOAP | {"compression": {"mode": "mu3"}}}},
        "bootstrap.soap: compression must be {mode: mu1nu1 | crossover | mu2}, got {'mode': 'mu3'}",
    ),
    "angles in words": ({"bootstrap": {"soap": SOAP | {"l_max": "x"}}}, "bootstrap.soap: l_max must be a whole number"),
    "one rattle": ({"bootstrap": {"rattle": 0.1}},
        "bootstrap.rattle: must be a pair [lowest, highest] of standard deviations in Å"),
    "rattle of one": ({"bootstrap": {"rattle": [0.1]}}, "e.g. [0.02, 0.2], got [0.1]"),
    "all held out": ({"bootstrap": {"held_out": 0.99}}, "bootstrap.held_out = 0.99 of 8 structures keeps 8 out of training"),
    "unknown element": ({"structure": {"element": "Xx"}}, "structure.element 'Xx': unknown element 'Xx'; give a chemical symbol"),
    "element in a list": ({"structure": {"element": ["Cu"]}}, "structure.element ['Cu']: it is no formula"),
    "misspelt builder": (
        {"structure": {"element": "Cu", "repaet": 2}},
        "unknown key 'repaet' in structure (did you mean 'repeat'?); one of this kind has a, c, crystal, cubic, element, repeat,",
    ),
    "misspelt SOAP": (
        {"bootstrap": {"soap": {"n_max": 3, "l_max": 3, "r_cut": 3.0, "sigm": 0.3}}},
        "bootstrap.soap has r_cut, n_max, l_max, sigma and compression, and got l_max, n_max, r_cut, sigm",
    ),
    "misspelt force field setting": (
        {"bootstrap": {"force_field_settings": {"cutof": 4.0}}},
        "unexpected keyword argument 'cutof' (did you mean 'cutoff'?); its settings are cutoff,",
    ),
    "no repeat": ({"structure": {"element": "Cu", "repeat": 0}}, "structure.repeat must be a whole number of at least 1"),
    "file as a number": ({"structure": {"file": 5}}, "structure.file must be the name of a file, got 5"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), BAD.values(), ids=BAD)
def test_impossible_values(
    changes: dict[str, Any], message: str, config: Callable[..., Path], refused: Callable[..., str], tmp_path: Path
) -> None:
    assert message in refused("run", config(**changes), "--out", tmp_path / "out")


TEXTS = {
    "key twice": ("structure: {}\nseed: 1\nsegment: {}\nseed: 2\n", "line 4: the key 'seed' is given twice, first in line 2"),
    "nested key twice": ("structure: {element: Cu}\nsegment:\n  max_force: 1\n  max_force: 2\n", "line 4: the key 'max_force'"),
    "key twice in braces": ("structure: {element: Cu, a: 3, a: 4}\n", "line 1: the key 'a' is given twice"),
    "text for a number": ("structure: {element: Cu}\nn_walkers: 1e\n", "n_walkers: input should be a valid integer"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), TEXTS.values(), ids=TEXTS)
def test_impossible_texts(text: str, message: str, refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    assert message in refused("run", tmp_path / "c.yaml", "--out", tmp_path / "out")


def test_a_default_labeller_that_is_not_there(
    refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    (tmp_path / "c.yaml").write_text("structure: {element: Cu, a: 3.62, cubic: true}\nlearn: false\n")
    message = refused("run", tmp_path / "c.yaml", "--out", tmp_path / "out")
    assert "the labeller is the default, VASP; label: {labeller: {calculator: ...}} or" in message
    assert "is not on PATH; set ATOMATE2_VASP_CMD" in message


def test_a_later_labeller_that_is_not_there(
    config: Callable[..., Path],
    refused: Callable[..., str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    out, small = tmp_path / "out", {"bootstrap": {"n_structures": 3, "fit_steps": 5}}
    assert cli.main(["run", str(config(**small)), "--out", str(out), "--quiet", "--max-rounds", "1"]) == 0
    capsys.readouterr()
    changed = config(**small, label={"labeller": MAKER, "other_method": "keep"})
    before = (out / "config.yaml").read_text(), (out / "summary.json").read_text()
    message = refused("run", changed, "--out", out)
    assert "VASP cannot label on this machine" in message
    assert "no labeller" not in message
    assert ((out / "config.yaml").read_text(), (out / "summary.json").read_text()) == before


def test_a_folder_as_config(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "is a folder" in refused("run", tmp_path, "--out", tmp_path / "out")


def test_a_calculator_whose_module_fails(
    config: Callable[..., Path], refused: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "failing_pot.py").write_text("1 / 0\n")
    path = config(label={"labeller": {"calculator": "failing_pot.Pot"}})
    line = refused_beside_cache(refused, "run", path, "--out", tmp_path / "out")
    assert "cannot import 'failing_pot.Pot' (ZeroDivisionError: division by zero)" in line


def refused_beside_cache(refused: Callable[..., str], *arguments: object) -> str:
    """As ``refused``, for a module beside the config, of which Python would write a compiled copy."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        return refused(*arguments)
    finally:
        sys.dont_write_bytecode = before


@pytest.mark.parametrize("threads", ["0", "-1", "many"])
def test_an_impossible_number_of_threads(
    threads: str,
    config: Callable[..., Path],
    refused: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("IDEALFLOW_THREADS", threads)
    assert "IDEALFLOW_THREADS: input should be" in refused("run", config(), "--out", tmp_path / "out")


def test_an_impossible_out_folder(config: Callable[..., Path], refused: Callable[..., str], tmp_path: Path) -> None:
    path = config()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for out, message in (
        ("/proc/campaign", "/proc/campaign cannot be made a folder"),
        (tmp_path / ("x" * 300), "File name too long"),
        (tmp_path / "file", "is a file, --out must be a folder"),
        (tmp_path / "file" / "out", "cannot be"),
        (tmp_path / "link", "which does not exist; mend the link"),
    ):
        assert message in refused("run", path, "--out", out)
    assert (tmp_path / "file").read_text() == "mine"
    for command in ("status", "report"):
        assert "File name too long" in refused(command, tmp_path / ("x" * 300))


def test_an_impossible_export(finished: Any, refused: Callable[..., str], tmp_path: Path) -> None:
    assert "is a folder" in refused("export", finished.folder, tmp_path)
    assert "/proc/x.extxyz cannot be written" in refused("export", finished.folder, "/proc/x.extxyz")
    assert "File name too long" in refused("export", finished.folder, tmp_path / ("x" * 300))
    message = refused("export", finished.folder, tmp_path / "foo.cif")
    assert (
        "foo.cif ends in .cif, but without --format a dataset is extended XYZ; let the name end in .extxyz or .xyz"
        in message
    )
    message = refused("report", finished.folder, "--to", tmp_path / "r.pdf")
    assert "r.pdf ends in .pdf, but a page is HTML; let the name end in .html" in message


def test_a_report_into_a_folder_that_takes_no_files(
    finished: Any, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "figures")

    monkeypatch.setattr("idealflow.report.write_report", denied)
    message = refused("report", finished.folder)
    assert "takes no files (Permission denied); write the page elsewhere with --to FILE.html" in message


FRICTION = """
campaign: fr
structure: {element: Cu, crystal: fcc, a: 3.62, cubic: true}
bootstrap: {n_structures: 4}
segment: {sampler: {name: langevin, friction: 1e-2}}
label: {labeller: {calculator: ase.calculators.emt.EMT}}
"""
KWARGS = """
campaign: sci
structure: {element: Ar, crystal: fcc, a: 5.3, cubic: true}
learn: false
bootstrap: {n_structures: 4, fit_steps: 5}
segment: {schedule: [{kind: hold, temperature: 30, steps: 1E+1}], segment_steps: 10}
label: {labeller: {calculator: ase.calculators.lj.LennardJones, kwargs: {sigma: 3.4, epsilon: 1e-2, rc: 9}, reference: LJ}}
evaluation: {n_frames: 0}
"""
VASP = """
structure: {element: Cu, crystal: fcc, a: 3.62, cubic: true}
label: {labeller: {maker: idealflow.workflow.labellers.vasp.vasp_static, kwargs: {incar: {NELM: 2e2, EDIFF: 1e-7, ENCUT: 5.2e2}}}}
"""


def loaded(text: str, folder: Path) -> Any:
    (folder / "c.yaml").write_text(text)
    return load_config(folder / "c.yaml")[0]


def test_numbers_in_exponent_form_are_numbers_in_every_field(tmp_path: Path) -> None:
    assert loaded(FRICTION, tmp_path).segment.dynamics().friction == 0.01
    maker = loaded(KWARGS, tmp_path)
    assert maker.segment.plan().n_steps == 10
    argon = bulk("Ar", "fcc", 5.3, cubic=True)
    label, _ = maker.label.labeller.label(argon, tmp_path)
    from ase.calculators.lj import LennardJones

    argon.calc = LennardJones(sigma=3.4, epsilon=0.01, rc=9)
    assert label.energy == pytest.approx(argon.get_potential_energy(), rel=1e-9)


def test_numbers_in_exponent_form_reach_vasp(tmp_path: Path) -> None:
    from pymatgen.io.ase import AseAtomsAdaptor

    generator = loaded(VASP, tmp_path).label.labeller.maker.input_set_generator
    structure = AseAtomsAdaptor.get_structure(bulk("Cu", cubic=True))
    incar = str(generator.get_input_set(structure, potcar_spec=True)["INCAR"])
    lines = dict(line.split(" = ") for line in incar.splitlines())
    assert (lines["NELM"], float(lines["EDIFF"]), float(lines["ENCUT"])) == ("200", 1e-7, 520)


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    | st.from_regex(r"[-+]?[0-9]{0,3}\.?[0-9]{0,3}([eE][-+]?[0-9]{1,3})?", fullmatch=True),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=5,
))  # fmt: skip
def test_what_is_dumped_comes_back(data: Any) -> None:
    back = load_yaml(dump_yaml(data))
    assert back == data
    assert repr(back) == repr(data)


@pytest.mark.parametrize("text", ["1e3", "1E3", "1e+3", "1.e3", "1.0e3", "+1e3", "1_000e0", "10e2"])
def test_a_whole_number_in_exponent_form_is_whole(text: str) -> None:
    assert repr(load_yaml(text)) == "1000"


@pytest.mark.parametrize(
    ("text", "value"), [("1e-2", 0.01), ("-.5", -0.5), ("1.5e-3", 0.0015), ("1e16", 1e16), (".5E1", 5)]
)
def test_other_numbers(text: str, value: float) -> None:
    assert load_yaml(text) == value


@pytest.mark.parametrize("text", ["1e", "e3", "1e3x", "'1e3'", "12e4567", "1.2.3e4"])
def test_what_is_no_number_stays_text(text: str) -> None:
    assert load_yaml(text) == text.strip("'")


POT = """
from ase.calculators.emt import EMT
class Pot(EMT):
    pass
def pot(**kwargs):
    return Pot(**kwargs)
"""


def test_a_calculator_beside_the_config_is_found_and_its_folder_kept(
    config: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    (tmp_path / "beside_pot.py").write_text(POT)
    path = config(
        label={"labeller": {"calculator": "beside_pot.pot"}},
        segment={"schedule": tiny.schedule(10, 0), "segment_steps": 10},
        bootstrap={"n_structures": 3, "fit_steps": 5},
        evaluation={"n_frames": 0},
    )
    out = tmp_path / "out"
    assert cli.main(["run", str(path), "--out", str(out), "--quiet", "--max-rounds", "1"]) == 0
    assert "3 for the bootstrap, 0 failed" in capsys.readouterr().out
    kept = out / "config.yaml"
    assert load_yaml(kept.read_text())["label"]["labeller"]["import_from"] == str(tmp_path)
    assert kept.stat().st_mode & 0o777 == 0o600
    assert load_config(kept)[0].label.key == load_config(path)[0].label.key
    assert cli.main(["run", str(kept), "--out", str(out), "--quiet"]) == 0
    assert "finished" in capsys.readouterr().out


@pytest.fixture
def heeded() -> Iterator[Callable[[signal.Signals], None]]:
    """Function that gives a signal its usual effect: tests under nohup, or in the background, inherit that it has none."""
    former: dict[signal.Signals, Any] = {}

    def heed(number: signal.Signals) -> None:
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        former[number] = signal.signal(number, usual)

    yield heed
    for number, handler in former.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_end_a_run_with_one_message_and_a_summary(
    number: signal.Signals,
    heeded: Callable[[signal.Signals], None],
    config: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run_campaign(*_: object, **__: object) -> None:
        os.kill(os.getpid(), number)
        pytest.fail("the signal did not arrive")

    monkeypatch.setattr("idealflow.workflow.drivers.local.run_campaign", run_campaign)
    heeded(number)
    before = signal.getsignal(number)
    assert cli.main(["run", str(config()), "--out", str(tmp_path / "out"), "--quiet"]) == 128 + number
    assert signal.getsignal(number) == before
    by = "" if number == signal.SIGINT else f" by {number.name}"
    assert capsys.readouterr().err == f"idealflow: interrupted{by}; the same command goes on from here\n"
    summary = load_yaml((tmp_path / "out" / "summary.json").read_text())
    assert (summary["status"], summary["reason"]) == ("paused", "interrupted; the same command goes on from here")


def test_a_signal_in_the_midst_of_a_label(config: Callable[..., Path], tmp_path: Path) -> None:
    """The calculator itself sends the signal to the program, so that the moment depends on no clock."""
    (tmp_path / "signalling_pot.py").write_text(
        textwrap.dedent("""
        import os, time
        from ase.calculators.emt import EMT
        class Pot(EMT):
            def __init__(self, pid_file, number):
                super().__init__()
                self.pid_file, self.number = pid_file, number
            def calculate(self, *arguments):
                os.kill(int(open(self.pid_file).read()), self.number)
                time.sleep(600)
        """)
    )
    arguments = {"pid_file": str(tmp_path / "pid"), "number": int(signal.SIGTERM)}
    path = config(label={"labeller": {"calculator": "signalling_pot.Pot", "kwargs": arguments}})
    script = (
        f"import os, pathlib, sys; pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid())); "
        "from idealflow.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        script,
        "run",
        str(path),
        "--out",
        str(tmp_path / "out"),
        "--quiet",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 128 + signal.SIGTERM
    assert done.stderr == "idealflow: interrupted by SIGTERM; the same command goes on from here\n"
    assert load_yaml((tmp_path / "out" / "summary.json").read_text())["status"] == "paused"


@pytest.mark.parametrize("command", ["pause", "recover"])
def test_a_server_that_does_not_answer_is_one_line(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unanswered(*_: object, **__: object) -> None:
        with pymongo.MongoClient("localhost", 1, serverSelectionTimeoutMS=50) as client:
            client.admin.command("ping")

    monkeypatch.setattr("idealflow.workflow.drivers.fireworks.pause_campaign", unanswered)
    monkeypatch.setattr("idealflow.workflow.drivers.recovery.recover_campaign", unanswered)
    assert cli.main([command, "copper"]) == 1
    text = capsys.readouterr().err
    assert text.startswith("idealflow: the database server does not answer (localhost:1: ")
    assert text.count("\n") == 1
    assert "Topology" not in text


def test_any_other_error_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a fault of the program")

    monkeypatch.setattr("idealflow.workflow.drivers.fireworks.pause_campaign", broken)
    with pytest.raises(RuntimeError, match="a fault of the program"):
        cli.main(["pause", "copper"])
