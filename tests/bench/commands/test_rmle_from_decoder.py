"""`rmle` in a run: it starts from the decoder's fit, which is made once, and says its cost."""

from __future__ import annotations

from typing import Any

import in_process
import pytest
from test_sights_of_labs import home, lab, point
from worlds import SmallDCI

from adversary.inversion import decoder
from adversary.inversion.rmle.start import STARTS
from bench.executors import _together
from bench.point.identity.known import of_record
from bench.point.measure import plans
from bench.point.recipe import validated
from bench.point.run import run

__all__ = ["home"]
BRIEF = {"rmle": {"steps": 4, "choose_steps": 2, "choose_images": 2}}


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What decoders were fitted, with their defaults on short cycles."""
    in_process.stand_in(monkeypatch)
    for name, value in (("EPOCHS", 1), ("STEPS", 1), ("CYCLES", 2)):
        monkeypatch.setattr(decoder, name, value)
    made, learn = list[str](), decoder.learn_inverse

    def learned(pairs: Any, *rest: Any) -> Any:
        made.append(pairs.how)
        return learn(pairs, *rest)

    monkeypatch.setattr(decoder, "learn_inverse", learned)
    return made


@pytest.mark.parametrize("attacks", [("decoder", "rmle"), ("rmle", "decoder"), ("rmle",)])
def test_the_start_is_fitted_once_and_its_cost_is_said(
    attacks: tuple[str, ...], fits: list[str], home: Any
) -> None:
    records = {}
    with lab(home, "-".join(("from", *attacks))) as here:
        for name in attacks:
            records[name] = run(point(name, attack_options=BRIEF, attacked={"rmle": 4}), here)
    assert fits == ["queries to the client"], "with the queries that the decoder's row has"
    found = records["rmle"]
    assert found.attack_facts["start"] == "decoder"
    assert set(found.attack_facts["chosen_by_psnr"]) == {"descent", "start", "gain_on_others"}
    assert (found.threat["box"], found.threat["observe"]) == ("white", 16)
    assert found.effort["queries"] == 16
    last = records[attacks[-1]].effort
    assert ("borrowed_seconds" in last) == (len(attacks) > 1)
    if len(attacks) > 1:
        first = records[attacks[0]].effort
        assert "borrowed_seconds" not in first
        assert last["fit_seconds"] >= last["borrowed_seconds"] > 0
    assert found.leakage == SEEN.setdefault("rmle", found).leakage, "whoever asked first"
    assert of_record(found) is not None


SEEN: dict[str, Any] = {}


def test_both_rows_go_to_one_worker_unless_rmle_starts_from_the_mean_colour() -> None:
    rows = [point(name) for name in ("mean-image", "rmle", "decoder")]
    parts = [[one.attack for one in part] for part in _together(rows)]
    assert sorted(map(sorted, parts)) == [["decoder", "rmle"], ["mean-image"]]
    alone = point("rmle", attack_options={"rmle": {"start": "mean"}})
    assert len(_together([rows[0], alone, rows[2]])) == 3


def test_data_free_it_starts_from_dci_and_learns_from_no_image(
    fits: list[str], home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STARTS, "dci", SmallDCI)
    options = {"rmle": {"start": "dci", "steps": 4, "choose_images": 0}}
    with lab(home, "data-free") as here:
        record = run(point("rmle", attack_options=options, attacked={"rmle": 4}), here)
    assert record.attack_facts["start"] == "dci"
    assert record.attack_facts["started"] is True
    assert fits == []


@pytest.mark.parametrize(
    ("defense", "granted"),
    [
        ("none", {"undefended": ("head", "observe")}),
        ("gaussian", {"adaptive": ("head", "defense", "observe"), "unaware": ("head",)}),
    ],
)
def test_it_has_queries_where_the_decoder_has_them(
    defense: str, granted: dict[str, tuple[str, ...]]
) -> None:
    """The unaware one has none: an answer to a query would tell it of the defence."""
    config = validated(defense=defense, attacks=("rmle", "decoder"))
    found = {(one.attack, one.knowledge): one.grant for one in plans(config)}
    assert {knowledge for name, knowledge in found if name == "rmle"} == set(granted)
    for knowledge, fields in granted.items():
        own = found["rmle", knowledge]  # type: ignore[index]
        for field in ("head", "defense", "observe"):
            assert bool(getattr(own, field)) == (field in fields), (knowledge, field)
        assert own.observe == found["decoder", knowledge].observe  # type: ignore[index]
