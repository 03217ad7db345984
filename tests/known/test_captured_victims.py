"""Which victims an attack is handed, what of linked captures, and what accuracy the wire cost."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tables import distinct
from torch import Tensor

from bench.point.capture import Captured, utility
from bench.point.sights.wire import observe
from splitlab.capture import CaptureWriter
from splitlab.randomness import generator
from splitlab.wire import Reply, Request, encode
from splitlab.wire.messages import INFER

SHAPE = (2, 3, 3)
VICTIMS = 12


def request_id(number: int) -> str:
    return f"{number:032x}"


def sent(folder: Path, turns: list[list[int]], unanswered: int | None = None) -> Captured:
    """A capture in which each turn is a request with these victims' features, four rows at once.

    The feature of victim v in turn t is v + t / 8 everywhere, which halves hold exactly. Two bodies
    answer with -v and, if it is sent in turn t, 100 t; the message `unanswered` is not.
    """
    tap = CaptureWriter(folder, "server")
    join: dict[str, int] = {}
    for turn, victims in enumerate(turns):
        rows = torch.stack([torch.full(SHAPE, v + turn / 8) for v in victims])
        for first in range(0, len(rows), 4):
            message = Request(
                model_name="m",
                message_id=f"{request_id(turn)}-{first}",
                tensors=tuple(encode(rows[first : first + 4], "FP32")),
            )
            call = tap.new_call()
            tap.record(call, "up", message.to_bytes(), method=INFER)
            if first == unanswered:
                continue
            own = [float(-v) for v in victims[first : first + 4]]
            replies = torch.tensor(own)[:, None], torch.full((len(own), 1), 100.0 * turn)
            named = [encode(y, "FP32", f"output_{i}")[0] for i, y in enumerate(replies)]
            answer = Reply("m", message.message_id, tuple(named))
            tap.record(call, "down", answer.to_bytes(), method=INFER)
        join |= {f"{request_id(turn)}/{row}": victim for row, victim in enumerate(victims)}
    tap.close()
    return Captured({}, join, folder, torch.zeros(0))


ORDER = [7, 3, 11, 0, 5, 2, 9, 1, 10, 4, 8, 6]


def drawn(seed: int) -> list[int]:
    return torch.randperm(VICTIMS, generator=generator(seed, "attacked")).tolist()


def victims_of(seen: Tensor) -> list[float]:
    assert torch.equal(seen, seen[:, :1, :1, :1].expand_as(seen))
    return seen[:, 0, 0, 0].tolist()


def test_every_victim_once_with_its_own_id_and_feature(tmp_path: Path) -> None:
    captured = sent(tmp_path, [ORDER])
    seen = observe(captured, None, 0)
    assert victims_of(seen.features) == drawn(0)
    assert [captured.join[key] for key in seen.ids] == drawn(0)
    assert tuple(seen.features.shape) == (VICTIMS, *SHAPE)


def test_a_limit_takes_the_first_of_the_seed_s_order(tmp_path: Path) -> None:
    """Whatever order the client sent them in, so that split points are compared on one set."""
    one = observe(sent(tmp_path / "a", [ORDER]), 5, 3)
    other = observe(sent(tmp_path / "b", [sorted(ORDER)]), 5, 3)
    assert victims_of(one.features) == victims_of(other.features) == drawn(3)[:5]
    assert drawn(3)[:5] != drawn(4)[:5]
    assert victims_of(observe(sent(tmp_path / "c", [ORDER]), 5, 4).features) == drawn(4)[:5]
    assert len(observe(sent(tmp_path / "d", [ORDER]), 99, 3).ids) == VICTIMS


def test_linked_captures_of_one_victim_are_averaged_under_the_first_id(tmp_path: Path) -> None:
    """Turns add 0, 1/8 and 2/8, of which the mean is 1/8."""
    captured = sent(tmp_path, [ORDER, ORDER[::-1], sorted(ORDER)])
    seen = observe(captured, 6, 1)
    assert victims_of(seen.features) == [victim + 0.125 for victim in drawn(1)[:6]]
    first = {victim: f"{request_id(0)}/{row}" for row, victim in enumerate(ORDER)}
    assert list(seen.ids) == [first[victim] for victim in drawn(1)[:6]]


def test_a_victim_captured_once_among_linked_ones_is_left_as_it_is(tmp_path: Path) -> None:
    seen = observe(sent(tmp_path, [ORDER, [3, 5]]), None, 0)
    wanted = [v + (1 / 16 if v in (3, 5) else 0) for v in drawn(0)]
    assert victims_of(seen.features) == wanted


def test_ids_that_the_client_never_joined_stand_each_for_itself(tmp_path: Path) -> None:
    """They are never averaged with anything; scoring refuses them by name."""
    captured = sent(tmp_path, [[0, 1]])
    join = {key: v for key, v in captured.join.items() if v == 1}
    seen = observe(Captured({}, join, tmp_path, torch.zeros(0)), None, 0)
    assert sorted(victims_of(seen.features)) == [0, 1]


def test_utility_counts_right_same_and_how_far_answers_are_off() -> None:
    """Five images of classes 0, 1, 2, 0, 1."""
    victims = distinct(5)
    whole = torch.tensor(
        [[4.0, 0, 0], [0, 2, 0], [3, 0, 1], [0, 1, 0], [0, 0, 1]]  # says 0, 1, 0, 1, 2
    )
    through = whole.clone()
    through[4] = torch.tensor([0.0, 2.0, 1.0])  # now says 1
    captured = Captured({"accuracy": 62.5}, {}, Path("none"), through)
    assert utility(captured, whole, victims) == {
        "accuracy": 62.5,
        "accuracy_whole": pytest.approx(40),
        "agreement": pytest.approx(80),
        "relative_error": 0.5,
        "majority": pytest.approx(40),
    }
    flipped = Captured({"accuracy": 1.0}, {}, Path("none"), -whole)
    assert utility(flipped, whole, victims)["relative_error"] == 2.0
    same = Captured({"accuracy": 40.0}, {}, Path("none"), whole)
    found = utility(same, whole, victims)
    assert (found["agreement"], found["relative_error"]) == (100, 0)


def test_the_latency_is_the_client_s_own_account() -> None:
    stages = {"head": {"p50": 1.0, "p95": 2.0}}
    assert Captured({"latency": stages}, {}, Path("none"), torch.zeros(0)).latency == stages


def test_each_body_s_replies_stand_beside_the_features(tmp_path: Path) -> None:
    captured = sent(tmp_path, [ORDER, [3, 5]])
    seen = observe(captured, None, 0)
    own, turns = seen.outputs
    victims = [captured.join[key] for key in seen.ids]
    assert own[:, 0].tolist() == [-v for v in victims]
    assert turns[:, 0].tolist() == [50.0 if v in (3, 5) else 0.0 for v in victims]


def test_where_one_request_was_not_answered_there_are_no_replies(tmp_path: Path) -> None:
    seen = observe(sent(tmp_path, [ORDER], unanswered=4), None, 0)
    assert (seen.outputs, len(seen.ids)) == ((), VICTIMS)
