"""Deployments of a user's own network: no file has it imported, and changed code is noticed."""

import json
import re
import shutil
import sys

import pytest
import torch
from own_networks import CODE, forget, imports, open_shop, typed
from PIL import Image
from typer.testing import CliRunner

import defenses
from adversary.cli import app as adversary
from bench.cli import app as bench
from bench.point.grants import GrantRequest, make_threat
from bench.point.measure import plans, point_of
from bench.point.own_network import require_same_network
from bench.point.recipe import validated
from cloud_server.cli import app as cloud_server
from edge_client.cli import app as edge_client
from splitlab.contracts import ArchSpec, own_code
from splitlab.data import load_splits
from splitlab.deployment import ClientHalf, ServerHalf
from splitlab.errors import BadInput, Mismatch, NotImported
from splitlab.models import build
from splitlab.storage import read_json, read_tensors
from splitlab.workers import side_by_side

PHOTOS = ("thing7", "thing3")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A deployment of `shop.net:Net` with given weights, and a folder of two classes."""
    folder = tmp_path_factory.mktemp("world")
    for kind, name in enumerate(PHOTOS):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(16):
            image = Image.new("RGB", (32, 32), (number * 15, 90 + 90 * kind, 255 - number * 9))
            image.save(folder / "photos" / name / f"{number}.png")
    with pytest.MonkeyPatch.context() as patch:
        open_shop(folder, patch)
        for classes, name in ((2, "two"), (20, "twenty")):
            torch.save(typed("shop.net:Net", classes).net.state_dict(), folder / f"{name}.pth")
        said = train("--weights=two.pth", "--out=made", "--mean=0.5", "--std=0.25,0.2,0.3")
        assert "validation accuracy" in said
        words = ["grant", "made", "--out=grant", "--head", "--bodies", "--aux=4"]
        done = CliRunner().invoke(bench, [*words, "--dataset=imagefolder:photos"])
        assert done.exit_code == 0, done.output
        witness = folder / "imported.txt"
        assert imports(folder) == 1
        witness.unlink()
        yield folder
        sys.modules.pop("shop.net", None)


@pytest.fixture
def elsewhere(world, monkeypatch):
    """Another process in that folder."""
    monkeypatch.chdir(world)
    forget(monkeypatch)
    (world / "imported.txt").unlink(missing_ok=True)
    return world


def train(*words, model="shop.net:Net", ok=True):
    words = ["train", "--split=stem", f"--model={model}", *words, "--device=cpu", "--epochs=1"]
    done = CliRunner().invoke(bench, [*words, "--dataset=imagefolder:photos"])
    assert done.exit_code == (0 if ok else 2), done.output
    assert "Traceback" not in done.output
    return " ".join(done.output.split())


ASKED = {
    "cloud-server": (cloud_server, ["made/server", "--check", "--engine=plain"], 2),
    "edge-client": (
        edge_client,
        ["made/client", "--server=127.0.0.1:1", "--retries=0", "infer", "photos/thing7/0.png"],
        3,
    ),
    "adversary": (adversary, ["attack", "none", "--knows=grant", "--out=o"], 2),
    "synthesise": (adversary, ["synthesise", "--knows=grant", "--out=o"], 2),
    "grant": (bench, ["grant", "made", "--out=g", "--head", "--dataset=imagefolder:photos"], 2),
    "triton": (cloud_server, ["export-triton", "made/server", "--out=o"], 2),
}


@pytest.mark.parametrize("who", ASKED)
def test_nothing_is_imported_because_a_file_says_so(elsewhere, who):
    app, words, _ = ASKED[who]
    done = CliRunner().invoke(app, words)
    said = " ".join(done.output.split())
    assert done.exit_code == 2, said
    assert "the network is shop.net:Net, code that is not SplitLab's" in said
    assert said.endswith("add --import shop.net")
    assert imports(elsewhere) == 0
    assert "shop" not in sys.modules


@pytest.mark.parametrize("who", ["cloud-server", "edge-client", "adversary", "grant"])
def test_with_its_module_named_it_is_used(elsewhere, who):
    app, words, code = ASKED[who]
    at = 1 if who == "edge-client" else len(words)
    done = CliRunner().invoke(app, [*words[:at], "--import=shop.net", *words[at:]])
    said = " ".join(done.output.split())
    assert imports(elsewhere) == 1, said
    assert "SplitLab's" not in said
    if who == "cloud-server":
        assert json.loads(done.output)["model"] == "shop.net.Net"
    elif who == "edge-client":
        assert done.exit_code == code, said  # nobody answers there
    else:
        assert done.exit_code == (0 if who == "grant" else 2), said


def test_another_module_than_the_files_is_no_permission(elsewhere):
    (elsewhere / "other.py").write_text("")
    own_code.permit("other")
    with pytest.raises(NotImported, match=r"given: other.*add --import shop.net"):
        ServerHalf.load(elsewhere / "made" / "server")
    with pytest.raises(BadInput, match=r"names no module: give --import shop.net"):
        own_code.permit("shop.net:Net")
    assert imports(elsewhere) == 0


def test_mean_and_std_reach_the_halves_and_an_own_network_gets_plain_pixels_without(elsewhere):
    arch = read_json(elsewhere / "made" / "client" / "deployment.json")["arch"]
    assert arch["name"] == "shop.net:Net"
    assert arch["input"]["mean"] == [0.5, 0.5, 0.5]
    assert arch["input"]["std"] == [0.25, 0.2, 0.3]
    own_code.permit("shop.net")
    threat = make_threat(
        elsewhere / "made",
        GrantRequest(head=True, auxiliary=2),
        load_splits("imagefolder:photos", size=32),
        0,
    )
    image, weights = torch.rand(1, 3, 32, 32), torch.load(elsewhere / "two.pth", weights_only=True)
    stem = torch.nn.functional.conv2d(
        (image - 0.5) / torch.tensor([0.25, 0.2, 0.3]).view(1, 3, 1, 1),
        weights["stem.weight"],
        weights["stem.bias"],
        2,
        1,
    )
    assert torch.allclose(threat.head(image), stem, atol=1e-5)
    assert validated(model="shop.net:Net").arch(2).input.mean == (0.0, 0.0, 0.0)
    assert validated(model="resnet20").arch(2).input.mean == (0.485, 0.456, 0.406)
    (plan, _) = plans(validated())
    assert "mean" not in point_of(validated(), "a", plan).as_dict()
    assert "mean" in point_of(validated(mean=(0, 0, 0), std=(1, 1, 1)), "a", plan).as_dict()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--mean=0.5"], "--mean without --std"),
        (["--mean=0.5", "--std=0"], "wanted numbers above 0"),
        (["--mean=0.5,0.5", "--std=1"], "wanted R,G,B"),
        (["--mean=nan", "--std=1"], "wanted R,G,B"),
        (["--mean=123.7,116.3,103.5", "--std=58"], "divide it by 255"),
    ],
)
def test_what_is_no_normalisation(elsewhere, words, says):
    assert says in train(*words, "--out=never", ok=False)
    assert not (elsewhere / "never").exists()


CHANGED = [
    ("16, num_classes", "16, num_classes, bias=False", "server", "other layers"),
    ("self.stem", "self.trunk", "both", "other layers"),
    ("torch.relu(self.end", "torch.sigmoid(self.end", "server", "answers otherwise"),
    ("self.stem(x)", "self.stem(2 * x)", "client", "answers otherwise"),
    ("class Net(", "# a remark\n\n\nclass Net(", "", ""),
]


@pytest.mark.parametrize(("old", "new", "notices", "says"), CHANGED)
def test_code_that_changed_is_noticed(world, tmp_path, monkeypatch, old, new, notices, says):
    """By names and shapes of the weights, or by what the parts answer."""
    shutil.copytree(world / "made", tmp_path / "made")
    assert old in CODE
    open_shop(tmp_path, monkeypatch, CODE.replace(old, new))
    own_code.permit("shop.net")
    halves = {
        "client": lambda: ClientHalf.load(tmp_path / "made" / "client", defenses.parse),
        "server": lambda: ServerHalf.load(tmp_path / "made" / "server"),
    }
    for half, load in halves.items():
        if notices in (half, "both"):
            with pytest.raises(Mismatch, match="not the network that was deployed; its code has"):
                load()
        else:
            arch = load().manifest.arch
    folder = tmp_path / "made" / "training"
    if not says:
        require_same_network(folder, arch)
        return
    arch = ArchSpec.model_validate(read_json(tmp_path / "made/client/deployment.json")["arch"])
    with pytest.raises(BadInput, match=f"{says}.*choose another --out"):
        require_same_network(folder, arch)


def test_twenty_outputs_on_images_of_two_classes_whether_told_or_not(elsewhere):
    (elsewhere / "names.txt").write_text("\n".join(f"thing{number}" for number in range(20)))
    (elsewhere / "map.csv").write_text("thing7,7\nthing3,3\n")
    for model, word in (("Net", "--classes=names.txt"), ("fixed", "--label-map=map.csv")):
        train("--weights=twenty.pth", f"--out={model}", word, model=f"shop.net:{model}")
        client = read_json(elsewhere / model / "client" / "deployment.json")
        assert client["arch"]["classes"] == len(client["classes"]) == 20
        assert client["folders"]["thing7"] == 7
    (elsewhere / "few.txt").write_text("thing7\nthing3")
    words = ["--weights=twenty.pth", "--out=never", "--classes=few.txt"]
    assert "names 2 outputs" in train(*words, model="shop.net:fixed", ok=False)


def test_a_new_classifier_keeps_the_backbone_and_what_is_frozen(elsewhere):
    train("--weights=twenty.pth", "--out=new", "--new-classifier", "--freeze=stem")
    first = torch.load(elsewhere / "twenty.pth", weights_only=True)
    kept = read_tensors(elsewhere / "new" / "training" / "weights.safetensors")
    assert kept["fc.weight"].shape == (2, 16)
    same = {key for key in first if torch.equal(first[key], kept[key])}
    assert {"stem.weight", "stem.bias"} <= same
    assert not {"end.weight", "norm.weight", "fc.weight"} & same
    said = train(
        *("--weights=twenty.pth", "--out=never", "--new-classifier"),
        model="shop.net:fixed",
        ok=False,
    )
    assert re.search(r"take num_classes", said)


@pytest.mark.usefixtures("elsewhere")
def test_splits_are_listed_and_a_fixed_network_needs_no_number():
    done = CliRunner().invoke(bench, ["splits", "shop.net:fixed", "--json"])
    assert done.exit_code == 0, done.output
    assert [point["name"] for point in json.loads(done.output)][:2] == ["stem", "norm"]


def ask(name, _progress):
    yield name, next(iter(build(ArchSpec(name=name), seed=0).net.state_dict()))


def test_processes_that_are_started_may_import_what_this_one_may(elsewhere):
    """A worker, and the words for the roles, which a sweep starts."""
    own_code.permit("shop.net")
    assert own_code.import_words() == ["--import", "shop.net"]
    (found,) = side_by_side(ask, ["shop.net:Net"], count=1)
    assert found == ("shop.net:Net", "stem.weight")
    assert imports(elsewhere) == 2
