"""`cloud-server`: serve the bodies of one deployment, or hand a server its part of them."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from cloud_server.offline import body_ids, export_triton, make_certificates, say, split
from splitlab.console import CommandLine, WholeSentences, guarded
from splitlab.errors import SplitLabError
from splitlab.import_option import Imports


class ServeUnlessTold(WholeSentences):
    """`cloud-server HALF ...` is `cloud-server serve HALF ...`; other words name a command."""

    unless_told = "serve"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] != "--help" and args[0] not in self.commands:
            args = [self.unless_told, *args]
        return super().parse_args(ctx, args)


app = CommandLine(
    cls=ServeUnlessTold,
    help="Serve the bodies of a deployment: `cloud-server HALF` is `cloud-server serve HALF`.",
)


@app.command()
@guarded
def serve(
    half: Annotated[
        Path, typer.Argument(metavar="HALF", help="the server half, DEPLOYMENT/server")
    ],
    listen: Annotated[
        str, typer.Option(help="HOST:PORT; port 0 picks a free one and prints it")
    ] = "127.0.0.1:50051",
    bodies: Annotated[
        str | None,
        typer.Option(help="serve only these, such as 0,2; default: all whose shard is there"),
    ] = None,
    imports: Imports = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="allow plaintext off loopback")
    ] = False,
    tap: Annotated[
        Path | None,
        typer.Option(
            help="folder in which to keep what passes, as a capture; what the disk does not take "
            "is dropped, told and counted (--metrics), and serving goes on"
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="threads of a forward pass; default: torch's choice")
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            help="torch (BatchNorm folded, arranged as is fastest here), onnxruntime, openvino, "
            "cudagraphs, folded, plain (the loop), or auto: measure all that are installed, with "
            "one row and with --together, and take the fastest, or one for few rows and one for "
            "many where that pays for the memory of both"
        ),
    ] = "torch",
    bfloat16: Annotated[
        bool, typer.Option("--bfloat16", help="take products in BF16: faster, and less exact")
    ] = False,
    together: Annotated[
        int,
        typer.Option(min=1, help="rows of waiting requests that may go through the bodies at once"),
    ] = 32,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    grace: Annotated[
        float, typer.Option(min=0.0, help="seconds for requests under way after SIGTERM")
    ] = 30.0,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM certificate chain")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM private key")] = None,
    client_ca: Annotated[
        Path | None, typer.Option(help="PEM authority; clients must then show a certificate of it")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="file with a token that clients must then show")
    ] = None,
    max_peer_calls: Annotated[
        int,
        typer.Option(
            min=1,
            max=1024,
            help="open calls of one host; twice as many of all, of which a host gets as many as "
            "it leaves free",
        ),
    ] = 128,
    max_streams: Annotated[
        int,
        typer.Option(
            min=1,
            max=1024,
            help="open ModelStreamInfer calls of all hosts; each takes the memory of the largest "
            "request, all together half of --max-memory at most; further requests go as calls",
        ),
    ] = 32,
    max_memory: Annotated[
        int,
        typer.Option(
            min=1,
            help="MiB of requests that arrive, wait or run, with their values in FP32 and their "
            "replies; a host gets as much as it leaves free",
        ),
    ] = 1024,
    max_connections: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="open connections of all hosts together, further ones are closed at once; one "
            "host may hold them all; default: half of what fits into `ulimit -n`, at most 4096; "
            "of each address that a name in --listen stands for",
        ),
    ] = None,
    patience: Annotated[
        float, typer.Option(min=0.1, help="seconds for a message to arrive, or a reply to be taken")
    ] = 60.0,
    max_wait: Annotated[
        float, typer.Option(min=0.1, help="seconds that a request may wait for the bodies")
    ] = 300.0,
    metrics: Annotated[
        str | None, typer.Option(help="HOST:PORT at which Prometheus may read; default: none")
    ] = None,
    metrics_open: Annotated[
        bool, typer.Option("--metrics-open", help="allow --metrics off loopback; it has no TLS")
    ] = False,
    log_requests: Annotated[
        bool,
        typer.Option(
            "--log-requests",
            help="once it serves, a JSON line for each on standard error, and all else there as "
            "JSON too, with tracebacks (what is wrong with the options stays in plain words); "
            "gRPC's C++ core is silent then, unless GRPC_VERBOSITY is set",
        ),
    ] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="validate half and options, run one row, say so, and exit"),
    ] = False,
) -> None:
    """Answer features with the outputs of the N bodies, until SIGTERM or Ctrl-C.

    Prints one JSON line when it listens and one when it has stopped.
    """
    if log_requests:
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # read when gRPC is imported

    import torch

    from cloud_server.check import checked
    from cloud_server.guard.connections import room_for
    from cloud_server.guard.limits import Limits
    from cloud_server.handler import largest_held
    from cloud_server.server import CloudServer
    from cloud_server.watch.logs import log_as_json, tap_trouble
    from cloud_server.watch.metrics_port import check_metrics
    from splitlab.capture import CaptureWriter, check_tap
    from splitlab.contracts.own_code import permit
    from splitlab.deployment import ServerHalf
    from splitlab.machine import settle
    from splitlab.wire.channels import Tls, check_listen, split_address
    from splitlab.wire.token import read_token

    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    threads = threads or torch.get_num_threads()
    # libgomp hardly lets threads spin once a process's teams have more threads than there are
    # cores, which halves their speed; so the engine's own thread is the only one with a team.
    torch.set_num_threads(1)
    given = any((tls_cert, tls_key, client_ca))
    token = None if token_file is None else read_token(token_file)
    permit(*(imports or ()))
    loaded = ServerHalf.load(half, None if bodies is None else body_ids(bodies))
    tls = Tls(tls_cert, tls_key, client_ca) if given else None
    limits = Limits(
        max_peer_calls, max_streams, max_memory << 20, patience, max_wait, max_connections
    )
    if check:
        limits.check(largest_held(loaded))
        check_listen(listen, insecure=insecure, tls=tls, token=token)
        room_for(limits.connections, split_address(listen, "--listen")[0])
        if metrics is not None:
            check_metrics(metrics, off_loopback=metrics_open)
        if tap is not None:
            check_tap(tap, "server")
        say("checked", **checked(loaded, engine, device, bfloat16, threads))
        return
    if log_requests:
        log_as_json(sys.stderr)
    writer = CaptureWriter(tap, "server", report=tap_trouble) if tap is not None else None
    try:
        server = CloudServer(
            loaded,
            listen,
            tap=writer,
            insecure=insecure,
            tls=tls,
            threads=threads,
            engine=engine,
            bfloat16=bfloat16,
            together=together,
            device=device,
            token=token,
            limits=limits,
            log=sys.stderr if log_requests else None,
            metrics=metrics,
            metrics_open=metrics_open,
        )
    except SplitLabError:
        if writer is not None:
            writer.close()
        raise
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    settle()
    server.start()
    say(
        "listening",
        host=server.host,
        port=server.port,
        model=loaded.model_name,
        digest=loaded.digest,
        bodies=loaded.body_ids,
        **server.engine.as_facts(),
        **({} if server.metrics_port is None else {"metrics_port": server.metrics_port}),
    )
    stopping.wait()
    finished = server.stop(grace)
    facts: dict[str, Any] = {"finished": finished}
    if writer is not None:
        stats = writer.close()
        facts["tap"] = {"frames": stats.frames, "dropped": stats.dropped}
    say("stopped", **facts)


for command in (split, export_triton, make_certificates):
    app.command()(command)
