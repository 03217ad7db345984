"""The client of a measurement, in a process of its own: one connection for each deployment.

Reads a line of JSON, does it, answers with a line of JSON. `{"open": NAME, "half": FOLDER,
"server": HOST:PORT, "link": LINK or null}` connects; `{"ask": NAME, "images": N}` sends a request
and answers with its milliseconds by stage and its bytes, with `"whole": true` also with the sums of
each stage over micro-batches and with the logits; `{"close": NAME}` disconnects. The words of its
command line are modules of a user's own that it may import.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.roles.child import Forked
from bench.roles.launch import start, tail_of
from splitlab.contracts.own_code import permit, permitted
from splitlab.errors import SplitLabError


class DeploymentAsker:
    """The other end of that process's pipes."""

    def __init__(self, process: subprocess.Popen[str] | Forked, log: Path) -> None:
        self._process, self._log = process, log

    @property
    def pid(self) -> int:
        return self._process.pid

    def do(self, **words: Any) -> dict[str, Any]:
        """Have one line done.

        Raises:
            SplitLabError: the process ended; the message ends with its words.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(words) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._process.wait()
            raise SplitLabError(f"the latency could not be measured: {tail_of(self._log)}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextlib.contextmanager
def asking(log: Path, threads: int = 1, *, fresh: bool = False) -> Iterator[DeploymentAsker]:
    """A client process; what it says on standard error goes to `log`, `fresh` is `start`'s."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("wb") as errors,
        start(
            ["bench.latency.asker", *permitted()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            threads=threads,
            text=True,
            fresh=fresh,
        ) as process,
    ):
        try:
            yield DeploymentAsker(process, log)
        finally:
            if process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()


def main() -> None:
    import torch

    from defenses import parse_file
    from edge_client.client import EdgeClient
    from edge_client.stages import TOTAL
    from splitlab.contracts.link import parse_link
    from splitlab.deployment import ClientHalf
    from splitlab.machine import settle

    settle()
    permit(*sys.argv[1:])
    halves: dict[str, ClientHalf] = {}
    clients: dict[str, EdgeClient] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for line in sys.stdin:
        words = json.loads(line)
        answer: dict[str, Any] = {}
        if "open" in words:
            name, folder, link = words["open"], words["half"], words["link"]
            if folder not in halves:
                halves[folder] = ClientHalf.load(Path(folder), parse_file)
            client = EdgeClient(
                halves[folder],
                [words["server"]],
                link=None if link is None else parse_link(link),
            )
            client.handshake()
            clients[name], shapes[name] = client, tuple(halves[folder].input.shape)
        elif "ask" in words:
            # Times do not depend on what an image shows.
            draw = torch.Generator().manual_seed(0)
            images = torch.rand(words["images"], *shapes[words["ask"]], generator=draw)
            result = clients[words["ask"]].infer(images)
            answer = {
                "ms": {**result.stages, TOTAL: 1000 * result.seconds},
                "framed_up": result.bytes_up,
                "framed_down": result.bytes_down,
            }
            if words.get("whole"):
                answer["summed"] = {stage: sum(ms) for stage, ms in result.latency.items()}
                answer["logits"] = result.logits.tolist()
        else:
            clients.pop(words["close"]).close()
        print(json.dumps(answer), flush=True)
    for client in clients.values():
        client.close()


if __name__ == "__main__":
    try:
        main()
    except SplitLabError as error:
        sys.exit(str(error))
