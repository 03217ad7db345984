"""An estimate before a sweep: counted rightly from its measurements, every stage once."""

import math
from types import SimpleNamespace

import pytest
from meters import ONCE, REST, UNIT, Table

import defenses.parts.prepare
from adversary.inversion.decoder import CYCLES, SHARE, STEPS, Decoder
from adversary.inversion.rmle.attack import RMLE
from adversary.inversion.rmle.choice import most_finalists, options_of
from adversary.inversion.rmle.matching import MatchingSettings
from bench.estimate import SweepWork, sweep_estimate
from bench.estimate.cells import (
    PlannedCell,
    Run,
    at_every_point,
    attack_stages,
    latency_seconds,
    stages,
)
from bench.estimate.deploying import (
    CHECKED,
    GRANTED_HALVES,
    PREPARED,
    UNDEFENDED,
    undefended_seconds,
    written_seconds,
)
from bench.estimate.latency import place_seconds, starts
from bench.estimate.points import Costs
from bench.estimate.scoring import Scoring, each, growth_of
from bench.estimate.sweep import lent_at
from bench.point.deploy import undefended
from bench.point.grants import GrantRequest, make_threat
from bench.point.measure import plans
from bench.point.recipe import SweepConfig
from bench.point.victim import prepare_halves, prepare_victim
from defenses import parse
from edge_client.one_way import round_trips
from splitlab.contracts import ArchSpec
from splitlab.contracts.kinds import IMAGE
from splitlab.contracts.link import parse_link
from splitlab.data import load_splits
from splitlab.deployment import client_half, equality, server_half, write_deployment
from splitlab.models import build
from splitlab.randomness import Secret
from splitlab.split import split_points

SMALL = {"model": "tiny_cnn", "train_images": 64, "queries": 48, "victims": 16, "device": "cpu"}


PAIRS = SMALL["queries"] - SMALL["queries"] // SHARE
LEARNED = CYCLES * PAIRS * math.ceil(STEPS / math.ceil(PAIRS / Decoder().batch_size))
"""Images that a decoder sees in all its cycles, a share of the pairs being held out."""
EFFORT = RMLE().effort(32)
OPTIONS = options_of(MatchingSettings(1, None, 0, 0, True), None, None, None, started=True)
SETTINGS = len(OPTIONS) * EFFORT.choose_steps + most_finalists(OPTIONS) * EFFORT.steps
SETTINGS *= EFFORT.choose_images * UNIT
SETTINGS += EFFORT.choose_images * EFFORT.steps * UNIT  # the winner on as many other images
DESCENTS = EFFORT.steps * 8 * UNIT
"""Of `rmle`: all settings briefly and the best of both grids in full; then 8 victims."""


@pytest.fixture(scope="module")
def splits():
    return load_splits("photo-patches", limits={"train": 64, "validation": 40})


@pytest.fixture(scope="module")
def points(splits):
    arch = ArchSpec(name="tiny_cnn", classes=len(splits.classes))
    return arch, list(split_points(build(arch, seed=0), (3, 32, 32)))[:2]


def told(splits, points, attacks, pending=None, *, trains=False, judges=False, **more):
    """Stage -> seconds of a sweep with these attacks, `start` and `loading` of 3 and 2 s."""
    config = SweepConfig(**SMALL, **more, attacks=attacks, attacked={"rmle": 8})
    arch, chosen = points
    wires = [one.wire for one in config.on_each_wire.values()]
    every = {(n, wire): tuple(range(len(attacks))) for n in range(2) for wire in wires}
    work = SweepWork(
        config=config,
        stack=parse(config.defense),
        chosen=chosen,
        arch=arch,
        splits=splits,
        plans=plans(config),
        pending=every if pending is None else pending,
        trains=trains,
        judges=judges,
        loading=2.0,
    )
    found = sweep_estimate(work, Table(), start=3.0, cores=2)
    return found, {stage.what: stage.seconds for stage in found.stages}


