"""`edge-client HALF --servers A,B infer|evaluate ...`: the trusted side's command line."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.progress import Progress
from rich.table import Table

from edge_client.cli_options import (
    Batch,
    DataRoot,
    Dataset,
    Deadline,
    Download,
    Hold,
    Insecure,
    Limit,
    Out,
    Partition,
    Repeats,
    Replicas,
    Retries,
    SecretSeed,
    Seed,
    ServerAddress,
    ServerAddresses,
    SimulatedLink,
    Size,
    Threads,
    TlsCa,
    TlsCert,
    TlsKey,
    TokenFile,
    Window,
)
from splitlab.answers import AsJson, answer
from splitlab.cli_options import Imports
from splitlab.console import CommandLine, WholeSentences, errors, guarded

if TYPE_CHECKING:
    from edge_client.client import EdgeClient
    from edge_client.evaluate import Evaluation
    from splitlab.deployment import ClientHalf


class HalfFirst(WholeSentences):
    """Lets options follow HALF, as in `edge-client HALF --server HOST:PORT infer IMAGE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if "--help" in args and args[0] in self.commands:
            args = ["HALF", *args]  # help on a subcommand needs no half
        command = next((i for i, word in enumerate(args) if i and word in self.commands), len(args))
        if args and not args[0].startswith("-"):
            args = [*args[1:command], args[0], *args[command:]]
        return super().parse_args(ctx, args)


app = CommandLine(cls=HalfFirst)


@dataclass(frozen=True)
class Connection:
    """The options before the subcommand."""

    half: Path
    servers: tuple[str, ...]
    replicas: bool
    deadline: float
    retries: int
    window: int
    insecure: bool
    threads: int | None
    tls: tuple[Path | None, Path | None, Path | None]
    token_file: Path | None
    link: str | None
    imports: tuple[str, ...]

    def open(self) -> tuple[ClientHalf, EdgeClient]:
        """Load the half, then connect and shake hands."""
        import torch

        from defenses import parse_file
        from edge_client.client import EdgeClient
        from splitlab.contracts.link import parse_link
        from splitlab.contracts.own_code import permit
        from splitlab.deployment import ClientHalf
        from splitlab.wire.channels import Tls
        from splitlab.wire.token import read_token

        if self.threads is not None:
            torch.set_num_threads(self.threads)
        permit(*self.imports)
        half = ClientHalf.load(self.half, parse_file)
        client = EdgeClient(
            half,
            self.servers,
            replicas=self.replicas,
            deadline_s=self.deadline,
            retries=self.retries,
            window=self.window,
            insecure=self.insecure,
            tls=Tls(*self.tls) if any(self.tls) else None,
            token=None if self.token_file is None else read_token(self.token_file),
            notice=lambda words: errors.print(f"warning: {words}", style="yellow", markup=False),
            link=None if self.link is None else parse_link(self.link),
        )
        client.handshake()
        for address, bodies in client.servers.items():
            if not bodies:
                told = f"warning: {address} does not answer or holds no body; it is left out"
                errors.print(told, style="yellow", markup=False)
        return half, client


@app.callback()
def connection(
    ctx: typer.Context,
    half: Annotated[
        Path, typer.Argument(metavar="HALF", help="the client half, DEPLOYMENT/client")
    ],
    server: ServerAddress = None,
    servers: ServerAddresses = "",
    replicas: Replicas = False,
    imports: Imports = None,
    insecure: Insecure = False,
    deadline: Deadline = 30.0,
    retries: Retries = 4,
    window: Window = 8,
    threads: Threads = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    tls_ca: TlsCa = None,
    token_file: TokenFile = None,
    link: SimulatedLink = None,
) -> None:
    """Run head and tail here, and the bodies on one or more servers."""
    # gRPC's C++ core would write lines of its own beside our errors; read when it is imported.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    named = [address.strip() for address in servers.split(",") if address.strip()]
    addresses = (*(server or ()), *named)
    ctx.obj = Connection(
        half=half,
        servers=addresses,
        replicas=replicas,
        deadline=deadline,
        retries=retries,
        window=window,
        insecure=insecure,
        threads=threads,
        tls=(tls_cert, tls_key, tls_ca),
        token_file=token_file,
        link=link,
        imports=tuple(imports or ()),
    )


@app.command()
@guarded
def infer(
    ctx: typer.Context,
    images: Annotated[list[Path], typer.Argument(help="PNG or JPEG files of any size")],
    as_json: AsJson = False,
) -> None:
    """Classify images; print class, probability and how each image was prepared."""
    from edge_client.classify import classify

    options: Connection = ctx.obj
    found, result = classify(options.open, images)
    table = Table("image", "class", "probability", "prepared")
    for row in found:
        words = (row["image"], row["class"], f"{row['probability']:z.3f}", row["prepared"])
        table.add_row(*words)
    document = {
        "images": found,
        "request_id": result.request_id,
        "seconds": result.seconds,
        "bytes_up": result.bytes_up,
        "bytes_down": result.bytes_down,
    }
    told = (
        f"{len(found)} images in {result.seconds * 1000:z.1f} ms, "
        f"{result.bytes_up} bytes up, {result.bytes_down} bytes down"
    )
    answer(as_json, document, table, told)


@app.command()
@guarded
def evaluate(
    ctx: typer.Context,
    dataset: Dataset,
    partition: Partition = "victims",
    limit: Limit = None,
    repeats: Repeats = 1,
    batch: Batch = 8,
    size: Size = None,
    seed: Seed = 0,
    data_root: DataRoot = None,
    download: Download = False,
    out: Out = None,
    secret_seed: SecretSeed = None,
    hold: Hold = False,
    as_json: AsJson = False,
) -> None:
    """Send a data set, shuffled; print accuracy, bytes per image and latency."""
    from edge_client.evaluate import evaluate, write_evaluation
    from splitlab.data import load_splits
    from splitlab.data.splits import parts_of
    from splitlab.storage import require_writable

    parts = parts_of(partition)
    if out is not None:
        require_writable(out)
    options: Connection = ctx.obj
    half, client = options.open()
    with client:
        splits = load_splits(
            dataset,
            size=size or half.input.size,
            seed=seed,
            root=data_root,
            download=download,
        )
        splits = half.labelled(splits, dataset)
        for note in splits.notes:
            errors.print(f"data: {note}", style="yellow", markup=False)
        images = splits.limited(parts, seed).mixed(parts, limit, seed)
        if hold:
            print(json.dumps({"event": "ready", "images": len(images)}), flush=True)
            sys.stdin.readline()
        with Progress(console=errors, transient=True, disable=not errors.is_terminal) as bar:
            task = bar.add_task("sending", total=len(images) * repeats)
            done = evaluate(
                client,
                images,
                batch=batch,
                repeat=repeats,
                secret_seed=secret_seed,
                advance=lambda count: bar.advance(task, count),
            )
    if out is not None:
        write_evaluation(out, done)
    answer(as_json, done.account, *_shown(done))


def _shown(done: Evaluation) -> list[RenderableType]:
    account = done.account
    accuracy = (
        f"accuracy {account['accuracy']:z.2f} % on {account['images']} images "
        f"x {account['repeats']}, {account['images_per_second']:z.0f} images/s"
    )
    rate = account["rate"]
    sent = (
        f"bytes per image: {rate['payload_up']:z.0f} up and {rate['payload_down']:z.0f} down, "
        f"framed {rate['framed_up']:z.0f} and {rate['framed_down']:z.0f}"
    )
    title = f"latency of a request of {account['batch']} images"
    table = Table("stage", "p50, ms", "p95, ms", "of the total's p50, ms", title=title)
    for stage, values in account["latency"].items():
        part = f"{values['part']:z.2f}" if "part" in values else ""
        table.add_row(stage, f"{values['p50']:z.2f}", f"{values['p95']:z.2f}", part)
    return [accuracy, sent, table]
