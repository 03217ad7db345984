"""`adversary tap`: listen between a client and its server."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from splitlab.console import guarded
from splitlab.errors import SplitLabError


@guarded
def tap(
    listen: Annotated[str, typer.Option(help="HOST:PORT for the client; port 0 picks a free one")],
    upstream: Annotated[str, typer.Option(help="HOST:PORT of the server")],
    record: Annotated[Path, typer.Option(help="folder to write the capture into")],
    raw: Annotated[
        bool, typer.Option("--raw", help="relay TCP and keep sizes and times only, as under TLS")
    ] = False,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="allow plaintext off loopback")
    ] = False,
) -> None:
    """Relay between a client and its server and keep what goes by, until SIGTERM or Ctrl-C.

    Prints one JSON line when it listens and one when it has stopped.
    """
    from adversary.tap.grpc_relay import GrpcRelay
    from adversary.tap.tcp_relay import TcpRelay
    from splitlab.capture import CaptureWriter

    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    writer = CaptureWriter(record, "tcp" if raw else "relay")
    relay: GrpcRelay | TcpRelay
    try:
        if raw:
            relay = TcpRelay(listen, upstream, tap=writer)
        else:
            relay = GrpcRelay(listen, upstream, tap=writer, insecure=insecure)
    except SplitLabError:
        writer.discard()
        raise
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    relay.start()
    _say("listening", host=relay.host, port=relay.port, upstream=upstream, raw=raw)
    stopping.wait()
    relay.stop()
    stats = writer.close()
    _say("stopped", tap={"frames": stats.frames, "dropped": stats.dropped})


def _say(event: str, **facts: Any) -> None:
    print(json.dumps({"event": event, **facts}), flush=True)
