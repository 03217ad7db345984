"""A sweep's records as tables: every column for the report, the essence for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from bench.latency.chart import told
from bench.latency.link_runs import links_of, over, shown_over
from bench.report.quantities import floor_is, headline, headlines, quantities, value_in
from bench.sweep.front import FRONT_RULE, pareto_front
from bench.sweep.wires import CHANGE, WIRE_COLUMNS, against_first
from splitlab.contracts import Quantity
from splitlab.metrics.image.psnr import METRIC as PSNR
from splitlab.metrics.image.ssim import METRIC as SSIM
from splitlab.record import Leakage, Record
from splitlab.record.evidence_doubts import JUDGE_AT_CHANCE

DECODER = f"decoder with queries [{PSNR.unit}]"
ATTACKED = ("attack", "knowledge", "images", "victims")
FULL = 9
"""Columns beside the split point from which on a terminal has no room between them."""


@dataclass(frozen=True)
class Cell:
    text: str
    interval: str = ""


@dataclass(frozen=True)
class SweepRow:
    cells: tuple[Cell, ...]
    best: bool


@dataclass(frozen=True)
class SweepTable:
    """
    Args:
        leakage: the columns that differ between attacks on one split point; the others are the
            split point's.
    """

    columns: tuple[str, ...]
    rows: tuple[SweepRow, ...]
    note: str
    leakage: frozenset[str] = frozenset()


def sweep_table(records: Sequence[Record], recommended: str | None) -> SweepTable:
    """A row for each split point and attack; metrics that no record could compute are left out."""
    metrics = [
        one
        for name, one in quantities(records).items()
        if one.tabled and any(name in r.leakage and _shown(r.leakage[name]) for r in records)
    ]
    heads = headlines(records)
    floors = floor_titles(heads)
    links = links_of(records)
    several = len({record.config.get("wire") for record in records}) > 1
    columns = (
        "split point",
        *ATTACKED,
        *(metric.heading for metric in metrics),
        *floors,
        DECODER,
        "accuracy [%]",
        "KiB up",
        "client MACs",
        "p50 [ms]",
        *(f"{link}, {shown_over(link, records)} [ms]" for link in links),
        *(WIRE_COLUMNS if several else ()),
        *(("Pareto front",) if links or several else ()),
    )
    front = pareto_front(records) if links or several else frozenset()
    queried = decoder_with_queries(records)
    rows = []
    for record in records:
        name = record.split["name"]
        macs = record.split["head_macs"] + record.split["rest_macs"]
        top = queried.get(name)
        floor = record.floor.get(headline(record).name)
        cells = [
            Cell(name),
            Cell(str(record.config["attack"])),
            Cell(str(record.config["knowledge"])),
            Cell(images_of(record)),
            Cell(str(floor.items) if floor else "n/a"),
            *(_metric(metric, record.leakage.get(metric.name)) for metric in metrics),
            *(_number(head, value_in(record.floor, head)) for head in heads),
            _number(PSNR, top),
            Cell(f"{record.utility['accuracy']:z.1f}"),
            Cell(f"{record.rate['payload_up'] / 1024:z.1f}"),
            Cell(f"{100 * record.split['head_macs'] / max(macs, 1):z.0f} %"),
            Cell(_p50(record)),
            *(Cell(over(link, record)) for link in links),
            *(map(Cell, against_first(record, records)) if several else ()),
            *((Cell("yes" if name in front else ""),) if links or several else ()),
        ]
        rows.append(SweepRow(tuple(cells), best=name == recommended))
    note = (
        "Mean and 95 % bootstrap interval over independent groups of victims. Floor: answering "
        f"with {floor_is(records)}, on the victims of that row. Decoder with queries: one that "
        "learned from chosen inputs at the same split point, on all victims; a reference and no "
        "bound, as an attack that knows the head may read more. "
        f"{told(records)} "
        "Images: what the adversary was given or made to "
        "learn from and to choose settings by; a row on synthetic ones saw no real image."
    )
    if links:
        note += (
            " Links are simulated, a request of one image each; where one loses packets, what that "
            "adds is modelled over thousands of requests, and their mean is shown."
        )
    if several:
        note += (
            " A place named after a split point and a datatype is the same deployment on that "
            "wire; its changes are against the first wire, attack by attack."
        )
    if links or several:
        note += f" {FRONT_RULE}"
    told_of = {*ATTACKED, *(m.heading for m in metrics), *floors, DECODER, CHANGE}
    return SweepTable(columns, tuple(rows), note, frozenset(told_of))


def floor_titles(heads: Sequence[Quantity]) -> list[str]:
    """Headings of the floors of each headline; the first has a short one."""
    return [
        head.heading_of("floor") if not number else f"floor, {head.heading}"
        for number, head in enumerate(heads)
    ]


def _number(quantity: Quantity, value: float | None) -> Cell:
    return Cell("n/a" if value is None else quantity.number(value))


def images_of(record: Record) -> str:
    """What the adversary's images were: "real images", "synthetic" or "none"."""
    told = str(record.attack_facts.get("learned_from", ""))
    if told == "nothing":
        return "none"
    if record.threat.get("synthetic") or "synthetic" in told:
        return "synthetic"
    given = record.threat.get("auxiliary") or record.threat.get("observe")
    return "real images" if given else "none"


def decoder_with_queries(records: Sequence[Record]) -> dict[str, float]:
    """PSNR in dB of the decoder with queries at each split point; no bound to white boxes."""
    found: dict[str, float] = {}
    for record in records:
        value = value_in(record.leakage, PSNR)
        queried = record.config["attack"] == "decoder" and record.threat.get("observe")
        if queried and value is not None:
            name = record.split["name"]
            found[name] = max(value, found.get(name, value))
    return found


