"""The experiments on DCI at a network and a place that were named."""

from dataclasses import replace

import pytest
from reproductions import curve, interval, made, none

from bench.reproduce.dci_ablations import ablations
from bench.reproduce.dci_figure4 import figure4
from bench.reproduce.dci_figure9 import figure9
from bench.reproduce.dci_setup import (
    BLOCKS,
    MOVED_NOTE,
    NETWORK_NOTE,
    PAPER_SCALE_NOTE,
    QUICK,
    SETTINGS_NOTE,
    blocks_of,
    grouping,
)
from bench.reproduce.dci_table2 import METHODS, table2
from bench.reproduce.request import Request, Target
from bench.reproduce.run import Framed
from splitlab.errors import BadInput, UnknownName


def test_figure_9_moves_to_another_network_and_split_point(tmp_path):
    seen = []
    moved = Framed(figure9.build, lambda *given: seen.append(figure9.build(*given)) or seen[0])
    request = Request(tmp_path, scale="paper", target=Target("resnet18", "layer3.0", "avgpool"))
    moved(request)  # without data: nothing is trained
    (place,) = {(p.head_end, p.tail_start) for p in seen[0].places}
    assert place == ("layer3.0", "avgpool")
    assert seen[0].setup.model == "resnet18"
    with pytest.raises(BadInput, match=r"--model resnet18.*bench splits resnet18"):
        figure9(replace(request, target=Target("resnet18")))
    with pytest.raises(UnknownName, match=r"layer9"):
        figure9(replace(request, target=Target(split="layer9")))
    with pytest.raises(BadInput, match=r"--model, --split, --tail: dci-ablations has no use"):
        ablations(replace(request, target=Target(split="stage0")))


def test_figure_4_moves_to_the_blocks_of_another_network(tmp_path):
    seen = []
    Framed(figure4.build, lambda *given: seen.append(figure4.build(*given)) or seen[0])(
        Request(tmp_path, scale="paper", target=Target("resnet20", "layer2.0"))
    )  # without data: nothing is trained
    (experiment,) = seen
    ends = [place.head_end for place in experiment.places]
    assert ends == ["relu", "layer1.0", "layer1.1", "layer1.2", "layer2.0"]
    assert [c.text for c in experiment.claims] == ["The deepest block leaks less than the first"]
    found = curve([30.0, 28.0, 26.0, 24.0, 22.0])
    assert experiment.extra({0: found})[0].rows[0][2:] == ("-1.00", "holds")
    own = figure4.build("quick", Target(split="stage2.0"))
    assert [place.head_end for place in own.places] == list(BLOCKS["quick"][:3])


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
        table2(Request(tmp_path, target=Target("resnet20")))
    seen = []
    Framed(table2.build, lambda *given: seen.append(table2.build(*given)) or seen[0])(
        Request(tmp_path, scale="paper", target=Target("resnet20", "layer2.0"))
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
    assert not any(row.paper for row in experiment.rows)
    assert not any("paper" in name for name in costs.columns)
    assert "V100" not in costs.note
    assert {len(row) for row in costs.rows} == {len(costs.columns)}
    assert [row[:2] for row in costs.rows] == [("layer2.0", "rMSE"), ("layer2.0", "DCI")]
    # five blocks: the first convolution, three of the first stage, and this one
    steps = 5 * 19 + 4 * 19
    assert costs.rows[1][7] == f"{steps * 313:,}"


@pytest.mark.parametrize("experiment", [table2, figure4, figure9])
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
    assert {row.key: row.paper for row in own.rows}["block-21/dci"] == {"psnr": 18.83}
    assert not any(row.paper for row in other.rows)
    for experiment in (own, other):
        assert PAPER_SCALE_NOTE in experiment.notes
    assert "another network's validation images" in MOVED_NOTE
