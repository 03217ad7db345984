"""`adversary attack --fitted`: what was learned once serves other captures, where it fits."""

import contextlib
import json
from dataclasses import replace

import pytest
import torch
from test_attack_command import REQUEST
from test_attack_images import granted, run
from worlds import AUX, Killed, Watch, capture, images

from adversary.contract.fitted import Fitting, fit_key
from adversary.contract.grant import read_grant, write_grant
from adversary.contract.oracle import Oracle
from adversary.registry import ATTACKS
from splitlab.capture import CaptureWriter
from splitlab.contracts import ArchSpec, InputSpec
from splitlab.storage import read_tensors, write_tensors
from splitlab.wire import Request, encode
from splitlab.wire.messages import INFER

SMALL = {"epochs": 2, "tune_epochs": 1, "batch_size": 12, "images": 24}
MADE = {**SMALL, "synthesis_steps": 4, "synthesis_batch": 12}
OWN = {**SMALL, "data": "own", "cycle_to": "k"}
QUICK = {"dci": MADE, "psim": {"epochs": 1, "width": 4}, "decoder": {"epochs": 1, "width": 8}}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Grants of two cuts of one network, with queries, and two captures at each."""
    folder = tmp_path_factory.mktemp("world")
    for end in ("block1", "block2"):
        threat = granted(end, queries=True, aux=AUX)
        write_grant(folder / f"grant-{end}", threat)
        for number in (1, 2):
            tapped(folder / f"capture-{end}-{number}", threat.head, number)
    return folder


def tapped(folder, head, number):
    tap = CaptureWriter(folder, "relay")
    seen = capture(head, pixels=images(4, 30 + number).floats())
    message = Request("m", f"{REQUEST}-0", tuple(encode(seen, "FP32"))).to_bytes()
    tap.record(tap.new_call(), "up", message, method=INFER, peer="ipv4:127.0.0.1:1")
    tap.close()


class Lab:
    """Runs the command; `watch` hears what is trained."""

    def __init__(self, world, place, monkeypatch):
        self.world, self.place = world, place
        self.patch = monkeypatch

    def __call__(self, out, attack="dci", end="block2", number=1, watch=None, fitted=True, **more):
        @contextlib.contextmanager
        def showing(_console):
            yield watch or Watch()

        self.patch.setattr("splitlab.training.showing", showing)
        words = [f"--set={field}={value}" for field, value in {**QUICK[attack], **more}.items()]
        words += ["--attack", attack, "--out", self.place / out]
        words += ["--fitted", self.place / "fitted"] if fitted else []
        grant = self.world / f"grant-{end}"
        return run("attack", self.world / f"capture-{end}-{number}", "--knows", grant, *words)

    def images(self, out):
        found = read_tensors(self.place / out / "reconstructions.safetensors")
        return torch.stack([found[key] for key in sorted(found)])

    def estimate(self, out):
        return json.loads((self.place / out / "estimate.json").read_text())


@pytest.fixture
def lab(world, tmp_path, monkeypatch):
    return Lab(world, tmp_path, monkeypatch)


def untrained():
    """Ends the run at the first step of any training or synthesis."""
    return Watch(kill_after=0)


@pytest.mark.parametrize("attack", QUICK)
def test_a_second_capture_trains_nothing_and_is_attacked_as_without(lab, attack):
    first = lab("first", attack)
    assert first.exit_code == 0, first.output
    assert "nothing that fits" in first.output
    second = lab("second", attack, number=2, watch=untrained())
    assert second.exit_code == 0, second.output
    taken = lab.estimate("second")["taken"]
    assert taken
    assert f"taken from {lab.place / 'fitted'}: {', '.join(taken)}" in second.output
    assert isinstance(
        lab("lone", attack, number=2, watch=untrained(), fitted=False).exception, Killed
    )
    assert lab("lone", attack, number=2, fitted=False).exit_code == 0
    assert torch.equal(lab.images("second"), lab.images("lone"))
    assert not torch.equal(lab.images("second"), lab.images("first"))
    assert "taken" not in lab.estimate("lone")
    assert "capture" in lab.estimate("second")["granted"]


def test_dci_tells_its_blocks_and_its_own_images(lab):
    lab("first")
    lab("second", number=2)
    assert lab.estimate("second")["taken"] == ["synthesis", "inverses of blocks 1 to 2"]


@pytest.mark.parametrize(
    "more",
    [pytest.param({"wire": "INT8"}, marks=pytest.mark.slow), {"defense": "gaussian:level=0.1"}],
)
def test_the_last_block_behind_a_defence_is_kept_for_that_defence(lab, more):
    """It is on no shelf: its own fit keeps it."""
    name = next(iter(more))
    write_grant(lab.world / f"grant-{name}", granted("block2", **more))
    for number in (1, 2):
        tapped(lab.world / f"capture-{name}-{number}", granted("block2").head, number)
    assert lab("first", end=name).exit_code == 0
    second = lab("second", end=name, number=2, watch=untrained())
    assert second.exit_code == 0, second.output
    last = ["block 2 A", "block 2 B", "inverses of blocks 1 to 1"]
    assert lab.estimate("second")["taken"] == ["synthesis", *last]
    bare = Watch()
    assert lab("bare", watch=bare).exit_code == 0
    assert bare.names == ["synthesis", "block 2 A", "block 2 B"]


def test_a_shallower_cut_takes_the_blocks_that_it_shares(lab):
    assert lab("deep", **OWN).exit_code == 0
    done = lab("shallow", end="block1", watch=untrained(), **OWN)
    assert done.exit_code == 0, done.output
    assert lab.estimate("shallow")["taken"] == ["inverses of blocks 1 to 1"]
    assert lab("lone", end="block1", fitted=False, **OWN).exit_code == 0
    assert torch.equal(lab.images("shallow"), lab.images("lone"))


def test_a_deeper_cut_goes_on_from_them(lab):
    lab("shallow", end="block1", **OWN)
    watch = Watch()
    assert lab("deep", watch=watch, **OWN).exit_code == 0
    assert watch.names == ["block 2 A", "block 2 B"]


def test_under_the_loss_that_sees_all_blocks_another_cut_learns_anew(lab):
    lab("deep", **{**OWN, "cycle_to": "L"})
    watch = Watch()
    done = lab("shallow", end="block1", watch=watch, **{**OWN, "cycle_to": "L"})
    assert watch.names == ["block 1 A"]
    assert "nothing that fits" in done.output


@pytest.mark.parametrize(
    ("attack", "more"),
    [
        pytest.param("dci", {"learning_rate": 0.02}, marks=pytest.mark.slow),
        ("dci", {"layer": 0.5}),
        ("decoder", {"width": 20}),
    ],
)
def test_other_settings_are_learned_beside(lab, attack, more):
    lab("first", attack)
    other = lab("other", attack, **more)
    assert other.exit_code == 0, other.output
    found = set(lab.estimate("other")["taken"])
    assert found <= {"synthesis"}  # which these settings do not touch
    assert lab("again", attack, number=2, watch=untrained()).exit_code == 0
    assert lab("twice", attack, number=2, watch=untrained(), **more).exit_code == 0


def test_a_killed_attack_goes_on_from_the_folder(lab):
    killed = lab("out", watch=Watch(kill_at="block 2 B"))
    assert isinstance(killed.exception, Killed)
    again = Watch()
    assert lab("elsewhere", number=2, watch=again).exit_code == 0
    assert "block 1 A" not in again.names
    assert lab.estimate("elsewhere")["taken"][0] == "synthesis"
    assert lab("lone", number=2, fitted=False).exit_code == 0
    assert torch.equal(lab.images("elsewhere"), lab.images("lone"))


def of(lab, pattern):
    return sorted((lab.place / "fitted").glob(pattern), key=lambda path: path.stat().st_size)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-100])


def other_tensors(path):
    write_tensors(path, {"0.weight": torch.zeros(1)})


@pytest.mark.parametrize(
    ("attack", "pattern", "harm", "words"),
    [
        ("dci", "dci-*/blocks/*.safetensors", cut_short, "the blocks are trained again"),
        pytest.param(
            *("dci", "dci-*/blocks/*.safetensors", other_tensors, "the blocks are trained again"),
            marks=pytest.mark.slow,
        ),
        ("decoder", "decoder-*/fit-*.pt", cut_short, "delete it to train again"),
        pytest.param(
            *("dci", "dci-*/images-*/provenance.json", cut_short, "to start again"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_is_damaged_is_told_and_learned_again_once_removed(lab, attack, pattern, harm, words):
    lab("first", attack)
    path = of(lab, pattern)[-1]  # the deepest blocks are the largest
    harm(path)
    refused = lab("refused", attack, number=2)
    assert refused.exit_code not in (0, None)
    output = " ".join(refused.output.split())
    assert path.name in refused.output.replace("\n", "")
    assert words in output
    assert not (lab.place / "refused" / "estimate.json").exists()
    path.unlink()
    assert lab("second", attack, number=2).exit_code == 0
    assert lab("lone", attack, number=2, fitted=False).exit_code == 0
    assert torch.equal(lab.images("second"), lab.images("lone"))


def test_images_that_are_missing_are_told(lab):
    lab("first")
    of(lab, "dci-*/images-*/*/*.png")[0].unlink()
    refused = lab("refused", number=2)
    assert refused.exit_code == 2
    assert "has 23 images, 24 are wanted; remove it" in " ".join(refused.output.split())


@pytest.mark.parametrize("attack", ["rmle", "di", "mean-image"])
def test_what_has_no_fit_to_keep_is_refused(world, tmp_path, attack):
    words = ["--attack", attack, "--out", tmp_path / "out", "--fitted", tmp_path / "fitted"]
    done = run("attack", world / "capture-block1-1", "--knows", world / "grant-block1", *words)
    assert done.exit_code == 2
    assert "has no fit to keep" in done.output.replace("\n", " ")
    assert not (tmp_path / "fitted").exists()


def test_only_what_learns_from_a_capture_is_shown_it(world, tmp_path):
    threat = replace(read_grant(world / "grant-block2"), capture=torch.zeros(2, 16, 8, 8))
    shown = set()
    for name in ATTACKS:
        kind = ATTACKS.load(name)
        if kind.fitted_on != "nothing":
            fitting = Fitting.of(tmp_path, tmp_path / "fitted", kind(), threat, 0)
            shown |= {name} if fitting.threat.capture is not None else set()
    assert shown == {"shadow", "fora", "aligned-shadow"}
    assert Fitting.of(tmp_path, None, ATTACKS.load("dci")(), threat, 0).threat.capture is not None


def test_a_key_is_of_attack_settings_seed_and_grant(world):
    grant, kind = world / "grant-block2", ATTACKS.load("dci")
    threat = read_grant(grant)
    given = InputSpec(size=16, mean=(0.1, 0.2, 0.3))
    two = replace(AUX.images, classes=("smooth", "rough"))
    labelled = [
        replace(threat, aux=replace(AUX, images=replace(two, labels=torch.full((240,), label))))
        for label in (0, 1)
    ]
    others = [
        threat,
        granted(),
        granted(seed=9),
        granted(wire="INT8"),
        granted(defense="gaussian:level=0.1"),
        granted(bn_stats={"mean": torch.zeros(2)}),
        replace(threat, observe=None),
        *labelled,
        replace(threat, input=given),  # which no weight tells
        replace(threat, arch=ArchSpec(name="tiny_cnn", input=given)),
        replace(threat, capture=torch.zeros(2, 16, 8, 8)),
        *(replace(threat, oracle=Oracle(torch.zeros_like, one)) for one in ("logits", "label")),
    ]
    keys = [fit_key(kind(), one, 0) for one in others]
    keys += [fit_key(kind(epochs=3), threat, 0), fit_key(kind(), threat, 1)]
    keys += [fit_key(ATTACKS.load("psim")(), threat, 0)]
    assert len(set(keys)) == len(keys)
    assert fit_key(kind(), read_grant(grant), 0) == keys[0]
