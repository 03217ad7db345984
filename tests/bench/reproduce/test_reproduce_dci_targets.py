"""The experiments on DCI at a network and a place that were named."""

from dataclasses import replace

import pytest
from reproductions import curve, interval, made, none

from bench.reproduce.dci import setup as dci_setup
from bench.reproduce.dci.ablations import ablations
from bench.reproduce.dci.figure4 import figure4
from bench.reproduce.dci.figure9 import figure9
from bench.reproduce.dci.figure12 import figure12
from bench.reproduce.dci.notes import MOVED_NOTE, NETWORK_NOTE, PAPER_SCALE_NOTE, SETTINGS_NOTE
from bench.reproduce.dci.setup import BLOCKS, QUICK, blocks_of, grouping
from bench.reproduce.dci.table2 import METHODS, table2
from bench.reproduce.frame.request import ExperimentRequest, Target
from bench.reproduce.frame.run import Framed, check
from bench.reproduce.registry import EXPERIMENTS, MOVABLE
from splitlab.contracts.registry import Registry
from splitlab.errors import BadInput, UnknownName


def test_figure_9_moves_to_another_network_and_split_point(tmp_path):
    seen = []
    moved = Framed(figure9.build, lambda *given: seen.append(figure9.build(*given)) or seen[0])
    request = ExperimentRequest(
        tmp_path, scale="paper", target=Target("resnet18", "layer3.0", "avgpool")
    )
    moved(request)  # without data: nothing is trained
    (place,) = {(p.head_end, p.tail_start) for p in seen[0].places}
    assert place == ("layer3.0", "avgpool")
    assert seen[0].setup.model == "resnet18"
    with pytest.raises(BadInput, match=r"--model resnet18.*bench splits resnet18"):
        figure9(replace(request, target=Target("resnet18")))
    with pytest.raises(UnknownName, match=r"layer9"):
        figure9(replace(request, target=Target(split="layer9")))


@pytest.mark.slow
def test_figure_4_moves_to_the_blocks_of_another_network(tmp_path):
    seen = []
    Framed(figure4.build, lambda *given: seen.append(figure4.build(*given)) or seen[0])(
        ExperimentRequest(tmp_path, scale="paper", target=Target("resnet20", "layer2.0"))
    )  # without data: nothing is trained
    (experiment,) = seen
    ends = [place.head_end for place in experiment.places]
    assert ends == ["relu", "layer1.0", "layer1.1", "layer1.2", "layer2.0"]
    assert [c.text for c in experiment.claims] == ["The deepest block leaks less than the first"]
    found = curve([30.0, 28.0, 26.0, 24.0, 22.0])
    assert experiment.extra({0: found})[0].rows[0][2:] == ("-1.00", "holds")
    own = figure4.build("quick", Target(split="stage2.0"))
    assert [place.head_end for place in own.places] == list(BLOCKS["quick"][:3])


@pytest.mark.slow  # ResNet-50 is traced several times
def test_resnet_50_is_inverted_in_the_groups_of_the_paper():
    deep = QUICK.model_copy(update={"model": "resnet50", "head_end": "layer2", "tail_start": None})
    assert blocks_of(deep) == ["maxpool", "layer1.2", "layer2.3"]
    assert grouping(deep) == {"grouped": True}
    assert grouping(QUICK) == {}
    target = Target("torchvision/resnet50", "layer2")
    asked = {m.key: m.options for m in table2.build("paper", target).measurements}
    assert asked["layer2/dci"]["grouped"]
    assert asked["layer2/natural"]["grouped"]
    assert asked["layer2/real-10000"]["grouped"]
    assert "grouped" not in asked["layer2/psim"]


def test_table_2_moves_to_one_place_of_another_network(tmp_path):
    with pytest.raises(BadInput, match=r"--model resnet20.*bench splits resnet20"):
        table2(ExperimentRequest(tmp_path, target=Target("resnet20")))
    seen = []
    Framed(table2.build, lambda *given: seen.append(table2.build(*given)) or seen[0])(
        ExperimentRequest(tmp_path, scale="paper", target=Target("resnet20", "layer2.0"))
    )  # without data: nothing is trained
    experiment = seen[0]
    assert {(p.head_end, p.tail_start) for p in experiment.places} == {("layer2.0", None)}
    attacks = {m.attack for m in experiment.measurements}
    assert attacks == {attack for attack, _ in METHODS}
    assert "DCI is above rMSE in PSNR at layer2.0" in {c.text for c in experiment.claims}
    found = {}
    for key in ("layer2.0/dci", "layer2.0/rmle"):
        record = made(key, psnr=20.0, place="layer2.0", images=8.0, reconstruct_seconds=1.0)
        leakage = record.leakage | {"mse": interval(0.1), "lpips_alex": none()}
        leakage["lpips_squeeze"] = interval(0.3)
        found[key] = record.model_copy(update={"leakage": leakage})
    costs, _ = experiment.extra({0: found})
    # the paper's are of another network and place
    assert not any(row.paper for row in experiment.lines)
    assert not any("paper" in name for name in costs.columns)
    assert "V100" not in costs.note
    assert {len(row) for row in costs.rows} == {len(costs.columns)}
    assert [row[:2] for row in costs.rows] == [("layer2.0", "rMSE"), ("layer2.0", "DCI")]
    # five blocks: the first convolution, three of the first stage, and this one
    steps = 5 * 19 + 4 * 19
    assert costs.rows[1][7] == f"{steps * 313:,}"


