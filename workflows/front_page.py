"""Write the paper's systems into README.md, which is also in the front page of the documentation, and draw their pictures.

    python workflows/front_page.py

Table and pictures are made from the stored results of the systems' scripts (`workflows/*/results`); a test fails where they
are older.
"""

from __future__ import annotations

import argparse

from workbench import stored_results
from workbench.front_page import PICTURES, ROOT, drawn, written_into


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    page = ROOT / "README.md"
    page.write_text(written_into(page.read_text()))
    for name, (file, _, _) in PICTURES.items():
        picture = stored_results.figure(name)
        picture.savefig(ROOT / "docs" / file, dpi=110, metadata={"Description": drawn(picture)})
        print(f"docs/{file}")


if __name__ == "__main__":
    main()
