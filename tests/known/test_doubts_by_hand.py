"""Each doubt stands where its reason does, at its margin and not below."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from records import interval, record

from bench.point.doubtful import own_doubts, repeated, shared
from splitlab import record as records_of


def doubts(records: list[Any]) -> list[str]:
    """All but those about latencies, which have tests of their own."""
    return [doubt for doubt in records_of.doubts(records) if "latenc" not in doubt]


def own(gain: float = 10.0, *, groups: int = 6, **changes: Any) -> tuple[str, ...]:
    found = interval(13.0 + gain).model_copy(update={"groups": groups})
    fields: dict[str, Any] = {"scored": 8, "victims": 8, "attack_doubts": ()}
    floor = changes.pop("floor", {"psnr": interval(13.0)})
    leakage = changes.pop("leakage", {"psnr": found})
    return own_doubts(leakage, floor, **{**fields, **changes})


def test_a_good_attack_on_all_victims_raises_no_doubt() -> None:
    assert own() == ()
    assert own(0.5625) == ()
    assert own(groups=5) == ()


def test_an_attack_at_its_floor_failed() -> None:
    for gain in (0.5, 0.0, -2.0):
        (doubt,) = own(gain)
        assert doubt.startswith(f"the attack failed: {13 + gain:.1f} dB is no better than")
        assert "(13.0 dB)" in doubt


def test_without_a_number_nothing_is_said_of_the_floor() -> None:
    none = interval(None, why="no pixels")
    assert own(leakage={"psnr": none}) == ()
    assert own(floor={"psnr": none}) == ()
    assert own(floor={}) == ()
    assert own(leakage={}) == ()


def test_fewer_victims_than_were_sent_are_said() -> None:
    assert own(scored=7) == ("scored on 7 of 8 victims",)


def test_fewer_than_five_groups_are_said() -> None:
    assert own(groups=4) == ("the interval rests on 4 independent groups",)


def test_what_the_attack_says_of_itself_comes_first() -> None:
    found = own(0.0, groups=1, scored=1, attack_doubts=("zero gradient", "cut short"))
    assert found[:2] == ("zero gradient", "cut short")
    assert [words.split()[0] for words in found[2:]] == ["the", "scored", "the"]


def test_images_that_are_there_twice_are_said_in_these_words() -> None:
    assert own(repeated=3) == (
        "3 of 8 victims' images are the same as another victim's: they share a "
        "re-identification, and the intervals take them for independent",
    )
    assert own(shared=2) == (
        "2 of 8 victims' images are among the adversary's own: what it recovers of them it may "
        "have known",
    )
    assert len(own(repeated=1, shared=1)) == 2


def test_equal_images_are_counted() -> None:
    """Images a b a a c: two of them stood there before, four are among a and c."""
    a, b, c = torch.arange(36, dtype=torch.uint8).view(3, 3, 2, 2)
    images = torch.stack([a, b, a, a, c])
    assert repeated(images) == 2
    assert repeated(images[:2]) == 0
    assert shared(images, torch.stack([c, a, c])) == 4
    assert shared(images, torch.stack([b + 1])) == 0
    assert shared(images, images[:0]) == 0
    assert shared(images, None) == 0
    assert shared(images, images.view(5, 3, 1, 4)) == 0  # the same bytes are another image


def white(psnr: float, **changes: Any) -> Any:
    return record(psnr=psnr, attack="rmle", box="white", **changes)


def test_a_black_box_above_the_white_box_by_more_than_the_margin() -> None:
    assert doubts([record(psnr=30.5), white(30)]) == []
    (doubt,) = doubts([record(psnr=30.75), white(30)])
    assert doubt.startswith("conv1: the black-box attack (30.8 dB) beats the white-box attack")
    assert "(30.0 dB), which knows more; the white box" in doubt


def test_the_best_of_each_box_is_compared_wherever_it_stands() -> None:
    order = [white(29), record(psnr=20), white(40), record(psnr=31, attack="dci"), white(25)]
    assert doubts(order) == []
    assert doubts(order[::-1]) == []
    assert len(doubts([*order, record(psnr=41, attack="shadow")])) == 1


def test_boxes_are_compared_at_one_place_with_one_knowledge_only() -> None:
    assert doubts([record(psnr=40), white(20, split="layer1")]) == []
    assert doubts([record(psnr=40, defense="gaussian"), white(20)]) == []
    other = record(psnr=40, knowledge="unaware", defense="gaussian")
    assert doubts([other, white(20, knowledge="adaptive", defense="gaussian")]) == []


def test_other_numbers_of_victims_are_said_beside_the_boxes() -> None:
    few = white(20)
    psnr = few.leakage["psnr"].model_copy(update={"items": 3})
    few = few.model_copy(update={"leakage": {**few.leakage, "psnr": psnr}})
    (doubt,) = doubts([record(psnr=30), few])
    assert "knows more, on 8 and 3 victims; the white" in doubt


def test_unaware_above_adaptive_by_more_than_the_margin() -> None:
    def pair(unaware: float, **changes: Any) -> list[str]:
        told = {"defense": "gaussian", **changes}
        adaptive = record(psnr=20, knowledge="adaptive", defense="gaussian")
        return doubts([adaptive, record(psnr=unaware, knowledge="unaware", **told)])

    assert pair(20.5) == []
    (doubt,) = pair(20.75)
    assert doubt == (
        "conv1: decoder unaware of the defence (20.8 dB) beats decoder that models it (20.0 dB)"
    )
    assert pair(30, attack="shadow") == []  # another attack
    assert pair(30, split="layer1") == []
    assert pair(30, defense="laplace") == []


def test_the_best_of_several_runs_stands_for_an_attack() -> None:
    def run(psnr: float, knowledge: str, name: str) -> Any:
        return record(psnr=psnr, knowledge=knowledge, defense="gaussian", cpu=name)

    adaptive = [run(value, "adaptive", "a") for value in (10, 25, 15)]
    for values, count in (((24, 12), 0), ((12, 26), 1), ((26, 12), 1)):
        unaware = [run(value, "unaware", "a") for value in values]
        assert len(doubts([*adaptive, *unaware])) == count


def test_answers_that_the_wire_changed_are_said_once_a_place() -> None:
    def at(agreement: float | None, **changes: Any) -> Any:
        made = record(**changes)
        return made.model_copy(
            update={"utility": {} if agreement is None else {"agreement": agreement}}
        )

    words = "conv1: 0.75 % of the answers through the wire differ from the whole network's"
    assert doubts([at(99.25), at(99.25, attack="rmle")]) == [words]
    assert doubts([at(100.0), at(99.25, attack="rmle")]) == [words]
    assert len(doubts([at(99.0), at(99.0, split="layer1")])) == 2
    assert doubts([at(100.0), at(None, attack="rmle")]) == []
    assert doubts([at(90.0, defense="gaussian", knowledge="adaptive")]) == []


def test_a_record_without_psnr_is_no_trouble() -> None:
    bare = record().model_copy(update={"leakage": {}})
    assert doubts([bare, white(30)]) == []
    none = record(psnr=None)
    assert doubts([none, white(30)]) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"commit": "e" * 40}, "2 commits (cccccccccccc, eeeeeeeeeeee)"),
        ({"cpu": "another"}, "2 machines (a processor, another)"),
    ],
)
def test_a_mixture_is_said_with_what_is_mixed(changes: dict[str, str], words: str) -> None:
    (doubt,) = doubts([record(), record("layer1", **changes)])
    assert doubt == f"the records come from {words}"


def test_other_data_and_other_methods_are_a_mixture_too() -> None:
    one = record()
    data = one.model_copy(update={"data_hash": "e" * 64})
    assert doubts([one, data]) == [
        "the records come from 2 data splits (dddddddddddd, eeeeeeeeeeee)"
    ]
    newer = one.model_copy(update={"method_version": 2})
    assert doubts([one, newer]) == ["the records come from 2 method versions (1, 2)"]


def test_uncommitted_changes_are_said() -> None:
    dirty = record(commit="c" * 40 + "+changes")
    assert doubts([dirty]) == ["some records were measured with uncommitted changes"]


def test_a_run_without_records_says_so() -> None:
    assert doubts([]) == ["the run has no records yet"]
