"""`bench perf transport | split | engine | serve`: what is fast enough, and that they run."""

from __future__ import annotations

import contextlib
import itertools
from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

from bench.cli import app
from bench.perf.serving import engine, serve
from bench.perf.serving.bodies import ServingScene
from bench.perf.serving.engine import EngineSpeed, output_error, perf_engine
from bench.perf.serving.scenes import CallTimes, deployed, pixels
from bench.perf.serving.serve import SAMPLES, Crowd, Serve, perf_serve
from bench.perf.serving.split import SplitSpeed, perf_split
from bench.perf.serving.transport import MIB, Echo, perf_transport
from cloud_server.server import CloudServer
from splitlab.errors import SplitLabError
from splitlab.randomness import Secret

TINY = ServingScene(model="tiny_cnn", head_end="block1", tail_start="block3")


def times(ms: float) -> CallTimes:
    return CallTimes(ms, ms, ms)


def test_times_are_the_middle_and_the_late_ones():
    found = CallTimes.of([0.001 * n for n in range(1, 101)])
    assert found.p50_ms == pytest.approx(50.5)
    assert (found.p95_ms, found.p99_ms) == (pytest.approx(96.0), pytest.approx(100.0))


def test_an_echo_is_held_to_its_worst_rival():
    met = Echo(MIB, 9, {}, {"socket": 0.5, "triton": 3.3}, {"socket": 0.25, "triton": 3.0})
    assert met.ratio == pytest.approx(1.1)
    assert met.as_dict()["ok"]
    missed = Echo(MIB, 9, {}, {"socket": 0.2, "triton": 9.0}, {"socket": 0.25, "triton": 3.0})
    assert missed.ratio == pytest.approx(0.8)
    assert not missed.as_dict()["ok"]


@pytest.mark.slow
def test_every_way_of_the_transport_gives_back_what_it_was_sent():
    """The measurement itself refuses anything else."""
    small, large = perf_transport(sizes=(64 << 10, 2 * MIB), least_rounds=1).values()
    assert set(small["ms"]) == {"ours", "tls", "naive", "bare", "socket"}
    assert small["wanted"] == {"naive": 1.0}
    assert large["wanted"] == {"socket": 0.25}
    assert large["copies"]["sender"] == large["copies"]["receiver"] == 1


def test_the_limit_on_splitting_is_meant_for_long_batches_alone():
    facts = {
        "batch": 8,
        "engine": "torch",
        "threads": {},
        "server": {},
        "rounds": 1,
        "stages_ms": {},
        "error": 0.0,
    }
    long = SplitSpeed(whole=times(100.0), split=times(120.0), **facts).as_dict()
    assert (long["limit_is_meant"], long["ok"]) == (True, False)
    assert SplitSpeed(whole=times(100.0), split=times(114.0), **facts).as_dict()["ok"]
    short = SplitSpeed(whole=times(10.0), split=times(30.0), **facts).as_dict()
    assert (short["limit_is_meant"], short["ok"]) == (False, True)
    assert short["images_per_second"]["split"] == pytest.approx(8 / 0.03)


def test_an_engine_that_is_fast_and_wrong_fails():
    facts = {
        "device": "cpu",
        "engine": "openvino",
        "bodies": 10,
        "batch": 1,
        "threads": 2,
        "server": {},
        "rounds": 1,
        "bodies_ms": 10.0,
    }
    fast = {"loop": times(100.0), "request": times(20.0), "wanted": 3.9}
    assert EngineSpeed(**facts, **fast, error=1e-5).as_dict()["ok"]
    assert not EngineSpeed(**facts, **fast, error=1e-3).as_dict()["ok"]


@pytest.mark.filterwarnings("ignore:Please use the new API settings")  # of PyTorch 2.9
@pytest.mark.parametrize(
    ("device", "engines", "wanted"),
    [
        ("cpu", {"torch", "onnxruntime", "openvino", "openvino bfloat16"}, 1.8),
        ("cuda", {"torch", "cudagraphs"}, 0.0),
    ],
)
def test_engines_of_another_device_are_passed_over(monkeypatch, device, engines, wanted):
    asked = {}
    made = SimpleNamespace(server=SimpleNamespace(bodies=torch.nn.ModuleList()))

    def measured(_made, name, words, place):
        asked[name] = (words, place.type)
        return []

    monkeypatch.setattr(engine, "choose_device", torch.device)
    monkeypatch.setattr(engine, "deployed", lambda *_: contextlib.nullcontext(made))
    monkeypatch.setattr(engine, "_measure", measured)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    before = torch.get_num_threads()
    skipped = perf_engine((10,), TINY, device)
    torch.set_num_threads(before)
    assert set(asked) | {name.removeprefix("N = 10, ") for name in skipped} == engines
    assert {place for _, place in asked.values()} == {device}
    assert engine.WANTED[device, 10, 1].get("torch", 0.0) == wanted
    assert engine.WANTED["cuda", 10, 1]["cudagraphs"] == 5.0
    assert torch.backends.cudnn.allow_tf32 == (device == "cpu")


