"""`bench perf ensembler`: two ways to train the same networks, and a service with its account."""

import dataclasses
import json

import pytest

from bench.perf.serving.bodies import Cost, Serving, ServingScene, perf_serving
from bench.perf.training import ensembler as module
from bench.perf.training.ensembler import perf_ensembler, perf_stage_one
from splitlab.errors import BadInput

ONE = Cost(
    p50_ms=5.0,
    p95_ms=6.0,
    bodies_ms=2.0,
    images_per_second=400.0,
    payload_up=1000.0,
    payload_down=40.0,
    framed_up=1100.0,
    framed_down=100.0,
)
TEN = dataclasses.replace(ONE, p50_ms=25.0, bodies_ms=16.0, payload_down=400.0, framed_down=460.0)


def serving(many):
    return Serving(ServingScene(), 10, 4, output_bytes=40, one=ONE, many=many)


def test_the_verdict_on_a_service():
    facts = serving(TEN).as_dict()
    assert facts["ok"]
    assert facts["ratio"] == 1.25
    assert facts["bodies, N over N x 1"] == 0.8
    assert facts["latency, N over 1"] == 5.0
    assert facts["extra bytes, % of N=1's"] == pytest.approx(30.0)
    assert json.loads(json.dumps(facts))["N=10 p50_ms"] == 25.0
    for change in ({"bodies_ms": 22.1}, {"payload_up": 1001.0}, {"payload_down": 440.0}):
        assert not serving(dataclasses.replace(TEN, **change)).ok, change
    for change in ({"bodies_ms": 21.9}, {"p50_ms": 51.0}):
        assert serving(dataclasses.replace(TEN, **change)).ok, change


def test_both_ways_train_the_same_number_of_networks(monkeypatch):
    monkeypatch.setitem(module.MODELS, "cpu", ("tiny_cnn", "block1"))
    monkeypatch.setattr(module, "TAIL_START", "pool")
    calls = []

    def train(order, stack, count, how):
        calls.append((len(order.images), stack.spec, count, how))

    monkeypatch.setattr(module, "train_together", train)
    found = perf_stage_one(3, "cpu", images=200, rounds=2)
    spec = "gaussian:draw=fixed,level=0.1"
    assert [call[2:] for call in calls[:2]] == [(1, "processes"), (1, "one after another")]
    assert [call[2:] for call in calls[2:]] == [(3, "processes"), (3, "one after another")] * 2
    assert {call[0] for call in calls[2:]} == {200}
    assert len({call[1] for call in calls}) == 1
    assert set(calls[0][1].split(":")[1].split(",")) == set(spec.split(":")[1].split(","))
    told = [found[name] for name in ("networks", "images", "rounds", "limit")]
    assert told == [3, 200, 2, 1.0]
    assert found["ok"] == (found["ratio"] >= 1.0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"part": "all"}, "--part 'all': give serving, training, both"),
        ({"how": "threads"}, "--how 'threads': give processes or batched"),
        ({"chosen": 11}, "--chosen 11 is above --bodies 10"),
    ],
)
def test_bad_options(words, message):
    given = {"part": "both", "chosen": 4, **words}
    with pytest.raises(BadInput, match=message):
        perf_ensembler(given.pop("part"), "cpu", 10, given.pop("chosen"), **given)


@pytest.mark.slow
def test_a_small_service_through_real_processes():
    scene = ServingScene("tiny_cnn", "block1", "pool", images=8, batch=4, rounds=1)
    found = perf_serving(3, 2, scene)
    assert found.bytes_as_promised
    assert found.many.payload_down == 3 * found.one.payload_down
    assert 0 < found.one.bodies_ms < found.one.p50_ms


@pytest.mark.slow
def test_small_networks_are_trained_both_ways():
    found = perf_stage_one(2, "cpu", images=64, rounds=1)
    assert found["together_seconds"] > 0
    assert found["one_after_another_seconds"] > 0
