"""Measure all deployments of a run in turns, over real processes, and write one record of it.

A `cloud-server` process serves each deployment; one client process asks them, one at a time, while
nothing else of the run computes. Servers that wait take no time of a core. A kill costs the
measurement and nothing else.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from bench.latency.asker import DeploymentAsker, asking
from bench.latency.link_runs import lossless
from bench.latency.load import LoadMeter, load_average
from bench.latency.turns import IMAGES, LINK_REQUESTS, REQUESTS, ROUNDS, Taken, order, summed, visit
from bench.roles.launch import ServerProcess
from edge_client.one_way import MODEL
from splitlab.contracts.link import parse_link
from splitlab.deployment.manifest import ClientManifest, read_manifest
from splitlab.errors import SplitLabError
from splitlab.machine import environment
from splitlab.record import Latency, MachineLoad, Record, RecordStore, latency_hash
from splitlab.training import Progress, Work

AT_ONCE = 12
"""Servers that run at the same time; each takes some 300 MiB. Further ones have their turns after
these, in every round."""


def measure_run(
    run: Path, records: Sequence[Record], links: Sequence[str], progress: Progress
) -> None:
    """Measure the deployments of these records, unless just these have been measured.

    A place whose deployment is no longer there is left out; the report says so.

    Raises:
        SplitLabError: a server or the client failed.
    """
    store, folders = RecordStore(run), deployments(run, records)
    digests = {
        name: read_manifest(folder / "client", ClientManifest).digest
        for name, folder in folders.items()
    }
    given = [f"{link}: {parse_link(link)}" for link in links]
    key = latency_hash(digests, given, MODEL)
    if not folders or any(latency.hash == key for latency in store.latencies()):
        return
    before, meter = load_average(), LoadMeter()
    taken = _taken(store.latency_folder / "client.log", folders, links, meter, progress)
    load = MachineLoad(
        others=meter.others,
        average_before=before,
        average_after=load_average(),
        cores=len(meter.cores),
        seconds=meter.seconds,
    )
    latency = Latency(
        hash=key,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        images=IMAGES,
        requests=REQUESTS,
        places={name: summed(digests[name], links, own) for name, own in taken.items()},
        load=load,
        environment=environment(),
    )
    store.write_latency(latency)


def deployments(run: Path, records: Sequence[Record]) -> dict[str, Path]:
    """Place -> folder of its deployment, in the network's order, where it is whole."""
    names = dict.fromkeys(
        str(record.split["name"])
        for record in sorted(records, key=lambda record: record.split.get("index", 0))
    )
    found = {}
    for name in names:
        folder = run / "points" / name / "deployment"
        with contextlib.suppress(SplitLabError):
            read_manifest(folder / "client", ClientManifest)
            found[name] = folder
    return found


def _taken(
    log: Path,
    folders: Mapping[str, Path],
    links: Sequence[str],
    meter: LoadMeter,
    progress: Progress,
) -> dict[str, Taken]:
    """Requests of every place in every round.

    Where all servers may run at once they stay up over the rounds.
    """
    taken = {name: Taken() for name in folders}
    asked = 1 + REQUESTS + LINK_REQUESTS * len(set(map(lossless, links)))
    work: Work | None = None
    apart = len(folders) > AT_ONCE
    with asking(log) as asker, contextlib.ExitStack() as all_rounds:
        servers: dict[str, ServerProcess] = {}
        for group in order(list(folders), AT_ONCE):
            with contextlib.ExitStack() as this_group:
                until = this_group if apart else all_rounds
                new = {name: folders[name] for name in group if name not in servers}
                servers |= _served(new, links, asker, until)
                if work is None:  # what the first servers took to start tells nothing of the rest
                    work = progress.task("latency", ROUNDS * len(folders) * asked)
                with meter.watch([asker.pid, *(one.pid for one in servers.values())]):
                    for name in group:
                        visit(name, links, partial(_ask, asker), taken[name])
                        work.advance(asked)
            if apart:
                servers.clear()
    if work is not None:
        work.close()
    return taken


def _served(
    folders: Mapping[str, Path],
    links: Sequence[str],
    asker: DeploymentAsker,
    until: contextlib.ExitStack,
) -> dict[str, ServerProcess]:
    """Servers that start side by side, each with a connection for every link."""
    threads = max(1, (os.cpu_count() or 2) // 2)
    found = {}
    for name, folder in folders.items():
        log = folder.parent / "server-latency.log"
        server = ServerProcess(folder / "server", None, log, threads)
        found[name] = until.enter_context(server)
    for name, server in found.items():
        address, half = server.address(), str((folders[name] / "client").resolve())
        for link in (None, *dict.fromkeys(map(lossless, links))):
            asker.do(open=_name(name, link), half=half, server=address, link=link)
            until.callback(_close, asker, _name(name, link))  # before its server is stopped
            if link is not None:
                _ask(asker, name, link, 1)  # opens the connection, and is not counted
    return found


def _ask(asker: DeploymentAsker, name: str, link: str | None, images: int) -> dict[str, Any]:
    return asker.do(ask=_name(name, link), images=images)


def _close(asker: DeploymentAsker, name: str) -> None:
    with contextlib.suppress(SplitLabError):  # where the client has ended, so has the connection
        asker.do(close=name)


def _name(name: str, link: str | None) -> str:
    return name if link is None else f"{name} {link}"
