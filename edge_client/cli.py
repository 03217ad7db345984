"""`edge-client HALF --servers A,B infer|evaluate ...`: the trusted side's command line."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress
from rich.table import Table

from splitlab.console import CommandLine, WholeSentences, console, errors, guarded
from splitlab.import_option import Imports

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
    server: Annotated[
        list[str] | None,
        typer.Option(help="HOST:PORT of a server; repeat it for servers with different bodies"),
    ] = None,
    servers: Annotated[
        str, typer.Option(help="HOST:PORT,HOST:PORT,...: the same as --server, repeated")
    ] = "",
    replicas: Annotated[
        bool,
        typer.Option(
            "--replicas",
            help="servers may hold the same bodies: they take turns, and where one is dead or "
            "exceeds --deadline the same bytes go to another",
        ),
    ] = False,
    imports: Imports = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="allow plaintext off loopback")
    ] = False,
    deadline: Annotated[
        float, typer.Option(min=0.001, help="seconds that one attempt may take")
    ] = 30.0,
    retries: Annotated[
        int, typer.Option(min=0, help="further attempts, where the server is not there only")
    ] = 4,
    window: Annotated[int, typer.Option(min=1, help="micro-batches under way at a time")] = 8,
    threads: Annotated[
        int | None, typer.Option(min=1, help="threads of head and tail; default: torch's choice")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM certificate to show")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM private key of it")] = None,
    tls_ca: Annotated[
        Path | None, typer.Option(help="PEM authority that signed the server's certificate")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="file with the token that the servers ask for")
    ] = None,
    link: Annotated[
        str | None,
        typer.Option(
            help="simulate a link, which all servers share: wifi, lte, 5g, fiber or "
            "rtt=40ms,up=10mbps,down=50mbps,loss=1%"
        ),
    ] = None,
) -> None:
    """Run head and tail here and the bodies on one server or more."""
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
    as_json: Annotated[bool, typer.Option("--json", help="print JSON, not a table")] = False,
) -> None:
    """Classify images and say what was done to them."""
    from edge_client.classify import classify

    options: Connection = ctx.obj
    found, result = classify(options.open, images)
    if as_json:
        print(json.dumps({"images": found, "request_id": result.request_id}, indent=1))
        return
    table = Table("image", "class", "probability", "prepared")
    for row in found:
        words = (row["image"], row["class"], f"{row['probability']:z.3f}", row["prepared"])
        table.add_row(*words)
    console.print(table)
    console.print(
        f"{len(found)} images in {result.seconds * 1000:z.1f} ms, "
        f"{result.bytes_up} bytes up, {result.bytes_down} bytes down"
    )


@app.command()
@guarded
def evaluate(
    ctx: typer.Context,
    dataset: Annotated[
        str, typer.Option(help="photo-patches, cifar10, cifar100 or imagefolder:PATH")
    ],
    partition: Annotated[
        str, typer.Option(help="train, auxiliary, validation or victims")
    ] = "victims",
    limit: Annotated[int | None, typer.Option(min=1, help="at most so many images")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="how often each image is sent")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="images of one request")] = 8,
    size: Annotated[
        int | None, typer.Option(min=1, help="side of the images, px; default: the head's")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="public seed of the partitions")] = 0,
    data_root: Annotated[Path | None, typer.Option(help="where known data sets lie")] = None,
    download: Annotated[bool, typer.Option("--download", help="fetch what is missing")] = False,
    out: Annotated[Path | None, typer.Option(help="folder for the account and the join table")] = (
        None
    ),
    secret_seed: Annotated[
        int | None, typer.Option(help="draws order and ids, for reproduction only")
    ] = None,
    hold: Annotated[
        bool, typer.Option("--hold", help="when ready say so, and wait for a line on stdin")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON, not a table")] = False,
) -> None:
    """Send a data set, shuffled, and state accuracy, bytes per image and latency."""
    from edge_client.evaluate import evaluate, write_evaluation
    from splitlab.data import PARTITIONS, load_splits
    from splitlab.errors import UnknownName
    from splitlab.storage import require_writable

    if partition not in PARTITIONS:
        raise UnknownName("partition", partition, PARTITIONS)
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
        images = splits.partitions[partition]
        if limit is not None:
            images = images.take(limit, seed)
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
    if as_json:
        print(json.dumps(done.account, indent=1, sort_keys=True))
    else:
        _show(done)


def _show(done: Evaluation) -> None:
    account = done.account
    console.print(
        f"accuracy {account['accuracy']:z.2f} % on {account['images']} images "
        f"x {account['repeats']}, {account['images_per_second']:z.0f} images/s"
    )
    rate = account["rate"]
    console.print(
        f"bytes per image: {rate['payload_up']:z.0f} up and {rate['payload_down']:z.0f} down, "
        f"framed {rate['framed_up']:z.0f} and {rate['framed_down']:z.0f}"
    )
    title = f"latency of a request of {account['batch']} images"
    table = Table("stage", "p50, ms", "p95, ms", "of the total's p50, ms", title=title)
    for stage, values in account["latency"].items():
        part = f"{values['part']:z.2f}" if "part" in values else ""
        table.add_row(stage, f"{values['p50']:z.2f}", f"{values['p95']:z.2f}", part)
    console.print(table)
