"""From records to rows, table, page: known numbers, and what is missing says why."""

import csv
import io
from dataclasses import replace

import pytest
import torch
from reproductions import MANY, NONE, PAPER, SETUP, Row, made, small
from rich.console import Console

from bench.point.setup import Place
from bench.report.grids import save_grid
from bench.reproduce.frame.costs import cost_table
from bench.reproduce.frame.experiment import (
    Claim,
    Experiment,
    ExtraTable,
    Line,
    Measurement,
    Skipped,
)
from bench.reproduce.frame.page import write_page
from bench.reproduce.frame.summary import summarise
from bench.reproduce.frame.table import rich_parts, write_csv
from splitlab.errors import BadInput, SplitLabError

PAIR = Row("many", "Many", "best of two", ("many/decoder", "many/head"))


TOLD = (Claim("it is there", "psnr", "many", "at least"),)


def records(seed, psnr=20.0, accuracy=80.0):
    return {
        "none/decoder": made("none/decoder", seed, psnr=25.0, accuracy=82.0),
        "none/blind": made("none/blind", seed, psnr=13.0, ssim=0.3, accuracy=82.0),
        "many/decoder": made(
            "many/decoder", seed, psnr=psnr, ssim=0.7, accuracy=accuracy, place="many"
        ),
        "many/head": made(
            "many/head", seed, psnr=psnr + 1, ssim=0.6, accuracy=accuracy, place="many"
        ),
    }


def rows_of(found):
    return {row.row.key: row for row in summarise(small(), found).rows}


def test_the_best_of_several_follows_the_rows_metric():
    own = records(0)
    by_ssim = small(rows=(PAIR,), claims=TOLD).lines[0].pick(own)
    by_psnr = small().line("many").pick(own)
    assert by_ssim.config["measurement"] == "many/decoder"
    assert by_psnr.config["measurement"] == "many/head"


def test_the_best_of_several_is_skipped_where_one_is():
    own = {**records(0), "many/head": Skipped("no memory")}
    assert small().line("many").pick(own) == Skipped("no memory")


def test_rows_are_means_over_seeds_with_smallest_and_largest():
    row = rows_of({0: records(0, psnr=20.0), 3: records(3, psnr=24.0)})["many"]
    psnr = row.metrics["psnr"]
    assert (psnr.mean, psnr.low, psnr.high) == (23.0, 21.0, 25.0)
    assert psnr.by_seed == {0: 21.0, 3: 25.0}
    assert row.chosen == {0: "many/head", 3: "many/head"}
    assert row.floor["psnr"].mean == 13.0


def test_accuracy_is_compared_with_the_same_seeds_undefended_network():
    found = {0: records(0, accuracy=80.0), 1: records(1, accuracy=83.0)}
    change = rows_of(found)["many"].metrics["accuracy_change"]
    assert change.by_seed == {0: pytest.approx(-2.0), 1: pytest.approx(1.0)}


def test_claims_are_judged_and_the_blind_attack_is_at_the_floor():
    below, blind, accuracy = summarise(small(), {0: records(0)}).judged
    assert below.verdict == accuracy.verdict == "holds"
    assert blind.verdict == "cannot be judged"
    assert blind.reason.startswith("the attack is at the floor")


def test_a_verdict_on_a_failed_attack_names_the_ceiling_of_its_deployment():
    told = (Claim("blind below none", "psnr", "blind", "below", "none"),)
    (found,) = summarise(small(claims=told), {0: records(0)}).judged
    assert found.verdict == "holds"
    assert found.by_seed[0]["ceiling"] == 25.0
    assert "no proof of protection; its ceiling, a decoder with queries, is 25.00" in found.reason


def test_a_row_above_its_ceiling_raises_a_doubt():
    above = Row("head", "With the head", "white box", ("many/head",))
    told = (Claim("it is there", "psnr", "head", "at least"),)
    experiment = small(rows=(above, PAIR), claims=told)
    summary = summarise(experiment, {0: records(0), 2: records(2)})
    assert (
        "seed 0, 2: With the head is above its ceiling in PSNR; the decoder with queries is no "
        "bound there"
    ) in summary.doubts


def test_who_knows_the_head_beside_the_queries_is_no_ceiling_and_may_be_above_it():
    measured = [m for line in small().lines for m in line.of]
    white = tuple(
        replace(m, knows=frozenset({"head", "observe"})) if m.key == "many/head" else m
        for m in {m.key: m for m in measured}.values()
    )
    rows = (
        Row("head", "With the head", "white box", ("many/head",)),
        Row("blind", "Blind", "blind", ("none/blind",)),
    )
    told = (Claim("it is there", "psnr", "blind", "at least"),)
    experiment = small(measurements=white, rows=rows, claims=told)
    own = records(0)
    blind = {**own, "none/blind": made("none/blind", 0, psnr=20.5, place="many")}
    doubts = summarise(experiment, {0: blind}).doubts
    assert not any("With the head" in doubt for doubt in doubts)
    assert any("Blind is above its ceiling in PSNR" in doubt for doubt in doubts)


def test_a_row_that_was_skipped_in_every_seed_says_why():
    skipped = dict.fromkeys(records(0), Skipped("no data here"))
    summary = summarise(small(), {0: skipped})
    assert {row.why for row in summary.rows} == {"no data here"}
    assert {judged.verdict for judged in summary.judged} == {"cannot be judged"}
    assert all(row["skipped"] == "no data here" for row in summary.as_dict()["rows"])


