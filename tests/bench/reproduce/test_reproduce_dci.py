"""DCI's tables and figures from records with known numbers; checkpoints in place of training."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch
from reproductions import NONE, SETUP, curve, interval, made, none, small
from safetensors.torch import save_file
from typer.testing import CliRunner

from adversary.contract.threat import AuxImages, ThreatModel
from adversary.inversion.dci.attack import DCI
from adversary.inversion.rmle.attack import RMLE
from bench.cli import app
from bench.point.measure import make_attack
from bench.point.setup import Synthetic
from bench.reproduce.dci import setup as dci_setup
from bench.reproduce.dci.ablations import ablations
from bench.reproduce.dci.figure4 import figure4
from bench.reproduce.dci.figure9 import LEVELS, figure9
from bench.reproduce.dci.figure12 import figure12
from bench.reproduce.dci.setup import BLOCKS, updates
from bench.reproduce.dci.table2 import DEPTHS, METHODS, table2
from bench.reproduce.frame.charts import Curve, Swept
from bench.reproduce.frame.columns import ACCURACY
from bench.reproduce.frame.experiment import Experiment, Line, Measurement
from bench.reproduce.frame.extra import lpips_orders
from bench.reproduce.frame.request import ExperimentRequest
from bench.reproduce.frame.run import reproduce
from bench.reproduce.frame.seed_run import SeedRun
from bench.reproduce.frame.summary import summarise
from splitlab.contracts import ArchSpec, InputSpec
from splitlab.data import load_splits
from splitlab.errors import BadInput, Mismatch
from splitlab.models import build
from splitlab.split import cut
from splitlab.storage import hash_tensors


def column(table, name):
    return [row[table.columns.index(name)] for row in table.rows]


def test_figure_4_says_seed_by_seed_whether_psnr_falls():
    experiment = figure4.build("quick")
    falling = [30.0, 25, 26, 22, 20, 19, 18, 17]
    table, _ = experiment.extra({0: curve(falling), 1: curve(falling[::-1])})
    assert [row[-1] for row in table.rows] == ["holds", "does not hold"]
    assert table.rows[0][2] == "-0.98"
    assert table.rows[0][1].startswith("30.0, 25.0, 26.0")
    assert len(experiment.places) == len(BLOCKS["quick"]) == 8
    assert len(BLOCKS["paper"]) == 22


def test_table_2_has_the_papers_columns_and_times():
    experiment = table2.build("quick")
    slow = made("block-7/rmle", psnr=11.0, place="block-7", images=8.0, reconstruct_seconds=20.0)
    leakage = {**slow.leakage, "mse": interval(0.08), "lpips_alex": none(), "lpips_squeeze": none()}
    slow = slow.model_copy(update={"leakage": leakage})
    (table,) = experiment.extra({0: {"block-5/rmle": slow}})
    (row,) = table.rows
    assert row[:7] == ("5", "rMSE", "0.0800", "n/a", "n/a", "11.00", "0.500")
    assert row[7:10] == ("0", "1.0", "10")  # the paper's LPIPS, which no row has, are left out
    assert row[10:] == ("0.082", "1.082", "10.9", "210")
    assert len(row) == len(table.columns)


def test_learning_counts_the_blocks_that_were_taken_from_a_shallower_place():
    def dci(depth, seconds, shelf):
        key = f"block-{depth}/dci"
        record = made(key, place=f"block-{depth}", fit_seconds=seconds, images=8.0)
        leakage = {**record.leakage, "mse": interval(0.1)}
        leakage |= {"lpips_alex": none(), "lpips_squeeze": interval(0.3 + depth / 100)}
        facts = {"from_shelf": shelf}
        effort = {**record.effort, "reconstruct_seconds": 1.0}
        changed = {"leakage": leakage, "attack_facts": facts, "effort": effort}
        return key, record.model_copy(update=changed)

    found = dict([dci(5, 40.0, 0), dci(8, 60.0, 5)])
    table, *_ = table2.build("quick").extra({0: found})
    assert column(table, "learning [s]") == ["40.0", "100.0"]
    found = dict([dci(5, 40.0, 0), dci(8, 90.0, 0)])
    table, *_ = table2.build("quick").extra({0: found})
    assert column(table, "learning [s]") == ["40.0", "90.0"]


def test_who_learns_from_synthetic_images_is_told_what_their_making_took():
    def at(attack, seed, **making):
        record = made(f"block-5/{attack}", seed, images=8.0, reconstruct_seconds=1.0)
        leakage = {**record.leakage, "mse": interval(0.1), "lpips_alex": none()}
        facts = {"making": making} if making else {}
        changed = {"leakage": leakage | {"lpips_squeeze": none()}, "attack_facts": facts}
        return {f"block-5/{attack}": record.model_copy(update=changed)}

    off = {"mean_error": {"worst": 0.125, "median": 0.1}}
    off |= {"variance_error": {"worst": 0.5, "median": 0.25}}
    found = {
        0: at("dci", 0, seconds=30.0, **off) | at("psim", 0) | at("di", 0),
        1: at("dci", 1, seconds=32.0, **off) | at("psim", 1, seconds=32.0) | at("di", 1),
    }
    table, *_ = table2.build("quick").extra(found)
    assert column(table, "method") == ["PSiM", "DI", "DCI"]
    assert column(table, "making images [s]") == ["n/a", "", "31.0"]
    errors = column(table, "statistics off by: mean / variance")
    assert errors == ["n/a / n/a", "", "0.12 / 0.50"]
    assert "rMSE, DDream and DI need none" in table.note


def test_directions_are_told_by_lpips_too_where_there_are_weights():
    def at(key, value, seed):
        record = made(key, seed)
        leakage = {"lpips_squeeze": interval(value), "lpips_alex": none()}
        return record.model_copy(update={"leakage": {**record.leakage, **leakage}})

    lines = tuple(Line(key, "", (Measurement(key, NONE, "mean-image"),)) for key in "abc")
    experiment = Experiment("x", "X", "", "quick", SETUP, lines)
    found = {
        seed: {"a": at("a", 0.2, seed), "b": at("b", 0.3 - 0.2 * seed, seed)} for seed in (0, 1)
    }
    (table,) = lpips_orders((("a is nearer", "a", "b"), ("lost", "a", "c")))(experiment, found)
    assert table.rows == (("a is nearer", "squeeze", "0.200", "0.200", "1 of 2 seeds"),)
    assert lpips_orders((("lost", "a", "c"),))(experiment, {0: {}}) == []


def test_every_row_but_the_bounds_sees_synthetic_images_alone():
    for measurement in table2.build("quick").measurements:
        real = "real" in measurement.key or "ceiling" in measurement.key
        bare = measurement.key.endswith("/rmle-spectral")
        assert (measurement.synthetic is None) == (real or bare)
        assert "observe" not in measurement.knows or real
        if bare:
            assert (measurement.share, measurement.knows) == (0, {"head"})


@pytest.mark.parametrize("scale", ["quick", "paper"])
def test_a_descent_begins_at_the_very_dci_that_has_a_row(scale):
    """The one that learns from images of natural noise: with its settings, a run fits it once."""
    by_key = {one.key: one for one in table2.build(scale).measurements}
    depth = DEPTHS[scale][-1]
    begun, own = (by_key[f"block-{depth}/{name}"] for name in ("rmle-dci", "natural"))
    attack = RMLE.configured(begun.options)
    assert attack.starts_from == (DCI.configured(own.options),)
    assert (begun.synthetic, begun.knows) == (own.synthetic, {"head"})
    assert attack.choose_images == 0


def test_every_rival_is_measured_at_every_depth():
    keys = {m.key for m in table2.build("quick").measurements}
    wanted = {attack for attack, _ in METHODS} | {"natural", "real-512", "ceiling"}
    wanted |= {"rmle-spectral", "rmle-dci", "ceiling-rmle"}
    for depth in DEPTHS["quick"]:
        assert {k.partition("/")[2] for k in keys if k.startswith(f"block-{depth}/")} == wanted


@pytest.mark.parametrize("attack", ["psim", "gmi", "decoder", "dci"])
def test_updates_are_the_steps_that_are_really_made(attack, monkeypatch):
    """Of the networks that reconstruct; counted where the optimizer steps."""
    depth, images = 2, 64
    monkeypatch.setitem(dci_setup.MADE, "quick", Synthetic("network", images, {}))
    monkeypatch.setitem(
        dci_setup.METHOD_OPTIONS["quick"],
        "dci",
        {"images": images, "batch_size": 64, "epochs": 2, "tune_epochs": 1},
    )
    own = {
        **dci_setup.METHOD_OPTIONS["quick"][attack],
        **({} if attack == "dci" else {"epochs": 3}),
    }
    monkeypatch.setitem(dci_setup.METHOD_OPTIONS["quick"], attack, own)
    if attack == "dci":
        own = {**own, "data": "own", "images": images}
    arch = ArchSpec(name="repvgg_mini", input=InputSpec(size=16))
    end = BLOCKS["quick"][depth - 1]
    head = cut(build(arch, seed=0).eval(), end, None, arch.input.shape).head.eval()
    aux = load_splits("photo-patches", size=16, limits={"train": 1}).auxiliary.take(images, 0)
    threat = ThreatModel(
        arch=arch,
        head_end=end,
        head=head.requires_grad_(False),
        input=arch.input,
        aux=AuxImages(aux, aux.take(4, 0), "own"),
    )
    steps = Counter()
    step = torch.optim.Adam.step

    def counted(self, *given, **named):
        steps[id(self)] += 1
        return step(self, *given, **named)

    monkeypatch.setattr(torch.optim.Adam, "step", counted)
    make_attack(attack, {**own, "width": 4} if attack in ("psim", "gmi") else own).fit(
        threat, torch.Generator().manual_seed(0)
    )
    wanted = updates("quick", attack, depth)
    if attack == "dci":
        assert steps.total() == wanted == 5
    else:
        assert wanted in steps.values()
        assert max(steps.values()) // (5 if attack == "gmi" else 1) == wanted > 0


def test_phase_a_alone_makes_as_many_steps():
    by_key = {m.key.partition("/")[2]: m.options for m in ablations.build("quick").measurements}
    whole, greedy = by_key["whole"], by_key["greedy"]
    steps = 5 * whole["epochs"] + 4 * whole["tune_epochs"]
    assert steps <= 5 * greedy["epochs"] < steps + 5
    assert greedy["tune_epochs"] == 0


@pytest.mark.parametrize("scale", ["quick", "paper"])
@pytest.mark.parametrize("experiment", [ablations, table2])
def test_no_two_rows_are_the_same_attack(experiment, scale):
    asked = [
        (m.place, m.attack, make_attack(m.attack, m.options).model_dump_json(), str(m.synthetic))
        for m in experiment.build(scale).measurements
    ]
    assert len(set(asked)) == len(asked)


def test_the_feature_s_loss_is_all_that_sets_two_rows_of_di_apart():
    by_key = {m.key.partition("/")[2]: m for m in table2.build("paper").measurements}
    plain, drawn = (make_attack("di", by_key[k].options) for k in ("di", "di-feature"))
    assert drawn.steps == plain.steps
    assert (drawn.feature, plain.feature) == (1.0, 0.0)


def test_figure_4_draws_the_curve_and_lists_lpips():
    experiment = figure4.build("quick")
    found = curve([30.0, 28.0, 26.0, 24.0, 22.0, 20.0, 18.0, 16.0])
    drawn = experiment.figure({0: found})
    assert drawn.startswith("<svg")
    assert "blocks inverted" in drawn
    order, perceived = experiment.extra({0: found})
    assert order.rows[0][-1] == "holds"
    assert perceived.columns == ("row", "LPIPS (alex)", "LPIPS (squeeze)")
    assert perceived.rows[0] == ("block 1", "n/a", "n/a")


def test_figure_12_has_the_paper_s_lpips_beside_ours():
    experiment = figure12.build("quick")
    key = next(m.key for m in experiment.measurements if m.key.endswith("synthetic-512"))
    record = made(key, psnr=20.0, place=key.partition("/")[0])
    leakage = {**record.leakage, "lpips_alex": interval(0.25)}
    like = {"images_are": {"spread": 0.1, "colours_together": 0.2, "fine": 0.3}}
    record = record.model_copy(update={"leakage": leakage, "attack_facts": like})
    perceived, characters = experiment.extra({0: {key: record}})
    assert perceived.rows == (("512 synthetic", "0.250", "n/a", "0.443"),)
    assert characters.rows == (("512 synthetic", "0.100", "0.200", "0.300"),)


def test_figure_9_draws_accuracy_and_the_inverse_of_psnr():
    experiment = figure9.build("quick")
    found = {"none/undefended": made("none/undefended", psnr=25.0, accuracy=80.0)}
    for level in LEVELS["quick"]["gaussian"]:
        key = f"gaussian-{level:g}/adaptive"
        found[key] = made(key, psnr=20.0, accuracy=60.0, place=f"gaussian-{level:g}")
    (table,) = experiment.extra({0: found})
    assert ("gaussian", "0", "80.0", "4.00") in table.rows
    assert ("gaussian", "0.28", "60.0", "5.00") in table.rows
    drawn = experiment.figure({0: found})
    assert drawn.startswith("<svg")
    for word in ("gaussian", "laplace", "dropout", "100 / PSNR", "accuracy [%]"):
        assert word in drawn
    empty = Swept("level", (Curve("a", ()),), left=ACCURACY, right="psnr")
    assert empty(experiment, {0: found}).startswith("<svg")


def test_figure_9_measures_accuracy_to_half_a_point():
    experiment = figure9.build("quick")
    assert experiment.setup.victims >= 200
    splits = load_splits("photo-patches", size=32, seed=0)
    assert experiment.setup.counted(splits).victims == experiment.setup.victims  # there are as many
    assert all(measurement.limit is None for measurement in experiment.measurements)


@pytest.mark.parametrize("scale", ["quick", "paper"])
def test_figure_9_has_a_ceiling_where_a_defence_does_its_most(scale):
    experiment = figure9.build(scale)
    bounds = {m.place.name: m for m in experiment.measurements if "observe" in m.knows}
    highest = {kind: f"{kind}-{levels[-1]:g}" for kind, levels in LEVELS[scale].items()}
    assert set(bounds) == {"none", *highest.values()}
    assert {bound.knowledge for name, bound in bounds.items() if name != "none"} == {"adaptive"}
    rows = {row.key: row.label for row in experiment.lines}
    for kind, name in highest.items():
        assert bounds[name].place.defense == f"{kind}:level={LEVELS[scale][kind][-1]:g}"
        assert rows[f"{name}/ceiling"] == f"{bounds[name].place.defense}: ceiling"


def test_a_saving_that_a_decoder_with_queries_undoes_does_not_hold():
    experiment = figure9.build("quick")
    found = {"none/ceiling": made("none/ceiling", psnr=27.0)}
    for place, psnr in (("gaussian-3", 21.0), ("laplace-3", 26.9)):
        found[f"{place}/ceiling"] = made(f"{place}/ceiling", psnr=psnr, place=place)
    judged = {one.claim.row: one for one in summarise(experiment, {0: found}).judged}
    assert judged["gaussian-3/ceiling"].verdict == "holds"
    assert judged["laplace-3/ceiling"].verdict == "does not hold"
    assert "only from who has no queries" in judged["laplace-3/ceiling"].reason
    assert judged["dropout-0.9/ceiling"].verdict == "cannot be judged"


@pytest.mark.parametrize("scale", ["quick", "paper"])
def test_figure_12_has_a_ceiling_at_both_of_its_depths(scale):
    experiment = figure12.build(scale)
    bounded = {m.place.name for m in experiment.measurements if "observe" in m.knows}
    assert bounded == {place.name for place in experiment.places}
    assert len(bounded) == 2


def test_a_checkpoint_is_taken_in_place_of_training(tmp_path):
    splits = load_splits("photo-patches", size=16, limits={"train": 64})
    setup = small().setup.counted(splits)
    net = build(setup.arch(len(splits.classes)), seed=5).net
    path = tmp_path / "net.safetensors"
    save_file(net.state_dict(), path)
    request = ExperimentRequest(out=tmp_path / "run", weights=path, device="cpu")
    run = SeedRun(small(), setup, request, 0, splits, None)
    point = run.point(small().measurements[0])
    victim = run.lab.victim(point)
    assert victim.facts["epochs"] == 0
    assert victim.facts["weights"] == point.weights_hash == hash_tensors(net.state_dict())
    state = victim.net.net.state_dict()
    assert all(torch.equal(state[key], value) for key, value in net.state_dict().items())
    other = replace(request, weights=tmp_path / "other.safetensors")
    save_file({"a": torch.zeros(1)}, other.weights)
    with pytest.raises(Mismatch, match="another network"):
        SeedRun(small(), setup, other, 0, splits, None).point(small().measurements[0])


def test_a_checkpoint_is_refused_where_networks_learn_with_a_defence(tmp_path):
    path = tmp_path / "net.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    experiment = small()
    many = replace(experiment.measurements[-1].place, name="other", defense="ensembler:N=2,P=1")
    moved = replace(experiment.measurements[-1], place=many)
    learned = small(measurements=(*experiment.measurements[:-1], moved))
    with pytest.raises(BadInput, match="trains networks with"):
        reproduce(learned, ExperimentRequest(out=tmp_path / "run", weights=path))
    done = CliRunner().invoke(app, ["reproduce", "ensembler-text", "--weights", str(path)])
    assert done.exit_code == 2
    assert "--weights" in done.output
    gone = CliRunner().invoke(
        app, ["reproduce", "dci-table2", "--weights", "nowhere.pth", "--out", str(tmp_path / "x")]
    )
    assert gone.exit_code == 2
    assert "there is no such file" in gone.output
