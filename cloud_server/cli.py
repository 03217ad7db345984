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

from cloud_server.cli_options import (
    Bfloat16,
    Bodies,
    Check,
    ClientCa,
    Device,
    Engine,
    Grace,
    Insecure,
    Listen,
    LogRequests,
    MaxConnections,
    MaxMemory,
    MaxPeerCalls,
    MaxStreams,
    MaxWait,
    Metrics,
    MetricsOpen,
    Patience,
    Tap,
    Threads,
    TlsCert,
    TlsKey,
    Together,
    TokenFile,
)
from cloud_server.offline import body_ids, export_triton, make_certificates, say, split
from splitlab.cli_options import Imports
from splitlab.console import CommandLine, WholeSentences, guarded
from splitlab.errors import SplitLabError


class ServeUnlessTold(WholeSentences):
    """`cloud-server HALF ...` is `cloud-server serve HALF ...`; other words name a command."""

    unless_told = "serve"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        own = {"--help", *(name for option in self.params for name in option.opts)}
        if args and args[0] not in own and args[0] not in self.commands:
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
    listen: Listen = "127.0.0.1:50051",
    bodies: Bodies = None,
    imports: Imports = None,
    insecure: Insecure = False,
    tap: Tap = None,
    threads: Threads = None,
    engine: Engine = "torch",
    bfloat16: Bfloat16 = False,
    together: Together = 32,
    device: Device = "auto",
    grace: Grace = 30.0,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    client_ca: ClientCa = None,
    token_file: TokenFile = None,
    max_peer_calls: MaxPeerCalls = 128,
    max_streams: MaxStreams = 32,
    max_memory: MaxMemory = 1024,
    max_connections: MaxConnections = None,
    patience: Patience = 60.0,
    max_wait: MaxWait = 300.0,
    metrics: Metrics = None,
    metrics_open: MetricsOpen = False,
    log_requests: LogRequests = False,
    check: Check = False,
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
            writer.discard()
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
