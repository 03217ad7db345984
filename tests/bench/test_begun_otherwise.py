"""What a folder holds is taken for what it is: of other settings, cuts, wires or code it is not."""

import shutil
from typing import Any, ClassVar

import pytest
from filelock import Timeout
from test_labs import lab, point

import defenses
from bench.point import capture as captures
from bench.point import deploy, weights
from bench.point.deploy import whole
from bench.point.lab import networks
from bench.point.victim import prepare_victim
from defenses.parts import prepare as preparing
from defenses.parts.testing import small_order
from splitlab.contracts import Defense
from splitlab.errors import BadInput, Corrupt, SplitLabError, UnknownName
from splitlab.storage import lock, read_json, write_json


class Stopped:
    """Progress that ends a training, as a kill does, once it has seen so many images."""

    def __init__(self, after: int | None = None) -> None:
        self.after, self.seen = after, 0

    def task(self, *_: Any) -> "Stopped":
        return self

    def advance(self, count: int, _loss: Any = None) -> None:
        self.seen += count
        if self.after is not None and self.seen > self.after:
            raise KeyboardInterrupt

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A lab with one deployment of an untrained network at a place of a name of its own."""
    here = lab(tmp_path_factory.mktemp("runs") / "one")
    here.deployed(point(place="here", **UNTRAINED))
    return here


UNTRAINED: dict[str, Any] = {"victim": {"epochs": 0}}


def again(made, **more):
    return lab(made.home, of=made, **more)


@pytest.mark.parametrize("change", [{"learning_rate": 0.001}, {"label_smoothing": 0.1}])
def test_a_half_done_training_of_another_recipe_is_begun_anew(made, tmp_path, change):
    """The optimiser's numbers, and what only the objective knows."""
    splits = made.data(point())
    recipe = {"epochs": 2, "batch_size": 32}
    with pytest.raises(KeyboardInterrupt):
        prepare_victim(tmp_path, point(victim=recipe), splits, device="cpu", progress=Stopped(70))
    assert [path.suffix for path in tmp_path.iterdir()] == [".pt"]
    told = Stopped()
    config = point(victim={**recipe, **change})
    prepare_victim(tmp_path, config, splits, device="cpu", progress=told)
    assert told.seen == 2 * len(splits.train)
    assert not list(tmp_path.glob("*.pt"))


@pytest.mark.parametrize(
    ("split", "change", "told"),
    [
        ("block2", {}, "another split point (block1 there, block2 here)"),
        ("block1", {"tail_start": "fc"}, "another tail (None there, fc here)"),
        ("block1", {"wire": "INT8"}, "another wire (FP32 there, INT8 here)"),
        ("block1", {"model": "resnet8"}, "another network"),
        ("block1", {"victim": {"epochs": 1}}, "other data, weights or settings of the training"),
        ("block1", {"train_with_defense": True}, "another --train-with-defense"),
    ],
)
def test_a_place_that_holds_another_deployment_is_refused(made, split, change, told):
    config = point(split, place="here", **{**UNTRAINED, **change})
    with pytest.raises(BadInput) as error:
        again(made).deployed(config)
    assert f"was made with {told}; choose another --out" in str(error.value)
    again(made).deployed(point(place="here", **UNTRAINED))  # its own is taken


def test_what_was_deployed_before_there_was_a_note_of_it_is_taken(made, tmp_path):
    shutil.copytree(made.home, tmp_path / "old")
    old = lab(tmp_path / "old", of=made)
    note = tmp_path / "old" / "points" / "here" / "training.json"
    write_json(note, {k: v for k, v in read_json(note).items() if k != deploy.MADE_OF})
    old.deployed(point(place="here", **UNTRAINED))
    with pytest.raises(BadInput, match="another wire"):
        old.deployed(point(place="here", wire="INT8", **UNTRAINED))