def test_every_stage_is_counted_once(splits, points):
    found, seconds = told(splits, points, ("decoder", "rmle", "mean-image"))
    assert found.points == 6
    assert not found.not_counted
    image = ONCE / 8
    checked = 3 * (1 + 2 + 5) + 2 * 5
    deployed = 3 * REST + (40 + checked) * image + 2 * REST + 16 * image + 3 * REST
    assert seconds["deployments"] == pytest.approx(2 * deployed)
    assert seconds["processes"] == pytest.approx(2 * (2 * (3.0 + REST) + 2.0) / 2)
    assert seconds["capture"] == pytest.approx(2 * 16 * (image + image))
    # a fit is rehearsed with 8 and 32 images, answering in proportion; all cycles over 48 pairs
    decoder = REST + LEARNED * UNIT + REST * 16 / 8
    assert seconds["attack decoder"] == pytest.approx(2 * decoder)
    assert seconds["attack rmle"] == pytest.approx(2 * (REST + SETTINGS + REST + DESCENTS))
    assert seconds["attack mean-image"] == pytest.approx(2 * (REST + REST * 16 / 8))
    assert seconds["the judge"] == pytest.approx(REST)
    asked = 5 * 5 * 8 * 3 * image
    begun = 2 * (3.0 + REST) / 2 + 3.0 + 2 * REST
    assert seconds["latency"] == pytest.approx(2 * asked + begun)
    assert "the victim's training" not in seconds


def test_what_rmle_starts_from_is_counted_once(splits, points):
    """With the decoder's row where that makes the same fit, as above; else with its own."""
    alone, start = REST + SETTINGS + REST + DESCENTS, LEARNED * UNIT
    _, lone = told(splits, points, ("rmle",), pending={(0, "FP32"): (0,)})
    assert lone["attack rmle"] == pytest.approx(alone + start)


BOTH, FP32 = ("decoder", "rmle"), (0, "FP32")


@pytest.mark.parametrize(
    ("attacks", "options", "pending", "lent"),
    [
        (BOTH, {}, {FP32: (0, 1)}, True),
        (("rmle",), {}, {FP32: (0,)}, False),
        (BOTH, {"decoder": {"epochs": 1}}, {FP32: (0, 1)}, False),  # another fit
        (BOTH, {"rmle": {"start": "mean"}}, {FP32: (0, 1)}, False),
        (BOTH, {"rmle": {"start": "psim"}}, {FP32: (0, 1)}, False),
        (BOTH, {}, {FP32: (0, 1), (1, "FP32"): (1,)}, False),  # a record is there, and no fit
        (BOTH, {}, {FP32: (0, 1), (1, "FP32"): (0,)}, True),
    ],
)
def test_a_start_is_lent_by_the_row_that_makes_the_same_fit(attacks, options, pending, lent):
    config = SweepConfig(**SMALL, attacks=attacks, attack_options=options)
    work = SimpleNamespace(config=config, plans=plans(config), pending=pending)
    assert lent_at(work, attacks.index("rmle")) == lent


def test_training_of_victim_and_judge_is_counted_where_it_is_due(splits, points):
    _, without = told(splits, points, ("mean-image",))
    _, seconds = told(splits, points, ("mean-image",), trains=True, judges=True)
    assert seconds["the victim's training"] == pytest.approx(REST + 2 * 64 * UNIT)
    assert seconds["the judge"] == pytest.approx(REST + 3 * 64 * UNIT)
    for what in ("deployments", "processes", "capture", "scoring", "latency"):
        assert seconds[what] == pytest.approx(without[what])


def test_a_second_wire_doubles_and_what_is_done_is_not_counted(splits, points):
    _, one = told(splits, points, ("mean-image",))
    _, both = told(splits, points, ("mean-image",), wires=("INT8",))
    for what in ("deployments", "processes", "capture", "attack mean-image", "scoring"):
        assert both[what] == pytest.approx(2 * one[what])
    _, half = told(splits, points, ("mean-image",), pending={(0, "FP32"): (0,)})
    assert half["attack mean-image"] == pytest.approx(one["attack mean-image"] / 2)
    found, nothing = told(splits, points, ("mean-image",), pending={})
    assert (found.points, found.finished, nothing) == (0, 2, {})


def test_a_defence_that_trains_is_rehearsed_at_each_split_point(splits, points):
    noisy = {"defense": "gaussian:level=0.1,draw=fixed", "train_with_defense": True}
    found, seconds = told(splits, points, ("mean-image",), trains=True, **noisy)
    assert "the victim's training" not in seconds
    assert seconds["training with the defence"] == pytest.approx(2 * (REST + 2 * 64 * UNIT))
    assert not found.not_counted