def test_a_network_that_remembers_no_images_is_refused_before_it_is_trained(tmp_path):
    request = ExperimentRequest(tmp_path / "run", target=Target("squeezenet1_1", "features.5"))
    with pytest.raises(BadInput, match="no batch norm that remembers its training images"):
        table2(request)
    assert not request.out.exists()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_who_takes_no_other_network_names_those_that_do(tmp_path, name):
    run = Registry("experiment", EXPERIMENTS).load(name)
    request = ExperimentRequest(tmp_path / "run", target=Target(split="nowhere"))
    if name in MOVABLE:
        with pytest.raises(UnknownName, match="nowhere"):
            run(request)
    else:
        others = "dci-table2, dci-figure4, dci-figure9, dci-figure12, dci-ablations"
        said = f"--tail, --mean, --std: {name} has no use .* one of {others}"
        with pytest.raises(BadInput, match=said):
            run(request)
    assert not (tmp_path / "run").exists()


def test_the_ablations_move_to_one_place_of_another_network(tmp_path):
    experiment = ablations.experiment(
        ExperimentRequest(tmp_path, target=Target("resnet20", "layer1.1"))
    )
    check(experiment)
    assert {(p.name, p.head_end, p.tail_start) for p in experiment.places} == {
        ("layer1.1", "layer1.1", None)
    }
    assert experiment.baseline == "layer1.1"
    assert experiment.setup.model == "resnet20"
    assert len(experiment.lines) == len(ablations.build("quick").lines)
    by_key = {m.key.partition("/")[2]: m.options for m in experiment.measurements}
    assert (by_key["whole"]["epochs"], by_key["whole"]["tune_epochs"]) == (4, 16)
    assert by_key["greedy"]["epochs"] == 15  # (3 * 4 + 2 * 16) / 3 blocks, rounded up
    assert "ceiling" in by_key


def test_figure_12_moves_to_a_place_and_one_a_third_of_the_way_there(tmp_path):
    experiment = figure12.experiment(
        ExperimentRequest(tmp_path, target=Target("resnet20", "layer2.0"))
    )
    check(experiment)
    deep, shallow = experiment.places
    assert (deep.head_end, shallow.head_end) == ("layer2.0", "layer1.0")  # blocks 5 and 2
    assert deep.tail_start is shallow.tail_start is None
    keys = {m.key for m in experiment.measurements}
    assert {"layer2.0/ceiling", "layer1.0/ceiling", "layer1.0/head-512"} <= keys
    labels = {row.label for row in experiment.lines}
    assert "layer1.0: 512 synthetic, statistics of the head alone" in labels
    key = "layer2.0/synthetic-512"
    record = made(key, psnr=20.0, place="layer2.0")
    record = record.model_copy(
        update={
            "leakage": {
                **record.leakage,
                "lpips_alex": interval(0.3),
                "lpips_squeeze": interval(0.2),
            }
        }
    )
    perceived = experiment.extra({0: {key: record}})[0]
    assert perceived.rows == (("512 synthetic", "0.300", "0.200"),)  # the paper's: another's


@pytest.mark.parametrize("experiment", [ablations, figure12])
def test_a_moved_experiment_groups_blocks_and_drops_the_note_of_its_own(experiment, monkeypatch):
    monkeypatch.setattr(dci_setup, "BOTTLENECKS", ("resnet20",))  # one that is traced fast
    moved = experiment.build("quick", Target("resnet20", "layer2.0"))
    check(moved)
    inverted = [m for m in moved.measurements if m.attack == "dci"]
    assert inverted
    assert all(m.options["grouped"] for m in inverted)
    assert NETWORK_NOTE not in moved.notes
    own = experiment.build("quick")
    assert NETWORK_NOTE in own.notes
    assert not any("grouped" in m.options for m in own.measurements)


@pytest.mark.parametrize("experiment", [ablations, figure12])
def test_a_head_of_one_block_has_nothing_to_leave_out(experiment, tmp_path):
    request = ExperimentRequest(tmp_path / "run", target=Target("resnet20", "relu"))
    with pytest.raises(BadInput, match=r"relu is 1 block .* at least 2; .*bench splits resnet20"):
        experiment(request)
    assert experiment.experiment(replace(request, target=Target("resnet20", "layer1.0"))).lines


@pytest.mark.parametrize(
    "experiment",
    [
        table2,
        pytest.param(figure4, marks=pytest.mark.slow),
        figure9,
        pytest.param(figure12, marks=pytest.mark.slow),
        pytest.param(ablations, marks=pytest.mark.slow),
    ],
)
def test_where_settings_come_from_is_told_of_every_network(experiment):
    other = Target("resnet20", "layer2.0")

    def told(*given):
        own = (NETWORK_NOTE, SETTINGS_NOTE, MOVED_NOTE)
        return [note for note in experiment.build(*given).notes if note in own]

    assert told("quick") == [NETWORK_NOTE, SETTINGS_NOTE]
    assert told("quick", other) == [SETTINGS_NOTE, MOVED_NOTE]
    assert told("quick", Target(split="stage2.0")) == [SETTINGS_NOTE]
    assert told("paper", other) == [MOVED_NOTE]
    assert told("paper") == []


def test_table_2_has_the_papers_numbers_of_its_own_network_alone():
    own, other = table2.build("paper"), table2.build("paper", Target("resnet20", "layer2.0"))
    assert {row.key: row.paper for row in own.lines}["block-21/dci"]["psnr"] == 18.83
    assert not any(row.paper for row in other.lines)
    for experiment in (own, other):
        assert PAPER_SCALE_NOTE in experiment.notes
    assert "another network's validation images" in MOVED_NOTE
