"""What a request takes at one split point under each link that a sweep was asked about."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bench.launch import Gate, ServerProcess, run_edge_client
from bench.recipe import SweepConfig
from splitlab.contracts.link import parse_link
from splitlab.errors import SplitLabError
from splitlab.storage import read_json, sha256

REQUESTS = 8
"""Single images, after one that opens the connection."""
PREFIX = "link "


def link_latency(
    place: Path, config: SweepConfig, data_root: Path | None, secret_seed: int | None
) -> dict[str, dict[str, float]]:
    """`link NAME` -> p50, p95 and count in ms of a request of one image; finished ones are read.

    The server has no tap: what the adversary captures is the evaluation's alone.

    Raises:
        SplitLabError: a process failed.
    """
    found: dict[str, dict[str, float]] = {}
    missing = []
    for link in config.links:
        done = _read(_folder(place, link))
        if done is None:
            missing.append(link)
        else:
            found[PREFIX + link] = done
    if not missing:
        return found
    threads = max(1, (os.cpu_count() or 2) // 2)
    server = place / "deployment" / "server"
    with ServerProcess(server, None, place / "server-links.log", threads) as process:
        address = process.address()
        for link in missing:
            words = [
                *(str(place / "deployment" / "client"), "--server", address, "--link", link),
                *("evaluate", "--dataset", config.dataset, "--size", str(config.size)),
                *("--seed", str(config.seed), "--limit", str(REQUESTS), "--batch", "1"),
                *("--out", str(_folder(place, link))),
            ]
            if data_root is not None:
                words += ["--data-root", str(data_root)]
            if secret_seed is not None:
                words += ["--secret-seed", str(secret_seed)]
            gate = Gate()
            gate.open()
            run_edge_client(words, place / "client-links.log", gate)
            done = _read(_folder(place, link))
            assert done is not None
            found[PREFIX + link] = done
    return found


def link_names(latency: dict[str, dict[str, float]]) -> list[str]:
    """Links of a record's latencies."""
    return [key.removeprefix(PREFIX) for key in latency if key.startswith(PREFIX)]


def _folder(place: Path, link: str) -> Path:
    """Named by what the link is, so that a profile whose numbers change is measured again."""
    return place / "links" / sha256(str(parse_link(link)).encode())[:12]


def _read(folder: Path) -> dict[str, float] | None:
    try:
        account: dict[str, Any] = read_json(folder / "evaluation.json")
    except SplitLabError:
        return None
    total: dict[str, float] = account["latency"]["total"]
    return total
