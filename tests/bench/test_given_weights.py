"""`--weights` in use: other outputs than the data's classes, a new last layer, failed starts."""

import re
from dataclasses import replace

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import defenses
from bench.cli import app
from bench.point.grants import GrantRequest, adversary_images
from bench.point.measure import Plan, point_of
from bench.point.recipe import validated
from bench.point.victim import prepare_victim
from bench.train import train_and_deploy
from splitlab.contracts import ArchSpec
from splitlab.data import load_splits
from splitlab.deployment import ClientHalf
from splitlab.errors import BadInput, Mismatch
from splitlab.models import build
from splitlab.storage import read_json, read_tensors
from splitlab.training import Silent, accuracy, train_classifier

OUTPUTS = [f"n{number:08d} thing{number}" for number in range(20)]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Images of two classes, and a network of 20 outputs that sees thing 7 in every image."""
    folder = tmp_path_factory.mktemp("world")
    for name, count in (("thing7", 30), ("thing3", 10)):
        (folder / "images" / name).mkdir(parents=True)
        for number in range(count):
            colour = (number * 8, 255 - number * 8, 90 if name == "thing7" else 180)
            Image.new("RGB", (32, 32), colour).save(folder / "images" / name / f"{number}.png")
    state = build(ArchSpec(name="tiny_cnn", classes=20), seed=3).net.state_dict()
    state["fc.weight"].zero_()
    state["fc.bias"].copy_(torch.eye(20)[7])
    torch.save(state, folder / "twenty.pth")
    torch.save({**state, "fc.bias": state["fc.bias"] / 0}, folder / "nan.pth")
    two = build(ArchSpec(name="tiny_cnn", classes=2), seed=3).net.state_dict()
    large = {k: v * 1e30 if k in ("block1.0.weight", "fc.weight") else v for k, v in two.items()}
    torch.save(large, folder / "large.pth")
    torch.save({k: torch.zeros_like(v) for k, v in two.items()}, folder / "zero.pth")
    other = build(ArchSpec(name="resnet8", classes=20), seed=0).net.state_dict()
    torch.save(other, folder / "resnet8.pth")
    (folder / "names.txt").write_text("\n".join(OUTPUTS))
    (folder / "few.txt").write_text("thing7\nthing3")
    (folder / "crossed.csv").write_text("thing7,3\nthing3,thing7\n")
    (folder / "numbers.csv").write_text("thing7,7\nthing3,3\n")
    return folder


def train(world, out, *words, weights="twenty.pth", ok=True):
    words = ["train", "--model=tiny_cnn", "--split=block2", f"--out={out}", "--device=cpu", *words]
    words += [f"--dataset=imagefolder:{world / 'images'}", f"--weights={world / weights}"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == (0 if ok else 2), done.output
    assert "Traceback" not in done.output
    return " ".join(done.output.split())


def share_of_seven(world):
    splits = load_splits(f"imagefolder:{world / 'images'}", size=32)
    return 100 * (splits.validation.labels == splits.classes.index("thing7")).double().mean()


@pytest.mark.parametrize(
    ("words", "crossed"),
    [
        (["--classes=names.txt"], False),
        (["--classes=names.txt", "--label-map=crossed.csv"], True),
        (["--label-map=numbers.csv"], False),
    ],
)
def test_accuracy_is_measured_among_all_outputs(world, tmp_path, words, crossed):
    words = [word.replace("=", f"={world}/") for word in words]
    said = train(world, tmp_path, *words)
    share = share_of_seven(world)
    assert 0 < share < 100
    assert f"validation accuracy {100 - share if crossed else share:.1f} %" in said
    half = ClientHalf.load(tmp_path / "client", defenses.parse)
    assert len(half.classes) == half.manifest.arch.classes == 20
    data = f"imagefolder:{world / 'images'}"
    told = half.labelled(load_splits(data, size=32), data)
    assert told.victims.labels.unique().tolist() == [3, 7]
    again = adversary_images(tmp_path, data, 0, None, False)
    assert again.victims.hash == told.victims.hash == half.manifest.victims_hash


def test_a_deployment_knows_its_outputs_by_name_too(world, tmp_path):
    train(world, tmp_path / "d", f"--classes={world / 'names.txt'}")
    half = ClientHalf.load(tmp_path / "d" / "client", defenses.parse)
    for name in ("thing7", "thing9", "n00000004"):
        (tmp_path / "more" / name).mkdir(parents=True)
        for number in range(12):
            image = Image.new("RGB", (32, 32), (number * 20, len(name), ord(name[-1])))
            image.save(tmp_path / "more" / name / f"{number}.png")
    splits = load_splits(f"imagefolder:{tmp_path / 'more'}", size=32)
    found = half.labelled(splits, "more").folders
    assert {name: found[name] for name in splits.classes} == {
        "n00000004": 4,
        "thing7": 7,
        "thing9": 9,
    }
    (tmp_path / "more" / "thing9").rename(tmp_path / "more" / "stranger")
    with pytest.raises(Mismatch, match=r"stranger.*none of its 20 outputs"):
        half.labelled(load_splits(f"imagefolder:{tmp_path / 'more'}", size=32), "more")


def test_a_new_classifier_keeps_the_rest_and_a_frozen_head_stays_bit_by_bit(world, tmp_path):
    first = torch.load(world / "twenty.pth", weights_only=True)
    words = ["--new-classifier", "--epochs=1", "--train-images=16"]
    train(world, tmp_path / "whole", *words)
    train(world, tmp_path / "frozen", *words, "--freeze=block2")
    train(world, tmp_path / "none", *words[:1], "--epochs=0")
    for name in ("whole", "frozen", "none"):
        kept = read_tensors(tmp_path / name / "training" / "weights.safetensors")
        assert kept["fc.weight"].shape == (2, 32)
        same = {k for k in first if k in kept and torch.equal(first[k], kept[k])}
        head = {k for k in first if k.startswith(("block1", "block2"))}
        rest = {k for k in first if k.startswith("block3")}
        assert (head <= same) == (name != "whole")
        assert (rest <= same) == (name == "none")
        assert not same & {"block1.0.weight", "block3.0.weight"} or name != "whole"


@pytest.mark.parametrize("command", ["train", "sweep"])
def test_finite_weights_that_answer_with_no_numbers_are_refused(world, tmp_path, command):
    out, words = tmp_path / "d", ["--device=cpu", "--model=tiny_cnn"]
    words += [f"--dataset=imagefolder:{world / 'images'}", f"--weights={world / 'large.pth'}"]
    words += ["train", "--split=block2"] if command == "train" else ["sweep-split-points"]
    done = CliRunner().invoke(app, [*words[4:], *words[:4], f"--out={out}"])
    said = " ".join(done.output.split())
    assert done.exit_code == 2, said
    assert re.search(r"large.pth: the network answers \d+ of \d+ images with NaN or infinite", said)
    assert not out.exists()


def test_a_constant_answer_is_said_to_be_chance(world, tmp_path):
    said = train(world, tmp_path, weights="zero.pth")
    assert "the deployed network is at chance (" in said
    assert "check the weights and their classes" in said


def test_an_accuracy_of_no_numbers_is_refused(world):
    net = build(ArchSpec(name="tiny_cnn", classes=2), seed=0)
    net.net.load_state_dict(torch.load(world / "large.pth", weights_only=True))
    images = load_splits(f"imagefolder:{world / 'images'}", size=32).validation
    with pytest.raises(BadInput, match=f"answers {len(images)} of {len(images)} images with NaN"):
        accuracy(net, images)


REFUSED = [
    (["--classes={}/few.txt"], "names 2 outputs, .*has 20"),
    ([], "tells 20 classes apart and 2 are wanted.*--classes FILE.*--new-classifier"),
    (["--new-classifier", "--classes={}/names.txt"], "leave out --classes"),
    (["--freeze=block1"], "give --new-classifier"),
    (["--new-classifier", "--freeze=blok1"], "unknown split point 'blok1'"),
    (["--weights-key=ema"], "--weights-key ema"),
    (["--classes={}/none.txt"], "--classes .*No such file"),
]


@pytest.mark.parametrize(("words", "says"), REFUSED)
def test_what_does_not_go_together_is_refused_before_anything_is_kept(world, tmp_path, words, says):
    said = train(world, tmp_path / "d", *(word.format(world) for word in words), ok=False)
    assert re.search(says, said), said
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    "word", ["--classes=x", "--label-map=x", "--new-classifier", "--freeze=x", "--weights-key=x"]
)
def test_how_weights_are_used_without_weights(tmp_path, word):
    done = CliRunner().invoke(app, ["sweep-split-points", f"--out={tmp_path / 'r'}", word])
    assert done.exit_code == 2
    assert "give --weights FILE too" in " ".join(done.output.split())
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("weights", ["nan.pth", "resnet8.pth", "names.txt"])
def test_a_start_that_failed_on_its_weights_leaves_nothing_behind(world, tmp_path, weights):
    out = tmp_path / "run"
    words = [f"--out={out}", f"--dataset=imagefolder:{world / 'images'}", "--model=tiny_cnn"]
    words += ["--train-images=8", "--queries=4", "--victims=4", f"--weights={world / weights}"]
    words += [f"--classes={world / 'names.txt'}"]
    done = CliRunner().invoke(app, ["sweep-split-points", *words])
    assert done.exit_code == 2, done.output
    assert weights in done.output.replace("\n", "")
    assert not out.exists()
    train(world, out, f"--classes={world / 'names.txt'}", weights=weights, ok=False)
    assert not out.exists()


def test_other_weights_in_the_same_folder_are_taken_and_not_the_old_ones(world, tmp_path):
    train(world, tmp_path, f"--classes={world / 'names.txt'}")
    for half in ("client", "server"):  # as if killed before the deployment was written
        (tmp_path / half / "deployment.json").unlink()
    state = torch.load(world / "twenty.pth", weights_only=True)
    state["fc.bias"] = torch.eye(20)[3]
    torch.save(state, tmp_path / "three.pth")
    train(world, tmp_path, f"--classes={world / 'names.txt'}", weights=tmp_path / "three.pth")
    kept = read_tensors(tmp_path / "training" / "weights.safetensors")
    assert kept["fc.bias"].argmax() == 3
    share = read_json(tmp_path / "training" / "victim.json")["validation_accuracy"]
    assert share == pytest.approx(100 - float(share_of_seven(world)))


def test_training_with_a_defence_begins_from_given_weights(world, tmp_path):
    """In no epochs nothing learns: what is deployed is what was given, behind noise of 0."""
    noise = ["--defense=gaussian:level=0", "--train-with-defense", "--epochs=0"]
    train(world, tmp_path / "a", f"--classes={world / 'names.txt'}", *noise)
    told = read_json(tmp_path / "a" / "training" / "defended.json")
    assert told["validation_accuracy"] == pytest.approx(float(share_of_seven(world)))
    train(world, tmp_path / "b", "--new-classifier", "--freeze=block1", *noise[:2], "--epochs=1")
    given = torch.load(world / "twenty.pth", weights_only=True)
    kept = read_tensors(tmp_path / "b" / "training" / "network.safetensors")
    kept = {name.removeprefix("net."): value for name, value in kept.items()}
    assert kept["fc.weight"].shape[0] == 2
    same = {name for name in given if torch.equal(given[name], kept[name])}
    head = {name for name in given if name.startswith("block1")}
    assert head
    assert head <= same < {*given}
    said = train(world, tmp_path / "c", "--new-classifier", "--defense=ensembler", ok=False)
    assert "'ensembler' trains its bodies by itself" in said
    assert not (tmp_path / "c").exists()


def test_what_a_training_told_is_not_hidden_by_the_halves_that_were_cut(tmp_path):
    """The halves of an undefended network have trained for 0 epochs; its victim has not."""
    config = validated(model="tiny_cnn", splits="block2", train_images=64, victim={"epochs": 1})
    given = {"weights": None, "data_root": None, "download": False, "secret_seed": None}
    told = train_and_deploy(tmp_path, config, progress=Silent(), **given)
    kept = read_json(tmp_path / "training" / "victim.json")
    assert kept["epochs"] == 1
    for name in ("epochs", "seconds", "images_per_second", "weights"):
        assert told[name] == kept[name]
    defended = read_json(tmp_path / "training" / "defended.json")
    assert told["validation_accuracy"] == defended["validation_accuracy"]


def test_points_without_the_new_settings_keep_their_identity():
    plan = Plan("decoder", "undefended", GrantRequest(observe=8))
    point = point_of(validated(), "layer1.0", plan).as_dict()
    assert not {"weights_key", "labels_hash", "new_classifier", "freeze"} & point.keys()
    told = point_of(validated(labels_hash="0" * 64, new_classifier=True), "a", plan).as_dict()
    assert {"labels_hash", "new_classifier"} <= told.keys()


DROPS = "test_convnext:drop_path_rate=0.5"


@pytest.mark.parametrize(("freeze", "still"), [("stages.2", True), (None, False)])
def test_a_frozen_head_drops_nothing_while_the_rest_learns(
    world, tmp_path, monkeypatch, freeze, still
):
    state = build(ArchSpec.named(DROPS, classes=20), seed=1).net.state_dict()
    scales = {k: torch.ones_like(v) for k, v in state.items() if k.endswith("gamma")}
    torch.save({**state, **scales}, tmp_path / "twenty.pth")
    config = validated(
        model=DROPS,
        new_classifier=True,
        freeze=freeze,
        weights_hash="0",
        victim={"epochs": 2, "shift": 0, "flip": False},
        device="cpu",
    )
    seen = []

    def watched(net, *given, **words):
        net.net.stages[2].register_forward_hook(
            lambda _, __, z: seen.append((z.detach(), net.training))
        )
        return train_classifier(net, *given, **words)

    monkeypatch.setattr("bench.point.victim.train_classifier", watched)
    splits = load_splits(f"imagefolder:{world / 'images'}", size=32)
    same = replace(splits, train=splits.train.subset(torch.zeros(8, dtype=torch.long)))
    victim = prepare_victim(tmp_path / "v", config, same, weights=tmp_path / "twenty.pth")
    learned = [z for z, training in seen if training]
    assert len(learned) >= 2
    with torch.inference_mode():
        victim.net(same.train.floats("cpu"))
    wanted = seen[-1][0]
    close = [float((z - wanted).abs().max() / wanted.abs().max()) <= 1e-5 for z in learned]
    assert all(close) == still
