"""What a request takes at one split point under each link that a sweep was asked about.

Requests are measured on the link without its losses, and what losses add is modelled over many
more: a loss is rare and large, so that the median hides it and the mean of a few is chance.
"""

from __future__ import annotations

import os
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.launch import Gate, ServerProcess, run_edge_client
from bench.recipe import SweepConfig
from edge_client.ledger import percentiles
from edge_client.one_way import MODEL, OneWay
from splitlab.contracts.link import Link, parse_link
from splitlab.errors import SplitLabError
from splitlab.storage import read_json, sha256

REQUESTS = 8
"""Single images, each counted; the handshake before them has opened the connection."""
DRAWS = 4000
"""Requests modelled on a link with losses; the mean's standard error is a few percent then."""
PREFIX = "link "


def link_latency(
    place: Path, config: SweepConfig, data_root: Path | None, secret_seed: int | None
) -> dict[str, dict[str, float]]:
    """`link NAME` -> p50, p95 and count in ms of a request of one image; finished ones are read.

    Of a link with losses also the mean, all of `DRAWS` modelled requests.

    The server has no tap: what the adversary captures is the evaluation's alone.

    Raises:
        SplitLabError: a process failed.
    """
    found: dict[str, dict[str, float]] = {}
    missing = []
    for link in config.links:
        done = _read(place, link)
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
                *(str(place / "deployment" / "client"), "--server", address),
                *("--link", _lossless(link)),
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
            done = _read(place, link)
            assert done is not None
            found[PREFIX + link] = done
    return found


def link_names(latency: dict[str, dict[str, float]]) -> list[str]:
    """Links of a record's latencies."""
    return [key.removeprefix(PREFIX) for key in latency if key.startswith(PREFIX)]


def typical(latency: dict[str, float]) -> tuple[str, float]:
    """("mean", ms) of a request under a link that loses packets, ("p50", ms) under another."""
    name = "mean" if "mean" in latency else "p50"
    return name, latency[name]


def with_losses(link: Link, up: int, down: int, measured_ms: float) -> dict[str, float]:
    """mean, p50, p95 and count in ms of modelled requests, one after another.

    Args:
        up, down: bytes of a request and of its answer.
        measured_ms: of such a request on the same link without losses; what the link alone does
            not take of it is computation.
    """
    still = statistics.median(_requests(replace(link, loss=0.0), up, down, 0.0, 20))
    between = max(0.0, measured_ms / 1000 - still)
    ms = [1000 * seconds for seconds in _requests(link, up, down, between, DRAWS)]
    return {"mean": statistics.fmean(ms), **percentiles({"all": ms})["all"]}


def _requests(link: Link, up: int, down: int, between: float, count: int) -> list[float]:
    """Seconds that requests take, each sent when the last was answered."""
    there = OneWay(link.up, link.rtt, link.loss, 1)
    back = OneWay(link.down, link.rtt, link.loss, 2)
    now, found = 0.0, []
    for _ in range(count):
        answered = back.arrival(down, there.arrival(up, now) + between)
        found.append(answered - now)
        now = answered
    return found


def _lossless(link: str) -> str:
    return ",".join(part for part in link.split(",") if not part.strip().startswith("loss"))


def _folder(place: Path, link: str) -> Path:
    """Named by what was simulated: a profile or a model that changes is measured again."""
    name = f"{parse_link(_lossless(link))} {MODEL}"
    return place / "links" / sha256(name.encode())[:12]


def _read(place: Path, name: str) -> dict[str, float] | None:
    try:
        account: dict[str, Any] = read_json(_folder(place, name) / "evaluation.json")
    except SplitLabError:
        return None
    total: dict[str, float] = account["latency"]["total"]
    link, rate = parse_link(name), account["rate"]
    if not link.loss:
        return total
    return with_losses(link, round(rate["framed_up"]), round(rate["framed_down"]), total["p50"])