def test_doubts_are_told_with_their_seeds():
    own = records(1)
    own["none/decoder"] = made("none/decoder", 1, doubts=("truncated",))
    summary = summarise(small(), {0: records(0), 1: own})
    assert summary.rows[0].doubts == ("seed 1: truncated",)


def test_cost_counts_every_body():
    table = cost_table(small(), {0: records(0), 1: records(1)})
    undefended, many = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
    assert (undefended["bodies"], many["bodies"]) == ("1", "2")
    assert float(undefended["server and tail MMACs"]) == 8.0
    assert float(many["server and tail MMACs"]) == 16.0
    assert many["change [points]"] == "-2.00"
    assert (many["KiB up"], many["KiB down"]) == ("2.0", "0.50")


def test_csv_holds_measured_floor_and_paper(tmp_path):
    write_csv(tmp_path / "table.csv", summarise(small(), {0: records(0)}))
    lines = list(csv.DictReader((tmp_path / "table.csv").read_text().splitlines()))
    assert [line["label"] for line in lines] == ["NONE", "NONE", "Many"]
    assert float(lines[2]["psnr.mean"]) == 21.0
    assert float(lines[2]["psnr.floor"]) == 13.0
    assert float(lines[2]["psnr.paper"]) == PAPER["psnr"]
    assert lines[0]["psnr.paper"] == ""


def test_the_page_shows_truth_once_and_a_strip_a_row_and_loads_nothing(tmp_path):
    own = records(0)
    torch.manual_seed(0)
    for record in own.values():
        save_grid(
            tmp_path / "images" / f"{record.hash}.png",
            torch.rand(9, 3, 16, 16),
            torch.rand(9, 3, 16, 16),
        )
    summary = summarise(small(), {0: own})
    page = write_page(tmp_path, small(), summary, list(own.values()), {"0": 12.0}).read_text()
    assert page.count("data:image/png;base64,") == 1 + 3
    assert page.count("<b>Truth</b>") == 1
    assert "http" not in page.replace("http-equiv", "")
    for words in ("cannot be judged", "holds", "seed 0: 12 s", "0.0555", "Floor"):
        assert words in page


def test_cells_become_a_grid_with_their_gaps_named(tmp_path):
    places = [Place(f"h{h}-t{t}", "none", "block1", "pool") for h, t in ((1, 1), (1, 2), (2, 1))]
    lines = tuple(
        Line(
            p.name,
            "literal",
            (Measurement(p.name, p, "mean-image"),),
            cell=(p.name[:2], p.name[3:]),
        )
        for p in places
    )
    experiment = Experiment(
        "grid", "A grid", "by hand", "quick", SETUP, lines, baseline="h1-t1", gap="no body is left"
    )
    own = {p.name: made(p.name, place=p.name) for p in places}
    for record in own.values():
        save_grid(
            tmp_path / "images" / f"{record.hash}.png",
            torch.zeros(4, 3, 8, 8),
            torch.ones(4, 3, 8, 8),
        )
    summary = summarise(experiment, {0: own})
    page = write_page(tmp_path, experiment, summary, list(own.values()), {}).read_text()
    assert page.count("data:image/png;base64,") == 1 + 3
    assert page.count("no body is left") == 1


def test_the_terminal_shows_rows_verdicts_and_tables():
    console = Console(width=140, record=True, file=io.StringIO())
    for part in rich_parts(summarise(small(), {0: records(0)})):
        console.print(part)
    text = console.export_text()
    for words in ("best of two", "5.981", "mean image", "cannot be judged", "Accuracy and cost"):
        assert words in text


BLIND = Line("A", "", (Measurement("none/blind", NONE, "mean-image"),), key="a")
OTHER = Line("B", "", (Measurement("none/blind", NONE, "mean-image", share=0.5),))


@pytest.mark.parametrize(
    ("lines", "claims", "words"),
    [
        ((BLIND, OTHER), (), "two measurements are called 'none/blind'"),
        (
            (BLIND,),
            (Claim("c", "psnr", "b", "above", "a"),),
            "claims name lines that are not there",
        ),
        ((BLIND, BLIND), (), "line a stands there twice"),
        ((BLIND,), (Claim("c", "pnsr", "a", "at least"),), "nearest: psnr"),
        ((replace(BLIND, best="pnsr"),), (), "nearest: psnr"),
    ],
)
def test_an_experiment_that_does_not_fit_together_is_refused(lines, claims, words):
    with pytest.raises(SplitLabError, match=words):
        Experiment("x", "X", "", "quick", SETUP, lines, claims)


def test_two_deployments_of_one_name_are_refused():
    clash = Place("none", MANY.defense)
    two = (BLIND, Line("B", "", (Measurement("b", clash, "mean-image"),)))
    experiment = Experiment("x", "X", "", "quick", SETUP, two)
    with pytest.raises(BadInput, match="two deployments are called 'none'"):
        _ = experiment.places


def test_extra_tables_come_from_the_records():
    seen = []

    def extra(experiment, found):
        seen.append(found)
        assert experiment.name == "small"
        return [ExtraTable("More", ("a",), (("1",),))]

    summary = summarise(replace(small(), tables=(extra,)), {0: records(0)})
    assert [table.title for table in summary.tables][-1] == "More"
    assert list(seen[0]) == [0]
