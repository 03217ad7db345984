"""`package.module:factory`: what is built, what is refused, and that no file has it imported."""

import json
import re
import shutil
import sys

import pytest
import torch
from own_networks import CODE, forget, imports, open_shop
from PIL import Image
from typer.testing import CliRunner

import defenses
from adversary.cli import app as adversary
from bench.cli import app as bench
from bench.point.grants import GrantRequest, make_threat
from bench.point.own_network import require_same_network
from bench.point.recipe import validated
from cloud_server.cli import app as cloud_server
from edge_client.cli import app as edge_client
from splitlab.contracts import ArchSpec, own_code
from splitlab.data import load_splits
from splitlab.deployment import ClientHalf, ServerHalf
from splitlab.errors import BadInput, Mismatch, NotImported
from splitlab.models import build, permit_typed
from splitlab.storage import read_json, read_tensors
from splitlab.workers import side_by_side


@pytest.fixture
def shop(tmp_path, monkeypatch):
    open_shop(tmp_path, monkeypatch)
    return tmp_path


def typed(text, classes=10):
    """What `--model TEXT` comes to."""
    permit_typed(text)
    return build(ArchSpec.named(text, classes=classes), seed=0)


@pytest.mark.parametrize(
    ("text", "classes", "width"),
    [
        ("shop.net:Net", 7, 8),
        ("shop.net:Net:width=4,widths=[3, 1],act=False", 3, 4),
        ("shop.net:told:width=6", 5, 6),
        ("shop.net:half", 4, 4),
        ("shop.net:quick", 4, 8),
        ("shop.net:fixed", 20, 8),
        ("shop.net:Lazy", 6, 8),
        ("shop.net:prints", 6, 8),
    ],
)
def test_any_callable_that_returns_a_module(shop, capsys, text, classes, width):
    net = typed(text, classes)
    assert net.net.stem.weight.shape[0] == width
    assert net.net.training
    assert net.eval()(torch.rand(2, 3, 32, 32)).shape == (2, classes)
    again = build(ArchSpec.named(text, classes=classes), seed=0)
    for name, value in net.net.state_dict().items():
        assert torch.equal(value, again.net.state_dict()[name])
    assert capsys.readouterr().out == ""  # standard output is for the command
    assert imports(shop) == 1


def test_a_module_without_a_package_and_one_of_the_labs_names(shop):
    (shop / "mine.py").write_text(CODE)
    try:
        assert typed("mine:Net:width=4").net.stem.weight.shape[0] == 4
    finally:
        sys.modules.pop("mine", None)
    with pytest.raises(BadInput, match="wanted field=value"):
        typed("tiny_cnn:width")


REFUSED = [
    ("shop.net:Nett", "unknown factory of module 'shop.net' 'Nett'; nearest: Net"),
    ("shop.net:CODE", "unknown factory"),
    ("shop.none:Net", "there is no module 'shop.none' .*start in the folder"),
    ("nowhere.net:Net", "there is no module 'nowhere' "),
    ("nowhere:Net", "there is no module 'nowhere' "),
    ("shop/net.py:Net", "wanted module:factory and no file, such as net:Net.*folder shop"),
    ("shop.net:run", "shop.net:run is a part of subprocess"),
    ("shop.net:Net.__init__", "unknown factory"),
    ("shop.net:Path", "is a part of pathlib"),
    ("shop.net:Net:wdth=4", "takes no argument 'wdth'; it takes width, widths, act"),
    ("shop.net:Net:act=3", "wanted True or False"),
    ("shop.net:Net:num_classes=3", "the number of classes is that of the data set"),
    ("shop.net:needs", "needs depth, width: give --model shop.net:needs:depth=VALUE"),
    ("shop.net:by_place", "takes num_classes by position alone"),
    ("shop.net:raises", r"failed: ValueError: the moon is full \(net.py, line \d+\)"),
    ("shop.net:ends", "failed: SystemExit: 3"),
    ("shop.net:number", "returned a int; wanted is a torch.nn.Module"),
    ("shop.net:Pair", "with a dict; wanted are logits"),
    ("shop.net:Large", "on images of 32x32 pixels failed: RuntimeError"),
    (
        "shop.net:fixed",
        "tells 20 classes apart and 10 are wanted; let the factory take num_classes",
    ),
]


@pytest.mark.parametrize(("text", "says"), REFUSED)
def test_what_is_no_network_is_one_line_and_nothing_is_written(shop, text, says):
    words = ["train", "--out=made", "--split=stem", f"--model={text}", "--train-images=8"]
    done = CliRunner().invoke(bench, words)
    assert done.exit_code == 2, done.output
    assert re.search(says, " ".join(done.output.split())), done.output
    assert "Traceback" not in done.output
    assert not (shop / "made").exists()


@pytest.mark.usefixtures("shop")
def test_a_network_that_is_returned_twice_is_refused():
    typed("shop.net:same")
    with pytest.raises(BadInput, match="returned the same network as before"):
        typed("shop.net:same")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import none_such", "importing shop.net failed: ModuleNotFoundError: .*none_such"),
        ("def x(:", "importing shop.net failed: SyntaxError"),
        ("import sys\nsys.exit(1)", r"failed: SystemExit: 1 \(net.py, line 2\)"),
    ],
)
def test_a_module_that_cannot_be_imported(tmp_path, monkeypatch, code, says):
    open_shop(tmp_path, monkeypatch, code)
    with pytest.raises(BadInput, match=says):
        permit_typed("shop.net:Net")


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
    assert validated(model="shop.net:Net").input.mean == (0.0, 0.0, 0.0)
    assert validated(model="resnet20").input.mean == (0.485, 0.456, 0.406)
    assert "mean" not in validated().point("a", "decoder", "undefended")
    assert "mean" in validated(mean=(0, 0, 0), std=(1, 1, 1)).point("a", "rmle", "undefended")


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
