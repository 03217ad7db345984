"""What the page says of each row: its own floor, the decoder with queries, settings in words."""

import re

import pytest
from records import interval, record
from reproductions import Row, made, small

from bench.point.kept import kept_told
from bench.report.drawing import COLOURS
from bench.report.floors import floors
from bench.report.settings_table import setting_groups
from bench.reproduce.frame.summary import summarise
from bench.reproduce.frame.table import floor_lines
from bench.sweep.page_table import page_tables
from bench.sweep.plots import sweep_figure
from bench.sweep.report import render
from bench.sweep.table import rich_table, sweep_table
from splitlab.record import KeptImages


def on(victims, attack, split="conv1", **more):
    """A record whose floor is of so many victims."""
    one = record(split, attack=attack, **more)
    floor = {m: v.model_copy(update={"items": victims}) for m, v in one.floor.items()}
    return one.model_copy(update={"floor": floor})


TWO = [
    on(128, "decoder", psnr=58.9, floor=12.7),
    on(128, "lte", psnr=40.0, floor=12.7),
    on(8, "rmle", psnr=100.0, floor=14.2),
    on(128, "decoder", "layer1", psnr=30.0, floor=12.7),
    on(8, "rmle", "layer1", psnr=35.0, floor=14.2),
]


def cells(table, title):
    place = [column.title for column in table.columns].index(title)
    return [row.cells[place].text for row in table.rows]


def test_each_attack_has_the_floor_of_its_own_victims():
    leakage, _ = page_tables(sweep_table(TWO, None))
    assert cells(leakage, "floor [dB]") == ["12.7", "12.7", "14.2", "12.7", "14.2"]
    found = [(floor.told, dict(floor.values)) for floor in floors(TWO, "psnr")]
    assert found == [
        ("decoder, lte (128 victims)", {"conv1": 12.7, "layer1": 12.7}),
        ("rmle (8 victims)", {"conv1": 14.2, "layer1": 14.2}),
    ]
    drawn = sweep_figure(TWO)
    assert "floor of decoder, lte (128 victims)" in drawn
    assert "floor of rmle (8 victims)" in drawn
    assert "floor: mean image" not in drawn


def test_as_many_victims_are_not_the_same_victims():
    """Floors of equal counts but other values stay apart."""
    found = floors([on(8, "rmle", floor=14.2), on(8, "lte", floor=13.9)], "psnr")
    assert [floor.attacks for floor in found] == [("lte",), ("rmle",)]


def test_one_floor_for_all_where_it_is_one():
    assert "floor: mean image" in sweep_figure(TWO[:2])
    assert "floor of" not in sweep_figure(TWO[:2])


def test_a_terminal_says_whose_floor_it_shows():
    assert "floor: mean image on the 128 victims of decoder, lte" in str(
        rich_table(TWO, None, "a title").caption
    )
    assert str(rich_table(TWO[:2], None, "a title").caption).endswith("floor: mean image")


def test_what_an_attack_can_exceed_is_called_no_ceiling(tmp_path):
    leakage, _ = page_tables(sweep_table(TWO, None))
    assert cells(leakage, "decoder with queries [dB]")[:3] == ["58.9"] * 3
    assert cells(leakage, "PSNR [dB]")[2] == "100.0"
    page = render(tmp_path, TWO)
    assert "ceiling" not in page.lower()
    assert "no bound" in page


def test_every_column_stands_in_one_of_two_tables_and_costs_once_a_split_point():
    whole = sweep_table(TWO, "conv1")
    leakage, costs = page_tables(whole)
    titles = [column.title for column in (*leakage.columns, *costs.columns)]
    assert sorted({*titles, "knowledge"}) == sorted(whole.columns)
    assert [row.cells[0].text for row in costs.rows] == ["conv1", "layer1"]
    assert [row.best for row in costs.rows] == [True, False]
    place = [column.title for column in leakage.columns].index("attack")
    assert leakage.rows[0].cells[place].interval == "undefended"
    assert titles[:3] == ["split point", "attack", "PSNR [dB]"]


def test_costs_that_differ_between_rows_are_all_shown():
    slow = TWO[2].model_copy(update={"latency": {"total": {"p50": 9.5, "p95": 9.9}}})
    _, costs = page_tables(sweep_table([TWO[0], slow], None))
    assert cells(costs, "p50 [ms]") == ["3.0", "9.5"]


def test_a_column_without_a_value_is_left_out():
    leakage, _ = page_tables(sweep_table([TWO[2]], None))
    assert "decoder with queries [dB]" not in [column.title for column in leakage.columns]


def test_a_figure_has_every_line_even_of_more_attacks_than_colours():
    many = [on(8, f"attack{k}", psnr=20.0 + k) for k in range(2 * len(COLOURS) + 1)]
    drawn = sweep_figure(many)
    assert all(f"attack{k}, undefended" in drawn for k in range(len(many)))
    assert drawn.count('role="img"') == drawn.count("<svg") == 4


def test_settings_are_words_in_groups(tmp_path):
    nested = {
        "seed": 0,
        "flip": True,
        "victim": {"epochs": 2, "warmup": 0.25},
        "links": [],
        "x": None,
    }
    assert setting_groups(nested) == [
        ("", [("seed", "0"), ("flip", "yes"), ("links", "none"), ("x", "not given")]),
        ("victim", [("epochs", "2"), ("warmup", "0.25")]),
    ]
    deep = {"a": {"b": {"c": [1, "two"]}}}
    assert setting_groups(deep) == [("a, b", [("c", "1, two")])]
    one = TWO[0].model_copy(update={"config": {**TWO[0].config, **nested}})
    page = render(tmp_path, [one])
    assert not re.search(r"\{(&#39;|'|&quot;)", page)
    assert re.search(r'<th scope="row">epochs</th><td>2</td>', page)


def test_the_page_says_what_is_kept():
    old, all_of_it, part = (
        TWO[0].model_copy(update={"kept": kept})
        for kept in (
            None,
            KeptImages(file="a", victims=8, of=8),
            KeptImages(file="b", victims=27, of=128),
        )
    )
    assert "no tensors are kept" in kept_told([old])
    told = kept_told([old, all_of_it, part])
    assert "all of 8 scored victims, 27 of 128 scored victims" in told
    assert "1 older records have pictures alone" in told


@pytest.mark.parametrize("other", [13.0, 14.2])
def test_a_reproduction_has_a_line_for_each_floor(other):
    floor = {"psnr": interval(other, "dB"), "ssim": interval(0.3)}
    first = made("none/decoder")
    found = {
        0: {
            "none/decoder": first,
            "none/blind": made("none/blind").model_copy(
                update={"floor": {**first.floor, **({} if other == 13.0 else floor)}}
            ),
            "many/decoder": made("many/decoder", place="many"),
            "many/head": made("many/head", place="many"),
        }
    }
    rows = [
        Row("none", "NONE", "decoder", ("none/decoder",)),
        Row("blind", "NONE", "blind", ("none/blind",)),
        Row("many", "Many", "best of two", ("many/decoder", "many/head")),
    ]
    told = [
        (text, one["psnr"].mean) for text, one in floor_lines(summarise(small(rows=rows), found))
    ]
    if other == 13.0:
        assert told == [("mean image", 13.0)]
    else:
        assert told == [
            ("mean image, for all other rows", 13.0),
            ("mean image, for NONE, blind", 14.2),
        ]
