"""Pages of runs made by hand, as full as they come: attacks, datatypes, links, grids, a paper."""

from dataclasses import replace

import torch
from records import NAMES, interval, record
from reproductions import PAPER, Row, made, small

from bench.report.grids import save_grid
from bench.reproduce.frame.experiment import Claim, ExtraTable
from bench.reproduce.frame.page import write_page
from bench.reproduce.frame.summary import summarise
from bench.sweep.report import write_report
from splitlab.record import RecordStore
from splitlab.record.latency import LINK_PREFIX

LOSSY = "rtt=40ms,up=10mbps,down=50mbps,loss=1%"
METRICS = ("lpips_alex", "lpips_squeeze", "reidentified_by_pixels", "reidentified_by_features")


def sweep(folder, links=("lte", LOSSY), wires=("FP32", "INT8")):
    """Two attacks on other victims, every metric, two datatypes and two links."""
    for split in NAMES:
        for wire in wires:
            for attack, knowledge, floor in (
                ("decoder", "undefended", 12.7),
                ("rmle", "undefended", 14.2),
            ):
                RecordStore(folder).write(
                    _point(folder, split, wire, attack, knowledge, floor, links)
                )
    return write_report(folder).read_text()


def _point(folder, split, wire, attack, knowledge, floor, links):
    one = record(
        split,
        attack=attack,
        knowledge=knowledge,
        floor=floor,
        psnr=100.0 if attack == "rmle" else 58.9,
    )
    config = {
        **one.config,
        "wire": wire,
        "victim": {"epochs": 2, "flip": True},
        "attack_options": {"steps": 5},
    }
    times = {
        LINK_PREFIX + link: {"p50": 1234.5, "p95": 2345.6, "mean": 1300.0, "count": 8}
        for link in links
    }
    name = split if wire == "FP32" else f"{split}-{wire}"
    number = f"{NAMES.index(split)}{attack}{wire}".encode().hex()
    save_grid(
        folder / "images" / f"{name}-{attack}.png",
        torch.rand(8, 3, 32, 32),
        torch.rand(8, 3, 32, 32),
    )
    return one.model_copy(
        update={
            "hash": number.ljust(64, "0"),
            "config": config,
            "split": {**one.split, "name": name},
            "leakage": {**one.leakage, **{m: interval(0.5, "1") for m in METRICS}},
            "latency": {**one.latency, **times},
            "images": f"{name}-{attack}.png",
            "threat": {
                "box": "white",
                "auxiliary": 2000,
                "observe": 2000,
                "synthetic": {"images": 5},
            },
        }
    )


def reproduction(folder):
    """Rows with the paper's numbers and cells of a grid, and a table of sixteen columns."""
    found = {0: {}, 1: {}}
    for seed in found:
        for key in ("none/decoder", "none/blind", "many/decoder", "many/head"):
            one = made(key, seed, place=key.partition("/")[0], doubts=("it was stopped early",))
            found[seed][key] = one
            save_grid(
                folder / "images" / f"{one.hash}.png",
                torch.rand(8, 3, 32, 32),
                torch.rand(8, 3, 32, 32),
            )
    rows = [
        Row(
            "none",
            "h = 1, a network without any defence",
            "decoder",
            ("none/decoder",),
            paper=PAPER,
        ),
        Row("many", "many", "best of two", ("many/decoder", "many/head"), "psnr", PAPER),
        *(
            Row(
                f"cell-{k}-{t}",
                f"h = {k}",
                "grid",
                ("none/decoder",),
                cell=(f"h = {k}", f"t = {t}"),
            )
            for k in (1, 2)
            for t in (1, 2, 3)
        ),
    ]
    columns = tuple(f"a heading of column {k} [ms]" for k in range(16))
    wide = ExtraTable(
        "Quality and time",
        columns,
        tuple((f"method {k}", *["12.34"] * 15) for k in range(4)),
        "A note.",
    )
    told = (
        Claim("many is far below none, where no defence acts", "psnr", "many", "below", "none"),
    )
    experiment = replace(small(rows=rows, claims=told), tables=(lambda *_: [wide],))
    records = [one for own in found.values() for one in own.values()]
    return write_page(
        folder, experiment, summarise(experiment, found), records, {"0": 12.0}
    ).read_text()


def printed(page):
    """The same page with the rules of paper on the screen."""
    return page.replace("@media screen", "@media speech").replace("@media print", "@media screen")
