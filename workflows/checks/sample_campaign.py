"""Make the small stored campaign that ships with the package, `idealflow.provenance.sample_campaign`.

    PYTHONPATH=tests python workflows/checks/sample_campaign.py

Runs the tiny campaign of the tests (107 copper atoms, EMT in place of DFT), keeps of its artifacts what looking at it needs (last
model, ledger, MD states, trajectories, parity of the evaluation), takes the names of this machine out of the documents, and packs
the folder into the package. Run it again where documents have changed so that the examples need new ones.
"""

from __future__ import annotations

import json
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from idealflow.provenance import INDEXED_FIELDS, sample
from idealflow.report import write_summary
from idealflow.storage import Table
from idealflow.workflow.folder.directory import CampaignDirectory
from support import tiny

_PLACE = "/data/sample"


def plain(value: Any, folder: str) -> Any:
    """The value with the campaign's folder called :data:`_PLACE`."""
    if isinstance(value, dict):
        return {key: plain(item, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item, folder) for item in value]
    return value.replace(folder, _PLACE) if isinstance(value, str) else value


def main() -> None:
    """Run, clean and pack."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "sample")
        _, campaign = tiny.run(folder, crop={"n_candidates": 3})
        directory = CampaignDirectory(folder)
        directory.write_config({"structure": "frame", **tiny.settings()})
        state = campaign.state()
        kept = [state.learner.force_field, state.learner.ledger, campaign.evaluation().parity]
        kept += [walker.md_state for walker in state.walkers]
        kept += [doc.trajectory for doc in campaign.segments() if doc.trajectory is not None]
        kept.append(campaign.first_frame())
        documents = [plain(document, str(folder)) for document in campaign.store.query(load=True)]
        for document in documents:
            document.pop("metadata", None)
            document["hosts"] = []
        write_summary(campaign, directory.summary_path)
        campaign.store.close()
        for file in folder.glob("store.sqlite*"):  # a new file holds nothing of what was replaced
            file.unlink()
        table = Table.opened(directory.store_path, fields=INDEXED_FIELDS)
        table.update(documents, ["uuid", "index"])
        table.close()
        found = json.loads(directory.summary_path.read_text())
        if scratch in json.dumps(found):
            raise SystemExit("the summary names this machine's folders; nothing was packed")
        with tarfile.open(sample.PACKED, "w:xz", preset=9) as packed:
            files = [folder / name for name in ("store.sqlite", "config.yaml", "summary.json")]
            files += [folder / "artifacts" / path for path in sorted({artifact.path for artifact in kept})]
            for file in files:
                entry = packed.gettarinfo(file, file.relative_to(folder))
                entry.uid = entry.gid = entry.mtime = 0
                entry.uname = entry.gname = ""
                with file.open("rb") as content:
                    packed.addfile(entry, content)
    print(f"{sample.PACKED}: {sample.PACKED.stat().st_size} bytes")


if __name__ == "__main__":
    main()
