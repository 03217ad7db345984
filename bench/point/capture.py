"""One split point over real processes: server with tap, client with the victims' images."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from bench.point.recipe import Networked
from bench.point.score import read_join
from bench.roles.launch import ServerProcess, StartGate, run_edge_client
from splitlab.capture import Capture
from splitlab.data import ImageSet
from splitlab.errors import BadInput, SplitLabError
from splitlab.record.binomial import majority
from splitlab.storage import read_json, read_tensors, write_json

ASKED = "asked.json"
"""Beside a capture: which images were sent for it."""


@dataclass(frozen=True)
class Captured:
    """What came of it: the client's own account, its join table, and the tap's capture."""

    evaluation: dict[str, Any]
    join: dict[str, int]
    capture: Path
    logits: Tensor

    @property
    def latency(self) -> dict[str, dict[str, float]]:
        """By stage, of this evaluation alone: others were not measured beside it."""
        found: dict[str, dict[str, float]] = self.evaluation["latency"]
        return found


class CaptureRun:
    """One split point over real processes, in a thread of its own; a context manager.

    The processes start at once; the images are sent when the first one asks for the result. An
    earlier, finished run is read back. Leaving the block before that ends them unused.

    The thread that starts the processes also waits for them: on Linux a child is told to end with
    the thread that made it.
    """

    def __init__(
        self,
        folder: Path,
        deployment: Path,
        config: Networked,
        dataset: str,
        data_root: Path | None,
        secret_seed: int | None = None,
        partition: str = "victims",
    ) -> None:
        self._gate = gate = StartGate()
        pool = ThreadPoolExecutor(1, thread_name_prefix="capture")
        own = dataset, data_root, secret_seed, partition
        self._future = pool.submit(run, folder, deployment, config, *own, gate)
        pool.shutdown(wait=False)

    def result(self) -> Captured:
        """Let the client send, and wait for what comes of it.

        Raises:
            SplitLabError: a process failed.
        """
        self._gate.open()
        return self._future.result()

    def __enter__(self) -> CaptureRun:
        return self

    def __exit__(self, *_: object) -> None:
        self._gate.give_up()


def run(
    folder: Path,
    deployment: Path,
    config: Networked,
    dataset: str,
    data_root: Path | None,
    secret_seed: int | None,
    partition: str,
    gate: StartGate,
) -> Captured:
    """Serve, evaluate once the gate is open, capture; files under `folder`.

    Args:
        partition: whose images are sent, as `edge-client evaluate` takes it.

    Raises:
        BadInput: a finished capture is there that other images were sent for.
        SplitLabError: a process failed; the message ends with its words.
    """
    done = read_back(folder)
    if done is not None:
        _require_asked(folder, config, partition)
        return done
    keep_asked(folder, config, partition)
    shutil.rmtree(folder / "capture", ignore_errors=True)
    shutil.rmtree(folder / "evaluation", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    threads = max(1, (os.cpu_count() or 2) // 2)
    log = folder / "server.log"
    with ServerProcess(deployment / "server", folder / "capture", log, threads) as process:
        words = [
            str(deployment / "client"),
            "--server",
            process.address(),
            "evaluate",
            "--dataset",
            dataset,
            "--partition",
            partition,
            "--size",
            str(config.size),
            "--seed",
            str(config.seed),
            "--limit",
            str(config.victims),
            "--repeat",
            str(config.repeats),
            "--out",
            str(folder / "evaluation"),
        ]
        if data_root is not None:
            words += ["--data-root", str(data_root)]
        if secret_seed is not None:
            words += ["--secret-seed", str(secret_seed)]
        run_edge_client(words, folder / "client.log", gate)
    found = read_back(folder)
    if found is None:
        raise SplitLabError(f"{folder}: client and server ended well, yet the capture is not whole")
    return found


def keep_asked(place: Path, config: Networked, partition: str = "victims") -> None:
    """Write beside a capture which images are sent for it."""
    write_json(place / ASKED, _asked(config, partition), private=True)


def _require_asked(place: Path, config: Networked, partition: str) -> None:
    if not (place / ASKED).exists():  # captured before there was such a note
        return
    was, now = read_json(place / ASKED), _asked(config, partition)
    told = ", ".join(f"{k} {was.get(k)} there, {now[k]} here" for k in now if was.get(k) != now[k])
    if told:
        raise BadInput(f"{place / 'capture'} is of other images ({told}); choose another --out")


def _asked(config: Networked, partition: str) -> dict[str, Any]:
    """What says which images are sent; what they are sent to is the deployment's."""
    names = ("victims", "repeats", "seed", "size")
    return {"partition": partition, **{name: getattr(config, name) for name in names}}


def read_back(place: Path) -> Captured | None:
    """A finished capture under `place`, or None where one is missing or was cut short."""
    try:
        evaluation = read_json(place / "evaluation" / "evaluation.json")
        join = read_join(place / "evaluation" / "join.json")
        logits = read_tensors(place / "evaluation" / "logits.safetensors")["logits"]
        Capture.open(place / "capture")
    except SplitLabError:
        return None
    return Captured(evaluation, join, place / "capture", logits)


def utility(captured: Captured, whole: Tensor, victims: ImageSet) -> dict[str, float]:
    """Accuracy through the wire and of the undefended network, and how far their answers differ.

    Returns:
        accuracy, accuracy_whole, agreement (same argmax), majority (the largest class's share, what
        a constant answer gets), all in %; relative_error = max|delta| / max|y| over all logits.
    """
    through = captured.logits
    right = (whole.argmax(1) == victims.labels).double().mean()
    same = (through.argmax(1) == whole.argmax(1)).double().mean()
    error = (through - whole).abs().max() / whole.abs().max()
    return {
        "accuracy": float(captured.evaluation["accuracy"]),
        "accuracy_whole": 100.0 * float(right),
        "agreement": 100.0 * float(same),
        "majority": majority(victims.labels.tolist()),
        "relative_error": float(error),
    }