def test_a_finished_deployment_is_never_removed(made, tmp_path, monkeypatch):
    """It is what a capture is evidence of; only what a kill left half written goes."""
    folder = tmp_path / "deployment"
    shutil.copytree(made.home / "points" / "here" / "deployment", folder)
    assert whole(folder)

    def unknown(_text):
        raise UnknownName("defence", "gone", ("none",))

    with monkeypatch.context() as patch:
        patch.setattr(deploy.defenses, "parse_file", unknown)
        with pytest.raises(UnknownName, match="gone"):
            whole(folder)
    (weights_file,) = (folder / "client").glob("*.safetensors")
    raw = weights_file.read_bytes()
    weights_file.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    with pytest.raises(Corrupt):
        whole(folder)
    assert (folder / "server" / "deployment.json").exists()
    weights_file.write_bytes(raw)
    (folder / "client" / "deployment.json").unlink()
    assert not whole(folder)
    assert not folder.exists()


def test_a_capture_of_other_images_is_not_taken(tmp_path, monkeypatch):
    finished = object()
    monkeypatch.setattr(captures, "read_back", lambda _: finished)
    captures.keep_asked(tmp_path, point(victims=8))
    given = ("photo-patches", None, None, "victims", captures.StartGate())
    assert captures.run(tmp_path, tmp_path, point(victims=8), *given) is finished
    for change in ({"victims": 9}, {"repeats": 2}, {"seed": 1}, {"size": 16}):
        with pytest.raises(SplitLabError, match=f"{next(iter(change))}.*choose another --out"):
            captures.run(tmp_path, tmp_path, point(**{"victims": 8, **change}), *given)
    other = ("photo-patches", None, None, "validation", captures.StartGate())
    with pytest.raises(BadInput, match="partition victims there, validation here"):
        captures.run(tmp_path, tmp_path, point(victims=8), *other)


class Own(Defense):
    """Takes the place of a defence of another package, of any version."""

    name: ClassVar[str] = "gaussian"
    version: ClassVar[int] = 2


def test_another_version_of_a_defence_is_another_training(made, monkeypatch):
    """Its folder, its finished stages, and whether a deployment is taken."""
    config = point(place="there", defense="single:level=0.1", **UNTRAINED)
    other = config.model_copy(update={"packages": {"defense single": "own 0.2.0, code 0"}})
    seen = config.model_copy(update={"packages": {"attack mean-image": "version 2"}})
    assert made.training(other) != made.training(config)
    assert made.training(seen) == made.training(config), "an attack has no part in it"
    assert made.read_by(other) != made.read_by(config)
    order, stack = small_order(), defenses.parse("gaussian")
    before = order.run(stack)
    assert "packages" not in before
    after = order.run(defenses.Stack([Own()]))
    assert after["packages"] == {"gaussian": "version 2"}
    monkeypatch.setattr(preparing, "told_of", lambda *_: "own 0.1.0")
    assert order.run(stack)["packages"] == {"gaussian": "own 0.1.0"}
    here = point(place="here", **UNTRAINED)
    newer = here.model_copy(update={"packages": {"model own": "own 0.2.0"}})
    with pytest.raises(BadInput, match="another packages"):
        again(made).deployed(newer)


def test_a_key_is_of_all_that_a_training_depends_on(made, monkeypatch):
    """Each of these, left out of a key, would hand out a network of other settings."""
    config = point(defense="single:level=0.1")
    forced = config.model_copy(update={"train_with_defense": True})
    assert made.training(forced) != made.training(config)
    splits = made.data(point())
    frozen = point().model_copy(update={"new_classifier": True, "freeze": "block1"})
    less = frozen.model_copy(update={"freeze": None})
    assert weights.basis(frozen, splits) != weights.basis(less, splits)
    folder = made.victim_folder(point())
    monkeypatch.setattr(networks, "told_apart", lambda _: {"answers": ["1"]})
    first = made.victim_folder(point())
    monkeypatch.setattr(networks, "told_apart", lambda _: {"answers": ["2"]})
    assert len({folder, first, made.victim_folder(point())}) == 3


def test_a_victim_is_trained_under_its_lock(made, tmp_path, monkeypatch):
    held = []

    def prepare(folder, *_words, **_named):
        with pytest.raises(Timeout):
            lock(folder).acquire(timeout=0)
        held.append((folder / "entry.json").exists())
        return "a victim"

    monkeypatch.setattr(networks, "prepare_victim", prepare)
    run = lab(tmp_path / "run", of=made)
    assert run.victim(point()) == "a victim"
    assert held == [True]