def _shown(value: Leakage) -> bool:
    """Whether its column says anything: a number, or why a number would say nothing."""
    return value.mean is not None or value.why.startswith(JUDGE_AT_CHANCE)


def _metric(metric: Quantity, value: Leakage | None) -> Cell:
    if value is None or value.mean is None:
        judged = value is not None and value.why.startswith(JUDGE_AT_CHANCE)
        return Cell(JUDGE_AT_CHANCE if judged else "n/a")
    interval = ""
    if value.low is not None and value.high is not None:
        interval = f"{metric.number(value.low)}..{metric.number(value.high)}"
    return Cell(metric.number(value.mean), interval)


def rich_table(records: Sequence[Record], recommended: str | None, title: str) -> Table:
    """One row a split point for a terminal; the report's table has every column.

    Each attack's cell is its headline, the PSNR with the SSIM beside it where there is room. Links
    stand in the place of the latency over loopback, and with them or several datatypes the Pareto
    front is marked. Two attacks take 80 columns, and with four links 100, as four attacks with them
    do.
    """
    lines = sorted({(str(r.config["attack"]), str(r.config["knowledge"])) for r in records})
    links = links_of(records)
    weighed = bool(links) or len({record.config.get("wire") for record in records}) > 1
    front = pareto_front(records) if weighed else frozenset()
    room = len(lines) <= 2
    similar = room and len(links) <= 2
    costs = ["client\nMACs %"] if room else []
    if links:
        costs += [_link_title(link, records) for link in links]
    elif room:
        costs += ["p50\nms"]
    titles = ["floor", "acc.\n%", "KiB\nup", *costs, *(["front"] if weighed else [])]
    heads = headlines(records)
    caption = "attacks: " + ", ".join(map(_in_words, heads))
    caption += f", {SSIM.title}" if similar and heads[:1] == [PSNR] else ""
    first = [r for r in records if headline(r) == heads[0]]
    caption += "; floor: mean image" if heads[:1] == [PSNR] else f"; floor: {floor_is(first)}"
    caption += _floor_of(first)
    caption += "\nfront: no other place is clearly better in all that counts" if weighed else ""
    drawn = Table(
        title=title,
        header_style="bold",
        caption=caption,
        pad_edge=False,
        padding=(0, 0 if len(lines) + len(titles) >= FULL else 1),
    )
    drawn.add_column("split\npoint", overflow="fold", no_wrap=True)
    made = {
        (str(r.config["attack"]), str(r.config["knowledge"]))
        for r in records
        if images_of(r) == "synthetic"
    }
    for attack, knowledge in lines:
        known = "" if knowledge == "undefended" else f"\n{knowledge}"
        known += "\nsynthetic" if (attack, knowledge) in made else ""
        drawn.add_column(f"{attack}{known}", justify="right", no_wrap=True)
    for name in titles:
        drawn.add_column(name, justify="right", no_wrap=True)
    by_split: dict[str, dict[tuple[str, str], Record]] = {}
    for record in sorted(records, key=lambda r: r.split["index"]):
        line = (str(record.config["attack"]), str(record.config["knowledge"]))
        by_split.setdefault(record.split["name"], {})[line] = record
    for name, group in by_split.items():
        one = next(iter(group.values()))
        macs = one.split["head_macs"] + one.split["rest_macs"]
        judged = [r for r in group.values() if heads[0].name in r.floor] or [one]
        widest = max(judged, key=_floor_items)
        cells = [
            name,
            *(_leak(group[line], heads, similar) if line in group else "-" for line in lines),
            _number(heads[0], value_in(widest.floor, heads[0])).text,
            f"{one.utility['accuracy']:z.1f}",
            f"{one.rate['payload_up'] / 1024:z.1f}",
        ]
        if room:
            cells.append(f"{100 * one.split['head_macs'] / max(macs, 1):z.0f}")
        if links:
            cells += [over(link, one) for link in links]
        elif room:
            cells.append(_p50(one))
        if weighed:
            cells.append("yes" if name in front else "")
        drawn.add_row(*cells, style="bold cyan" if name == recommended else None)
    return drawn


def _floor_of(records: Sequence[Record]) -> str:
    """Whose floor a line shows, where attacks were run on other victims and so have their own."""
    counts: dict[str, int] = {}
    for record in records:
        if items := _floor_items(record):
            name = str(record.config["attack"])
            counts[name] = max(items, counts.get(name, 0))
    most = max(counts.values(), default=0)
    if all(count == most for count in counts.values()):
        return ""
    names = ", ".join(sorted(name for name, count in counts.items() if count == most))
    return f" on the {most} victims of {names}"


def _p50(record: Record) -> str:
    total = record.latency.get("total")
    return f"{total['p50']:z.1f}" if total else "n/a"


def _link_title(link: str, records: Sequence[Record]) -> str:
    """Its name, a line for each part, and what of it is shown."""
    parts = link.replace(",", "\n")
    return f"{parts}\n{shown_over(link, records)}\nms"


def _floor_items(record: Record) -> int:
    """Victims that its floor was measured on."""
    floor = record.floor.get(headline(record).name)
    return floor.items if floor else 0


def _in_words(quantity: Quantity) -> str:
    return quantity.title + (f" in {quantity.unit}" if quantity.unit != "1" else "")


def _leak(record: Record, heads: Sequence[Quantity], with_ssim: bool) -> str:
    """The headline, named where it is not the table's first."""
    own = headline(record)
    value, ssim = value_in(record.leakage, own), value_in(record.leakage, SSIM)
    text = "n/a" if value is None else f"{value:z.{own.digits.brief}f}"
    if own.name != heads[0].name:
        return f"{own.title} {text}"
    if with_ssim and ssim is not None:
        text += f"  {ssim:z.{SSIM.digits.brief}f}"
    return text
