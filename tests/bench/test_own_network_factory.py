"""`package.module:factory`: what is built, and what is refused in one line."""

import re
import sys

import pytest
import torch
from own_networks import CODE, imports, open_shop, typed
from typer.testing import CliRunner

from bench.cli import app as bench
from splitlab.contracts import ArchSpec
from splitlab.errors import BadInput
from splitlab.models import build


@pytest.fixture
def shop(tmp_path, monkeypatch):
    open_shop(tmp_path, monkeypatch)
    return tmp_path


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
    ("shop.net:Both", "with a tuple; wanted are logits"),
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
        typed("shop.net:Net")


def test_a_tuple_while_it_learns_and_logits_at_rest_are_a_network(tmp_path, monkeypatch) -> None:
    open_shop(tmp_path, monkeypatch)
    net = typed("shop.net:Aux")
    images = torch.rand(2, 3, 32, 32)
    assert net.train()(images).shape == net.eval()(images).shape == (2, 10)
