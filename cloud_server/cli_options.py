"""Options of `cloud-server serve`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from splitlab import completion
from splitlab import help_sections as sections
from splitlab.cli_options import Insecure as Insecure

_limits = partial(typer.Option, rich_help_panel=sections.LIMITS)
_run = partial(typer.Option, rich_help_panel=sections.RUN)
_server = partial(typer.Option, rich_help_panel=sections.SERVER)
_trust = partial(typer.Option, rich_help_panel=sections.TRUST)
_watch = partial(typer.Option, rich_help_panel=sections.WATCH)

Listen = Annotated[
    str,
    _server(help="HOST:PORT; port 0 picks a free one and prints it"),
]
Bodies = Annotated[
    str | None,
    _server(help="serve only these, such as 0,2; default: all whose shard is there"),
]
Tap = Annotated[
    Path | None,
    _watch(
        help="folder that keeps what passes, as a capture; what the disk does not take is dropped, "
        "told and counted (--metrics), and serving goes on"
    ),
]
Threads = Annotated[
    int | None,
    _server(min=1, help="threads of a forward pass; default: torch's choice"),
]
Engine = Annotated[
    str,
    _server(
        help="torch, onnxruntime, openvino, cudagraphs, folded, plain, or auto: the "
        "fastest here, measured at the start",
        autocompletion=completion.one_of(
            *("torch", "onnxruntime", "openvino", "cudagraphs", "folded", "plain", "auto")
        ),
    ),
]
Bfloat16 = Annotated[
    bool,
    _server("--bfloat16", help="multiply in BF16: faster and less exact"),
]
Together = Annotated[
    int,
    _server(min=1, help="rows of waiting requests that may go through the bodies at once"),
]
Device = Annotated[
    str,
    _server(help="auto, cpu or cuda", autocompletion=completion.one_of("auto", "cpu", "cuda")),
]
Grace = Annotated[
    float,
    _limits(min=0.0, help="seconds for requests under way after SIGTERM"),
]
TlsCert = Annotated[Path | None, _trust(help="PEM certificate chain")]
TlsKey = Annotated[Path | None, _trust(help="PEM private key")]
ClientCa = Annotated[
    Path | None,
    _trust(help="PEM authority; clients must then show a certificate of it"),
]
TokenFile = Annotated[
    Path | None,
    _trust(help="file with a token that clients must then show"),
]
MaxPeerCalls = Annotated[
    int,
    _limits(
        min=1,
        max=1024,
        help="open calls of one host; all hosts together may have twice as many, and a host gets "
        "at most as many as are left free",
    ),
]
MaxStreams = Annotated[
    int,
    _limits(
        min=1,
        max=1024,
        help="open streams of all hosts; each holds the memory of the largest request, all "
        "together at most half of --max-memory; what finds no stream goes as a call",
    ),
]
MaxMemory = Annotated[
    int,
    _limits(
        min=1,
        help="MiB for requests that arrive, wait or run, with their values in FP32 and their "
        "replies; a host gets at most as much as is left free",
    ),
]
MaxConnections = Annotated[
    int | None,
    _limits(
        min=1,
        help="open connections of all hosts, at each address of --listen; further ones are closed "
        "at once; one host may hold them all; default: half of `ulimit -n`, at most 4096",
    ),
]
Patience = Annotated[
    float,
    _limits(min=0.1, help="seconds for a message to arrive, or a reply to be taken"),
]
MaxWait = Annotated[
    float,
    _limits(min=0.1, help="seconds that a request may wait for the bodies"),
]
Metrics = Annotated[
    str | None,
    _watch(help="HOST:PORT at which Prometheus may read; default: none"),
]
MetricsOpen = Annotated[
    bool,
    _watch("--metrics-open", help="allow --metrics off loopback; it has no TLS"),
]
LogRequests = Annotated[
    bool,
    _watch(
        "--log-requests",
        help="while serving, write a JSON line a request on standard error, and all else there as "
        "JSON too, with tracebacks; gRPC's C++ core is silent unless GRPC_VERBOSITY is set",
    ),
]
Check = Annotated[
    bool,
    _run("--check", help="validate the half and the options, run one row, and exit"),
]