def test_cuts_are_as_many_as_the_work_makes(splits, tmp_path, monkeypatch):
    """Each of them takes a second on a large network; the estimate multiplies by these numbers."""
    made: list[str] = []

    def counted(module, name):
        real = module.cut

        def cut(*words, **named):
            made.append(name)
            return real(*words, **named)

        monkeypatch.setattr(module, "cut", cut)

    for module in (defenses.parts.prepare, equality, client_half, server_half):
        counted(module, module.__name__)
    config = SweepConfig(**SMALL, victim={"epochs": 0})
    victim = prepare_victim(tmp_path / "victim", config, splits)
    halves = prepare_halves(
        tmp_path / "halves", config, splits, parse("none"), "block1", Secret.new(0), victim=victim
    )
    assert len(made) == PREPARED
    write_deployment(
        tmp_path / "deployment",
        halves,
        defended=parse("none"),
        secret=Secret.new(0),
        classes=splits.classes,
    )
    assert len(made) == PREPARED + CHECKED
    undefended(tmp_path / "deployment", splits.victims.take(2), victim)
    assert len(made) == PREPARED + CHECKED + UNDEFENDED
    make_threat(tmp_path / "deployment", GrantRequest(head=True, auxiliary=2), splits, 0)
    assert len(made) == PREPARED + CHECKED + UNDEFENDED + GRANTED_HALVES


def cell(share=0.0, attacks=(1.0, 4.0)):
    costs = Costs(cut=1 + share, head=0.1, rest=0.3, wire=0.01, attacks=attacks)
    return PlannedCell(costs, (0, 1), 2)


RUN = Run(image=0.2, start=3.0, loading=2.0, victims=10, undefended=5, validation=20, cores=4)


def test_stages_of_two_cells_by_hand():
    found = stages([cell(), cell(1.0)], RUN)
    written = written_seconds(1, 0.2, 20) + written_seconds(2, 0.2, 20)
    answered = undefended_seconds(1, 0.2, 5) + undefended_seconds(2, 0.2, 5)
    assert written == pytest.approx(3 * 3 + 2 * (20 + 34) * 0.2)
    assert answered == pytest.approx(2 * 3 + 2 * 5 * 0.2)
    assert found == pytest.approx(
        {
            "deployments": written + answered + 2 * 1 + 2 * 2,
            "processes": (2 * (3 + 1) + 2 + 2 * (3 + 2) + 2) / 4,
            "capture": 2 * 10 * 0.31,
        }
    )


def test_an_attack_that_cannot_be_told_at_one_place_is_not_counted():
    found = attack_stages([cell(), cell(attacks=(2.0, None))], ["decoder", "dci"])
    assert found == {"decoder": 3.0, "dci": None}


def test_costs_between_two_points():
    left = Costs(1.0, 0.1, 0.4, 0.0, (1.0, None))
    right = Costs(3.0, 0.3, 0.0, 0.2, (2.0, 5.0))
    _, middle, _ = at_every_point({0: left, 2: right}, 3, 2)
    assert (middle.cut, middle.head, middle.rest, middle.wire) == pytest.approx(
        (2.0, 0.2, 0.2, 0.1)
    )
    assert middle.attacks == (1.5, None)


def test_latency_by_hand():
    assert place_seconds(0.1, (), 1000, 10) == pytest.approx(5 * (1 + 4) * 8 * 0.1)
    link = "rtt=100ms,up=1mbps,down=1mbps"
    asked = 1 + 5 * 2
    waited = sum(round_trips(parse_link(link), 1000, 10, asked))
    per = (8 * (1000 + 66) + 8 * (10 + 66)) / 1e6 + 0.1
    assert waited == pytest.approx(asked * per)
    both = place_seconds(0.1, (link, link + ",loss=1%"), 1000, 10)
    assert both == pytest.approx(20.0 + asked * 0.1 + waited)  # losses are modelled, not waited for
    assert [starts(n) for n in (1, 12, 13)] == [1, 12, 65]
    costs = Costs(1.0, 0.1, 0.3, 0.0, ())
    found = latency_seconds([(costs, 1000, 10)] * 2, (), 3.0, 2)
    assert found == pytest.approx(2 * 200 * 0.4 + 2 * (3 + 1) / 2 + 3 + 2)
    assert latency_seconds([], (), 3.0, 2) == 0


def test_scoring_grows_with_what_is_compared(splits):
    victims = splits.victims.take(100)
    scoring = Scoring(victims, lambda images: images.flatten(1)[:, :8], None, Table())
    metrics = IMAGE.load_metrics()
    others = [metric for metric in metrics if growth_of(metric) is each]
    for scored in (8, 100):
        alone = len(others) * scored / 8
        pairs, both = scored * 100 / (8 * 32), (scored + 100) / (8 + 32)
        wanted = 2 * ONCE * (alone + pairs + both + len(metrics))
        assert scoring.seconds(scored) == pytest.approx(wanted)
    assert len(others) == len(metrics) - 2
