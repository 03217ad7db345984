"""Options of `edge-client`: of the connection, and of sending a data set."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from splitlab import completion
from splitlab import help_sections as sections
from splitlab.cli_options import Insecure as Insecure
from splitlab.cli_options import asked
from splitlab.known_names import require_dataset

_data = partial(typer.Option, rich_help_panel=sections.DATA)
_limits = partial(typer.Option, rich_help_panel=sections.LIMITS)
_run = partial(typer.Option, rich_help_panel=sections.RUN)
_server = partial(typer.Option, rich_help_panel=sections.SERVER)
_trust = partial(typer.Option, rich_help_panel=sections.TRUST)
_wire = partial(typer.Option, rich_help_panel=sections.WIRE)

ServerAddress = Annotated[
    list[str] | None,
    _server(help="HOST:PORT of a server; repeat it for servers with different bodies"),
]
ServerAddresses = Annotated[
    str,
    _server(help="HOST:PORT,HOST:PORT,...: the same as --server, repeated"),
]
Replicas = Annotated[
    bool,
    _server(
        "--replicas",
        help="servers may hold the same bodies: they take turns, and where one is dead or "
        "exceeds --deadline the same bytes go to another",
    ),
]
Deadline = Annotated[
    float,
    _limits(min=0.001, help="seconds that one attempt may take"),
]
Retries = Annotated[
    int,
    _limits(min=0, help="further attempts while a server cannot be reached"),
]
Window = Annotated[int, _limits(min=1, help="micro-batches under way at a time")]
Threads = Annotated[
    int | None,
    _limits(min=1, help="threads of head and tail; default: torch's choice"),
]
TlsCert = Annotated[Path | None, _trust(help="PEM certificate to show")]
TlsKey = Annotated[Path | None, _trust(help="PEM private key of it")]
TlsCa = Annotated[
    Path | None,
    _trust(help="PEM authority that signed the server's certificate"),
]
TokenFile = Annotated[
    Path | None,
    _trust(help="file with the token that the servers ask for"),
]
SimulatedLink = Annotated[
    str | None,
    _wire(
        help="simulate a link, which all servers share: wifi, lte, 5g, fiber or "
        "rtt=40ms,up=10mbps,down=50mbps,loss=1%",
        autocompletion=completion.names_of(completion.LINKS),
    ),
]
Dataset = Annotated[
    str,
    _data(
        help="photo-patches, cifar10, cifar100 or imagefolder:PATH",
        callback=asked(require_dataset),
        autocompletion=completion.names_of(completion.DATASETS),
    ),
]
Partition = Annotated[
    str,
    _data(
        help="train, auxiliary, validation or victims; several with commas are sent mixed, "
        "--limit of each; train:4000 is what `--train-images 4000` learns from",
        autocompletion=completion.one_of("train", "auxiliary", "validation", "victims"),
    ),
]
Limit = Annotated[int | None, _data(min=1, help="at most so many images")]
Repeats = Annotated[int, _run(min=1, help="how often each image is sent")]
Batch = Annotated[int, _run(min=1, help="images of one request")]
Size = Annotated[
    int | None,
    _data(min=1, help="side of the images, px; default: the head's"),
]
Seed = Annotated[int, _data(min=0, help="public seed of the partitions")]
DataRoot = Annotated[Path | None, _data(help="where known data sets lie")]
Download = Annotated[bool, _data("--download", help="fetch what is missing")]
Out = Annotated[
    Path | None,
    _run(help="folder for the account and the join table"),
]
SecretSeed = Annotated[
    int | None,
    _run(help="draws order and ids, for reproduction only"),
]
Hold = Annotated[
    bool,
    _run("--hold", help="when ready say so, and wait for a line on stdin"),
]
