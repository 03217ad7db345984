"""The experiments as data: they fit together, cut real networks, and state the paper's numbers."""

import importlib
import pickle
from functools import cache

import pytest

from bench.point.victim import shared_training
from bench.reproduce.ensembler.attacks import SHORT
from bench.reproduce.ensembler.figures import VGG11, VGG16, resnet_grid, vgg_grid
from bench.reproduce.ensembler.subsets import (
    duration,
    extrapolated,
    runs_of,
    subsets_of,
)
from bench.reproduce.frame.run import Framed, check
from bench.reproduce.registry import EXPERIMENTS
from defenses import parse
from splitlab.contracts import ArchSpec
from splitlab.models import MODELS, build
from splitlab.split import find_point, split_points

FRAMED = list(EXPERIMENTS)


def built(name, scale):
    module, _, function = EXPERIMENTS[name].partition(":")
    framed = getattr(importlib.import_module(module), function)
    assert isinstance(framed, Framed)
    return framed.build(scale)


@pytest.mark.parametrize("scale", ["quick", "paper"])
@pytest.mark.parametrize("name", FRAMED)
def test_every_experiment_fits_together(name, scale):
    experiment = built(name, scale)
    assert experiment.name == name
    assert pickle.loads(pickle.dumps(experiment)).name == name  # as workers are handed it
    names = [place.name for place in experiment.places]
    assert len(set(names)) == len(names)
    assert experiment.baseline in names
    base = next(place for place in experiment.places if place.name == experiment.baseline)
    assert base.defense == "none"
    for place in experiment.places:
        parse(place.defense).check(place.tail_start or experiment.setup.tail_start)
    for measurement in experiment.measurements:
        if measurement.place.defense == "none":
            assert measurement.knowledge == "undefended"
        if "literal" in measurement.key:
            assert measurement.knows == {"bodies"} | (
                {"selector"} if "oracle" in measurement.key else set()
            )
    for row in experiment.lines:
        if name.startswith("ensembler"):
            assert not row.paper or row.attack == SHORT[scale]["literal"]


@cache
def points_of(arch):
    spec = ArchSpec.model_validate_json(arch)
    return split_points(build(spec, seed=0), spec.input.shape, "operation")


@pytest.mark.parametrize("scale", ["quick", "paper"])
@pytest.mark.parametrize("name", FRAMED)
def test_every_place_can_be_cut(name, scale):
    experiment = built(name, scale)
    if experiment.setup.model not in MODELS:
        check(experiment)  # its own sight knows where it is parted
        return
    arch = experiment.setup.arch(10)
    points = points_of(arch.model_dump_json())
    for place in experiment.places:
        head = find_point(points, place.head_end or experiment.setup.head_end)
        tail = find_point(points, place.tail_start or experiment.setup.tail_start)
        assert head.index < tail.index, place


def test_table_one_is_the_papers():
    rows = {row.label: row.paper for row in built("ensembler-table1", "paper").lines if row.paper}
    assert list(rows) == [
        "NONE",
        "Shredder",
        "Single",
        "DR-single",
        "DR-ensemble (best SSIM)",
        "DR-ensemble (best PSNR)",
        "Adaptive",
        "N = 1 (best SSIM)",
        "N = 1 (best PSNR)",
    ]
    assert rows["Adaptive"] == {"accuracy_change": -2.13, "ssim": 0.0555, "psnr": 5.981}
    places = {place.name: place.defense for place in built("ensembler-table1", "paper").places}
    assert parse(places["ensembler"]) == parse(
        "ensembler:N=10,P=4,weight=1.0+gaussian:level=0.1,draw=fixed"
    )
    assert parse(places["dr-single"]) == parse("output-dropout:level=0.6")


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("ensembler-table1", (64, 16, 16)),
        ("ensembler-table2", (64, 32, 32)),
        ("ensembler-table3", (64, 64, 64)),
    ],
)
def test_the_paper_scale_has_the_papers_feature(name, shape):
    experiment = built(name, "paper")
    arch = experiment.setup.arch(10)
    points = split_points(build(arch, seed=0), arch.input.shape, "operation")
    assert find_point(points, experiment.setup.head_end).shape == shape


@pytest.mark.parametrize(("name", "places"), [("vgg16_cifar", VGG16), ("vgg11_cifar", VGG11)])
def test_a_vggs_cuts_stand_behind_its_convolutions(name, places):
    features = build(ArchSpec(name=name, arguments={"thinner": 16}), seed=0).net.features
    found = [i for i, layer in enumerate(features) if type(layer).__name__ == "ReLU"]
    assert tuple(found) == places


def test_grids_leave_a_body_in_every_cell():
    vgg = vgg_grid(VGG16, range(1, 9), (1, 2, 3))
    assert len(vgg.cells()) == 24
    assert (vgg.heads[8], vgg.tails[1], vgg.tails[2]) == ("features.26", "avgpool", "features.39")
    resnet = resnet_grid("maxpool", 4, (1, 2, 3), (1, 2, 3))
    assert (resnet.heads[1], resnet.heads[3]) == ("maxpool", "layer2")
    assert (resnet.tails[2], resnet.tails[3]) == ("layer3", "layer2")
    assert (3, 3) not in resnet.cells()
    assert len(resnet.cells()) == 8


@pytest.mark.parametrize("scale", ["quick", "paper"])
@pytest.mark.parametrize("name", ["ensembler-figure2", "ensembler-figure3"])
def test_every_first_cut_has_a_ceiling(name, scale):
    experiment = built(name, scale)
    heads = {place.name.partition("-")[0] for place in experiment.places}
    bounded = [m.place.name for m in experiment.measurements if "observe" in m.knows]
    assert sorted(bounded) == sorted(f"{head}-t1" for head in heads)
    shown = {key for line in experiment.lines for key in (m.key for m in line.of)}
    assert {f"{place}/ceiling" for place in bounded} <= shown


def test_subsets_are_counted_and_their_cost_is_extrapolated_exactly_where_it_is_linear():
    assert [subsets_of(n) for n in (1, 4, 10)] == [1, 15, 1023]
    assert [runs_of(n) for n in (1, 2, 3)] == [1, 4, 12]  # {0}, {1}, {0, 1} -> 1 + 1 + 2
    truth = {n: 5.0 * subsets_of(n) + 2.0 * runs_of(n) for n in (2, 3, 4, 10)}
    found = extrapolated({n: truth[n] for n in (2, 3, 4)}, (10,))
    assert found[10] == pytest.approx(truth[10])


def test_no_negative_cost_is_extrapolated():
    found = extrapolated({2: 30.0, 3: 35.0, 4: 100.0}, (5, 6))
    assert 0 < found[5] < found[6]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.25, "3.2 s"), (150, "2.5 min"), (7200, "2.0 h"), (864_000, "10.0 days")],
)
def test_durations_are_told_in_a_readers_unit(seconds, text):
    assert duration(seconds) == text


def test_ensemblers_that_differ_in_n_and_p_share_stage_one():
    experiment = built("ensembler-ablations", "quick")
    by_name = {p.name: shared_training(p.defense) for p in experiment.places}
    same = {by_name[name] for name in ("ensembler", "no-similarity", "n4-p1", "n2-p2")}
    assert len(same) == 1
    assert by_name["fresh-noise"] not in same
    assert by_name["no-noise"] not in same
