"""Tables and figures of the pages, made from stored results when the documentation is built.

The directive ``{results}`` puts in a table of :mod:`workbench.stored_results`, ``{result-picture}`` a picture that matplotlib
draws of them, the role ``{result}`` a single figure.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective, SphinxRole

from workbench import reports, stored_results


class Results(SphinxDirective):
    """A table, by its name and arguments."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """The table, parsed as the page around it is."""
        try:
            text = stored_results.table(self.arguments[0])
        except (KeyError, TypeError, OSError) as error:
            raise self.error(f"no table {self.arguments[0]!r} in the stored results: {error!r}") from error
        return list(self.parse_text_to_nodes(text))


class Picture(SphinxDirective):
    """A picture, by its name and arguments; ``:alt:`` says what it shows."""

    required_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar[dict[str, Any]] = {"alt": directives.unchanged_required, "width": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """The picture, drawn into the folder of generated ones."""
        name = self.arguments[0]
        try:
            picture = stored_results.figure(name)
            alt = self.options["alt"]
        except (KeyError, TypeError, OSError) as error:
            raise self.error(f"no picture {name!r} in the stored results, or no :alt: ({error!r})") from error
        file = Path(self.env.srcdir) / "reference" / "generated" / f"{name.replace(' ', '-')}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        picture.savefig(file, dpi=150)
        away = Path(self.env.doc2path(self.env.docname)).parent
        image = nodes.image(uri=os.path.relpath(file, away), alt=alt, width=self.options.get("width", "100%"))
        return [image]


class Result(SphinxRole):
    """A figure, by its name and arguments."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """The figure as plain text."""
        try:
            text = stored_results.value(self.text)
        except (KeyError, TypeError, OSError) as error:
            message = self.inliner.reporter.error(
                f"no figure {self.text!r} in the stored results: {error!r}", line=self.lineno
            )
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]
        return [nodes.Text(text)], []


def read_again(app: Any, *_: Any) -> list[str]:
    """Pages that show results are read at every build: what they show lies outside the documentation."""
    return sorted(name for name in app.env.found_docs if "{result" in app.env.doc2path(name).read_text())


def setup(app: Any) -> dict[str, bool]:
    """Add the directives and the role, and unpack the reports that pages link to."""
    reports.unpack(Path(app.srcdir) / "_reports" / "reports")
    app.add_directive("results", Results)
    app.add_directive("result-picture", Picture)
    app.add_role("result", Result())
    app.connect("env-get-outdated", read_again)
    return {"parallel_read_safe": True}