def test_the_server_is_told_the_loop_s_device():
    told = []

    def served(*words):
        told.extend(words)
        raise SplitLabError("enough")

    made = SimpleNamespace(
        client=SimpleNamespace(secret=Secret.new(1)),
        server=SimpleNamespace(bodies=[]),
        served=served,
    )
    with pytest.raises(SplitLabError, match="enough"):
        engine._measure(made, "cudagraphs", ("--engine", "cudagraphs"), torch.device("cuda"))
    assert told[1:] == ["--engine", "cudagraphs", "--device", "cuda"]


def test_a_body_that_is_not_selected_is_compared_as_well():
    x = pixels(2)
    with deployed(3, TINY) as made, torch.inference_mode():
        outputs = [body(made.client.head(x)) for body in made.server.bodies]
        server = CloudServer(made.server, "127.0.0.1:0", engine="plain")
        server.start()
        assert output_error(made, server.address, x, outputs) <= 1e-5
        outputs[2] = 1.01 * outputs[2]
        assert output_error(made, server.address, x, outputs) == pytest.approx(0.01 / 1.01, 0.01)
        server.stop(grace=5, quiet=0)


def test_clients_together_must_not_cost_memory():
    load = Crowd(100.0, times(10.0))
    assert Serve(8, 1.0, load, Crowd(90.0, times(10.0)), (300.0, 310.0)).as_dict()["ok"]
    grown = Serve(8, 1.0, load, Crowd(90.0, times(10.0)), (1300.0, 1340.0)).as_dict()
    assert not grown["memory_is_flat"]
    assert not grown["ok"]
    unknown = Serve(8, 1.0, load, Crowd(90.0, times(10.0)), None).as_dict()
    assert unknown["memory_is_flat"] is None
    assert unknown["ok"]


class AtOnce:
    """A client whose every answer is there."""

    def __init__(self, _half, _addresses):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def infer(self, _images):
        pass


def served_with(monkeypatch, held, clients):
    """Rows of `perf serve` where the server's memory is, sample by sample, what `held` says."""
    started = SimpleNamespace(pid=1, address=lambda: str(next(ports)), said={"engine": "t"})
    ports = itertools.count(1)
    made = SimpleNamespace(client=None, served=lambda *_: contextlib.nullcontext(started))
    monkeypatch.setattr(serve, "resident_mib", lambda _process: next(held))
    monkeypatch.setattr(serve, "EdgeClient", AtOnce)
    monkeypatch.setattr(serve, "deployed", lambda *_: contextlib.nullcontext(made))
    before = torch.get_num_threads()
    rows = perf_serve(clients, 0.05)
    torch.set_num_threads(before)
    return list(rows.values())


def test_memory_is_watched_turn_by_turn(monkeypatch):
    turn = [2000.0] + [1000.0] * (SAMPLES - 1)  # one sample is an outlier
    (row,) = served_with(monkeypatch, iter(turn + [1033.0] * SAMPLES), (1,))
    assert row["resident_mib"] == (1000.0, 1033.0)
    assert not row["memory_is_flat"]
    assert row["server"]["engine"] == "t"
    assert row["server"]["OMP_NUM_THREADS"] == "1"


@pytest.mark.slow
def test_what_is_held_at_the_start_is_no_room_to_grow_into(monkeypatch):
    turns = (1510, 1510, 1510, 1076, 1090, 1100, 1130, 1140)
    held = itertools.chain.from_iterable([float(mib)] * SAMPLES for mib in turns)
    rows = served_with(monkeypatch, held, (1, 2, 4, 8))
    assert [row["resident_mib"] for row in rows] == [
        (1510.0, 1510.0),
        (1076.0, 1076.0),
        (1076.0, 1100.0),
        (1076.0, 1140.0),
    ]
    assert [row["memory_is_flat"] for row in rows] == [True, True, True, False]


def test_numbers_with_commas_are_checked():
    for words in (["engine", "--bodies", "1,x"], ["serve", "--clients", "0"]):
        done = CliRunner().invoke(app, ["perf", *words])
        assert done.exit_code == 2
        assert "give numbers from 1 on" in done.output


@pytest.mark.slow
def test_the_measurements_run():
    before = torch.get_num_threads()
    assert all(row["error"] < 1e-4 for row in perf_split(quick=True).values())
    engines = perf_engine((1, 2), TINY)
    assert all("skipped" in row or row["error"] <= 1e-4 for row in engines.values())
    served = perf_serve((1, 2), 0.3, TINY, bodies=2)
    assert all(row["together"]["images_per_second"] > 0 for row in served.values())
    torch.set_num_threads(before)
