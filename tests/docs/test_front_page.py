"""The front page shows what is stored: its table and its pictures are those that `workflows/front_page.py` would write now."""

from __future__ import annotations

import json
import struct

import pytest

from workbench import front_page, stored_results
from workbench.power_law import PowerLaw

README = (front_page.ROOT / "README.md").read_text()
AGAIN = "python workflows/front_page.py writes it anew"


def described(path) -> dict[str, str]:
    """Texts that a PNG file carries."""
    data, at, found = path.read_bytes(), 8, {}
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        if kind == b"tEXt":
            key, text = body.split(b"\0", 1)
            found[key.decode()] = text.decode()
        at += 12 + length
    return found


def test_the_block_in_the_readme_is_made_from_what_is_stored():
    assert front_page.written_into(README) == README, AGAIN


@pytest.mark.parametrize("name", front_page.PICTURES)
def test_each_picture_shows_what_is_stored(name):
    file, _, alt = front_page.PICTURES[name]
    assert f"![{alt}](docs/{file})" in README
    digest = front_page.drawn(stored_results.figure(name))
    assert described(front_page.ROOT / "docs" / file)["Description"] == digest, AGAIN


def test_the_documentation_includes_the_block():
    index = (front_page.ROOT / "docs" / "index.md").read_text()
    start, end = (
        f"<!-- {words} -->"
        for words in ("what you get: also the front page of the documentation", "end of what you get")
    )
    assert f":start-after: {start}\n:end-before: {end}\n" in index
    assert front_page.BEGIN in README.split(start)[1].split(end)[0]


def test_a_page_without_markers_is_refused():
    with pytest.raises(ValueError, match="once each"):
        front_page.written_into("no markers")


def test_a_digest_knows_other_points(monkeypatch):
    name = "cuau-order ladder quick"
    before = front_page.drawn(stored_results.figure(name))
    assert front_page.drawn(stored_results.figure(name)) == before
    picture = stored_results.figure(name)
    line = picture.axes[0].get_lines()[0]
    line.set_ydata([1.001 * y for y in line.get_ydata()])
    assert front_page.drawn(picture) != before


def test_what_whole_frames_would_have_cost(monkeypatch):
    """Two campaigns: 2 frames of 10 s and 1 of 40 s, against 4 + 3 substructures of 2 and 4 s."""
    campaigns = [
        {"n_labelled_frames": 2, "t_entire_s": 10.0, "L": 2.0, "t_sub_s": 2.0, "n_atoms": 10},
        {"n_labelled_frames": 1, "t_entire_s": 40.0, "L": 3.0, "t_sub_s": 4.0, "n_atoms": 20},
    ]
    assert front_page.gain(campaigns) == pytest.approx(60 / 20)
    assert front_page.gain([campaigns[0], campaigns[1] | {"t_entire_s": None}]) is None
    monkeypatch.setattr(front_page, "gpaw_law", lambda: PowerLaw(0.1, 2.0, 0.0, None, 3))
    whole, parts = front_page.by_law(campaigns, [{"n_atoms": 5}] * 4)
    assert whole == pytest.approx(2 * 10 + 40)
    assert parts == pytest.approx(4 * 2.5)


def test_errors_are_the_last_models_on_all_frames():
    rows = json.loads((front_page.WORKFLOWS / "cuau_order" / "results" / "quick.json").read_text())["errors"]
    last = [row for row in rows if row["model"] == "last"]
    energy = sum(row["n_frames"] * row["energy_mae"] for row in last) / sum(row["n_frames"] for row in last)
    system = next(each for each in front_page.SYSTEMS if each.folder == "cuau_order")
    assert front_page.row_of(system)[6].startswith(f"{energy:.2f}, ")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.94, "0.94 s"), (59, "59 s"), (90, "1.5 min"), (7200, "2.0 h"), (3.6e7, "10 000 h")]
)
def test_core_time_is_told_in_the_unit_that_fits(seconds, text):
    assert front_page.duration(seconds) == text
