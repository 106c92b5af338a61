"""Configuration of the documentation: Sphinx, MyST, myst-nb, furo."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
os.environ.setdefault("OMP_NUM_THREADS", "1")

# notebooks are kept, without outputs, outside the documentation; they are executed when it is built
(HERE / "notebooks").mkdir(exist_ok=True)
for notebook in (HERE.parent / "notebooks").glob("*.ipynb"):
    target = HERE / "notebooks" / notebook.name
    if not target.exists() or target.read_bytes() != notebook.read_bytes():
        shutil.copyfile(notebook, target)

project = "idealflow"
author = "The idealflow developers"
copyright = "2026, the idealflow developers"  # noqa: A001  # the name Sphinx reads
release = "0.1.0"

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "myst_nb",
    "config_reference",
    "document_fields",
    "mathml",
    "results",
    "rooms",
]
exclude_patterns = ["_build", "_ext", "_reports", "_templates"]
templates_path = ["_templates"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "amsmath", "fieldlist"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_merge_streams = True

autosummary_generate = True
autodoc_typehints = "none"  # types stand in the signatures and in the numpy docstrings
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
python_display_short_literal_types = True

html_math_renderer = "mathml"
html_theme = "furo"
html_title = "idealflow"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_extra_path = ["_reports"]  # the extension `results` unpacks reports there
# shapes like (n_atoms, 3) in docstrings look like types with several targets; they are not
suppress_warnings = ["mystnb.unknown_mime_type", "ref.python"]
