"""`bench`: train and deploy, grant, sweep, report, measure speed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bench.cli_groups import NetworkOptions
from bench.cli_options import (
    NETWORK_HELP,
    AsJson,
    Attacked,
    Attacks,
    Aux,
    CacheFolder,
    DataRoot,
    Dataset,
    Deployment,
    Download,
    GrantFlag,
    Granularity,
    Imports,
    KeepImages,
    Links,
    LpipsWeights,
    Observe,
    Queries,
    Repeats,
    RunFolder,
    Seed,
    SettingImages,
    Settings,
    Splits,
    Validation,
    Victims,
    Wires,
    Workers,
)
from bench.cli_report import report
from bench.cli_train import train
from bench.perf.cli import perf
from bench.perf.soak.cli import soak
from bench.point.cache.cli import cache as cache_command
from bench.reproduce.cli import reproduce, search
from splitlab import completion
from splitlab.answers import answer
from splitlab.cli_options import asked, grouped
from splitlab.console import CommandLine, console, guarded
from splitlab.help_sections import RUN
from splitlab.known_names import require_network

app = CommandLine(
    keep_freed=True,
    help="Train and deploy a split network, attack what crosses the wire, report what leaks.",
)
app.add_typer(perf, name="perf")
app.command()(report)
app.command()(reproduce)
app.command()(search)
app.command()(soak)
app.command()(train)
app.command("cache")(cache_command)


@app.command("sweep-split-points")
@guarded
@grouped
def sweep_split_points(
    *,
    out: RunFolder = Path("runs/default"),
    splits: Splits = "6",
    granularity: Granularity = "block",
    wire: Wires = None,
    attack: Attacks = None,
    set_option: Settings = None,
    attacked: Attacked = None,
    queries: Queries = None,
    validation: Validation = None,
    victims: Victims = None,
    repeats: Repeats = 1,
    link: Links = None,
    lpips_weights: LpipsWeights = None,
    keep_images: KeepImages = None,
    cache: CacheFolder = None,
    workers: Workers = 1,
    network: NetworkOptions,
) -> None:
    """Attack a network at each split point over a real client and server, and recommend one."""
    from bench.flag_words import chosen_attacks
    from bench.options import attack_options, counts, given, run_folder
    from bench.point import recipe
    from bench.point.cache.store import Cache, beside
    from bench.point.counts import require_shown
    from bench.point.data_notes import show
    from bench.sweep.document import run_document, told_of
    from bench.sweep.report import write_report
    from bench.sweep.sweep import Sweep
    from splitlab.record import RecordStore
    from splitlab.training import showing

    fields: dict[str, Any] = {
        **network.fields(),
        "splits": splits,
        "granularity": granularity,
        **recipe.wires_of(wire),
        "attack_options": attack_options(set_option or (), attack or ()),
        **given(queries=queries, validation_images=validation, victims=victims),
        "repeats": repeats,
        "links": tuple(dict.fromkeys(link or ())),
        "keep_images": keep_images,
    }
    if attack:
        fields["attacks"] = chosen_attacks(attack)[0]
    if attacked:
        fields["attacked"] = counts(attacked)
    config = recipe.validated(**fields)
    require_shown(config)
    with showing(console) as progress, run_folder(out, network.dry_run) as place:
        sweep = Sweep(
            place,
            config,
            weights=network.weights,
            data_root=network.data_root,
            lpips_weights=lpips_weights,
            labels=network.labels,
            download=network.download,
            secret_seed=network.secret_seed,
            cache=Cache(cache) if cache else beside(out),
            workers=workers,
            progress=progress,
        )
        show(sweep.notes)
        sweep.estimate().show(console, network.dry_run, network.as_json)
        if network.dry_run:
            return
        sweep.execute()
    page = write_report(out)
    records = RecordStore(out).all()
    answer(network.as_json, run_document(records, page), *told_of(records), f"Report: {page}")


@app.command()
@guarded
def grant(
    deployment: Deployment,
    out: Annotated[
        Path, typer.Option(help="Folder that the adversary is given.", rich_help_panel=RUN)
    ],
    head: Annotated[bool, GrantFlag(help="Weights of the client's head.")] = False,
    defense: Annotated[bool, GrantFlag(help="Which defence acts, with its levels.")] = False,
    noise: Annotated[bool, GrantFlag(help="The fixed noise itself.")] = False,
    bodies: Annotated[bool, GrantFlag(help="The server's networks.")] = False,
    tail: Annotated[bool, GrantFlag(help="Weights of the client's tail.")] = False,
    selector: Annotated[bool, GrantFlag(help="Which outputs the client uses.")] = False,
    count: Annotated[bool, GrantFlag("--P", help="How many outputs the client uses.")] = False,
    capture: Annotated[
        Path | None,
        GrantFlag(help="Folder that a tap wrote; `adversary attack` adds its own by itself."),
    ] = None,
    aux: Aux = 0,
    validation: SettingImages = 0,
    observe: Observe = 0,
    dataset: Dataset = "photo-patches",
    seed: Seed = 0,
    data_root: DataRoot = None,
    download: Download = False,
    imports: Imports = None,
    as_json: AsJson = False,
) -> None:
    """Write what an adversary is granted, and nothing else, into a folder for it."""
    from adversary.contract.grant import write_grant
    from bench.point.data_notes import show
    from bench.point.grants import GrantRequest, adversary_images, make_threat
    from splitlab.capture import Capture
    from splitlab.contracts.own_code import permit

    permit(*(imports or ()))
    request = GrantRequest(
        *(head, defense, noise, bodies, tail, selector, aux, validation, observe),
        P=count,
        capture=capture is not None,
    )
    seen = Capture.open(capture).features()[1] if capture is not None else None
    splits = adversary_images(deployment, dataset, seed, data_root, download)
    show(splits.notes)
    write_grant(out, make_threat(deployment, request, splits, seed, "granted", seen))
    card = request.card()
    told = ", ".join(f"{k} {v}" if v is not True else k for k, v in card.items())
    answer(as_json, {"granted": card, "grant": out}, f"granted to the adversary: {told}", str(out))


@app.command()
@guarded
def splits(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help=NETWORK_HELP,
            callback=asked(require_network),
            autocompletion=completion.names_of(completion.NETWORKS),
        ),
    ],
    size: Annotated[int, typer.Option(min=1, max=2048, help="Side of the images.")] = 32,
    classes: Annotated[
        int | None,
        typer.Option(min=1, max=10**6, help="Number of classes; default 10, or your network's."),
    ] = None,
    operations: Annotated[bool, typer.Option(help="Every operation, not only blocks.")] = False,
    as_json: AsJson = False,
) -> None:
    """List a network's split points: shape, wire bytes, parameters and MACs on each side."""
    from bench.sweep.splits import show_splits

    show_splits(model, size, classes, operations, as_json)
