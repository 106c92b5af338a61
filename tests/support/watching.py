"""`idealflow watch` as tests run it: a process of its own, at a free port."""

from __future__ import annotations

import contextlib
import copy
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from support import tiny

PATIENCE_S = 300.0


class Watching:
    """A running `idealflow watch`.

    Attributes
    ----------
    address
        What it printed.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.said = process.stdout.readline()
        found = re.search(r"http://\S+", self.said)
        if found is None:
            process.kill()
            raise AssertionError(f"it printed no address: {self.said!r} {process.communicate()}")
        self.address = found[0]

    def get(self, path: str) -> Any:
        """The JSON that a path answers."""
        with urlopen(self.address + path, timeout=PATIENCE_S) as answer:  # noqa: S310  # an address of ours
            return json.loads(answer.read())

    def status(self, path: str = "", data: bytes | None = None, **headers: str) -> int:
        """The HTTP status of an answer."""
        request = Request(self.address + path, data=data, headers=headers)  # noqa: S310  # the same
        try:
            with urlopen(request, timeout=PATIENCE_S) as answer:  # noqa: S310  # the same
                return int(answer.status)
        except HTTPError as error:
            return error.code

    def events(self) -> Iterator[list[dict[str, Any]]]:
        """What the server tells, one list of stamps after the other."""
        with urlopen(self.address + "events", timeout=PATIENCE_S) as answer:  # noqa: S310  # the same
            for line in answer:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])

    def end(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Interrupt it; its exit status, and what it wrote after the address."""
        self.process.send_signal(number)
        out, error = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, out + error


@contextlib.contextmanager
def watching(*arguments: str | Path) -> Iterator[Watching]:
    """Start `idealflow watch` with arguments; it ends with the block."""
    command = [sys.executable, "-m", "idealflow.cli", "watch", *map(str, arguments), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield Watching(process)
    finally:
        process.kill()
        process.communicate()


def commit_a_round(folder: Path) -> int:
    """Store a state of one more round and one more label in a campaign's folder, as another process would; the round's number."""
    store = tiny.sqlite(folder)
    try:
        state = store.query_one({"output.kind": "state"}, sort={"output.round": -1})
        label = store.query_one({"output.kind": "substructure", "output.state": "accepted"})
        new = [copy.deepcopy(state), copy.deepcopy(label)]
        number = state["output"]["round"] + 1
        for document in new:
            document.pop("_id", None)
            document["uuid"] += f"-{number}"
        new[0]["output"] |= {"round": number, "n_substructures": state["output"]["n_substructures"] + 1}
        new[1]["output"] |= {"uuid": new[1]["uuid"], "request_key": f"{label['output']['request_key']}/{number}"}
        store.update(new, key=["uuid", "index"])
    finally:
        store.close()
    return int(number)
