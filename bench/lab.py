"""The lab from Python: what a notebook imports (docs/python.md, examples/notebook.py).

These names stay; what stands behind them may move.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from adversary.contract.attack import Attack, run_attack
from adversary.contract.threat import AuxImages, Observed, ThreatModel
from adversary.inversion.decoder import fit_decoder
from adversary.inversion.gmi import search_latents
from adversary.inversion.mean_image import mean_image
from adversary.inversion.psim import fit_psim
from adversary.inversion.rmle.matching import MatchingSettings, Spectra, match_features
from adversary.parts.spectrum import learned_spectrum, natural_spectrum
from adversary.registry import ATTACKS
from bench.point.grants import GrantRequest, make_threat
from bench.report.grids import save_grid
from cloud_server.server import CloudServer
from defenses import DEFENSES, parse, protect
from defenses.parts.prepare import Order, prepare
from edge_client.client import EdgeClient
from edge_client.evaluate import evaluate
from splitlab.capture import Capture, CaptureWriter
from splitlab.contracts import ArchSpec, Estimate, Features, InputSpec, Scores
from splitlab.contracts.own_code import permit
from splitlab.data import ImageSet, load_splits
from splitlab.deployment import ClientHalf, ServerHalf, write_deployment
from splitlab.metrics import METRICS, psnr, ssim
from splitlab.models import MODELS, build
from splitlab.randomness import Secret, generator
from splitlab.split import cut, split_points
from splitlab.training import TrainRecipe

__all__ = [
    "ATTACKS",
    "DEFENSES",
    "METRICS",
    "MODELS",
    "ArchSpec",
    "Attack",
    "AuxImages",
    "Capture",
    "ClientHalf",
    "EdgeClient",
    "Estimate",
    "Features",
    "GrantRequest",
    "ImageSet",
    "InputSpec",
    "MatchingSettings",
    "Observed",
    "Order",
    "Scores",
    "Secret",
    "ServerHalf",
    "Spectra",
    "ThreatModel",
    "TrainRecipe",
    "build",
    "cut",
    "evaluate",
    "fit_decoder",
    "fit_psim",
    "generator",
    "learned_spectrum",
    "load_splits",
    "make_threat",
    "match_features",
    "mean_image",
    "natural_spectrum",
    "overhear",
    "parse",
    "permit",
    "prepare",
    "protect",
    "psnr",
    "run_attack",
    "save_grid",
    "search_latents",
    "serving",
    "split_points",
    "ssim",
    "write_deployment",
]


@contextlib.contextmanager
def serving(deployment: Path, tap: Path | None = None, engine: str = "torch") -> Iterator[str]:
    """HOST:PORT of a server of a deployment, in this process on the loopback interface.

    Args:
        deployment: folder with `server/`.
        tap: folder in which the server keeps what passes; None for none.
        engine: as `cloud-server --engine`.
    """
    writer = None if tap is None else CaptureWriter(tap, "server")
    half = ServerHalf.load(deployment / "server")
    server = CloudServer(half, "127.0.0.1:0", tap=writer, engine=engine)
    server.start()
    try:
        yield server.address
    finally:
        server.stop(grace=5, quiet=0)
        if writer is not None:
            writer.close()


def overhear(
    deployment: Path, victims: ImageSet, tap: Path, batch: int = 64
) -> tuple[Features, Tensor]:
    """Send images through a deployment's client and server, and listen at the server.

    Args:
        deployment: folder with `client/` and `server/`.
        victims: sent in an order that only the client knows.
        tap: a folder that is not there yet.
        batch: images of one request.

    Returns what was seen, and the images [n, 3, S, S] in [0, 1] that it is of, row by row.
    """
    client_half = ClientHalf.load(deployment / "client", parse)
    with serving(deployment, tap) as address, EdgeClient(client_half, [address]) as client:
        join = evaluate(client, victims, batch=batch).join
    seen = Capture.open(tap).seen()
    rows = torch.tensor([join[key] for key in seen.ids])
    return seen, victims.floats("cpu")[rows]
