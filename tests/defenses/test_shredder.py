"""Shredder: the noise learns, the network does not; what was learned is what the client adds."""

import dataclasses
import json

import pytest
import torch
from orders import CLASSES
from small_orders import equal, order, prepared, tensors

import defenses
from defenses import parse
from defenses.parts.prepare import prepare
from defenses.shredder import Shredder
from splitlab.deployment import ClientHalf, Halves, Selector, ServerHalf, write_deployment
from splitlab.errors import BadInput, Corrupt, Mismatch
from splitlab.randomness import FreeDraw, Secret, generator
from splitlab.split import part_state, widen
from splitlab.storage import read_tensors, sha256, write_tensors
from splitlab.training import Silent

QUICK = "shredder:epochs=4,draws=2"


def draw():
    return FreeDraw(generator(0, "shredder test"))


@pytest.fixture(scope="module")
def plain():
    return prepared("none")


@pytest.fixture(scope="module")
def trained(plain):
    """State dict of the undefended network: Shredder takes it as it is."""
    return {
        name: value
        for part in (plain.head, plain.bodies[0], plain.tail)
        for name, value in part_state(part).items()
    }


@pytest.fixture(scope="module")
def shred(trained):
    def make(text=QUICK, **changes):
        return prepare(parse(text), order(trained=trained, **changes))

    return make


def test_the_noise_moves_and_the_objective_falls(shred):
    halves = shred()
    facts = halves.facts["shredder"]
    assert facts["after"]["objective"] < facts["before"]["objective"] - 0.1
    assert facts["after"]["inverse_snr"] > 1.5 * facts["before"]["inverse_snr"] > 1
    assert facts["after"]["accuracy"] >= facts["accuracy_without"] - 3
    assert facts["as_deployed"]["accuracy"] >= facts["accuracy_without"] - 3
    assert all(losses[-1] < losses[0] for losses in facts["losses"])
    start = shred("shredder:epochs=0,draws=2").protectors[0].noise
    assert (halves.protectors[0].noise - start).abs().mean() > 0.1 * start.abs().mean()


def test_it_begins_as_laplace_in_deviations_of_the_feature(shred, plain):
    """Known numbers: mean |n| is b, the deviation is sqrt(2) b; here of a feature's own."""
    protector = shred("shredder:epochs=0,draws=3,scale=0.5").protectors[0]
    with torch.no_grad():
        unit = plain.head(order().images.floats()).std()
    assert protector.unit.item() == pytest.approx(unit.item(), rel=1e-5)
    assert protector.noise.abs().mean().item() == pytest.approx(0.5 * unit.item(), rel=0.05)
    assert protector.noise.std().item() == pytest.approx(0.5 * 2**0.5 * unit.item(), rel=0.1)


def test_the_network_is_left_as_it_is(plain, shred):
    made = shred("shredder:kind=both,epochs=2,draws=1")
    for mine, other in zip(
        (made.head, *made.bodies, made.tail), (plain.head, *plain.bodies, plain.tail), strict=True
    ):
        assert equal(tensors(mine), tensors(other))
        assert all(p.requires_grad and p.grad is None for p in mine.parameters())
        assert not mine.training


def test_noise_that_the_network_does_not_read_grows_by_the_learning_rate_a_step(plain):
    """The known answer: Adam under a constant gradient moves by its learning rate."""
    body = plain.bodies[0]
    first = next(name for name, p in body.named_parameters() if p.ndim == 4)
    weight = body.get_parameter(first)
    kept = weight.detach().clone()
    stack = parse("shredder:draws=1,epochs=2,learning_rate=0.01,coefficient=0.5")
    blank = dataclasses.replace(plain, protectors=stack.protectors((8, 16, 16), Secret.new()))
    try:
        with torch.no_grad():
            weight[:, 0] = 0
        noise = stack.defenses[0].finish(blank, order()).protectors[0]
        start = parse("shredder:draws=1,epochs=0").defenses[0].finish(blank, order()).protectors[0]
    finally:
        with torch.no_grad():
            weight.copy_(kept)
    grown = (noise.noise[0, 0].abs() - start.noise[0, 0].abs()) / noise.unit
    steps = 2 * 96 / 16
    assert torch.allclose(grown, torch.tensor(0.01 * steps), rtol=1e-2)
    assert blank.protectors[0].noise.abs().max() == 0  # what was handed in stays


def test_kinds_do_what_they_say(shred):
    z = torch.rand(3, 8, 16, 16) + 0.5
    found = {}
    for kind, names in (
        ("additive", ["noise", "unit"]),
        ("multiplicative", ["factor", "unit"]),
        ("both", ["factor", "noise", "unit"]),
    ):
        protector = shred(f"shredder:kind={kind},epochs=1,draws=1").protectors[0]
        assert sorted(protector.state_dict()) == names
        found[kind] = protector
    added, scaled, both = (p(z, draw()) for p in found.values())
    assert torch.allclose(added - z, found["additive"].noise.expand_as(z), atol=1e-4)
    assert torch.allclose(scaled / z, 1 + found["multiplicative"].factor.expand_as(z), atol=1e-4)
    assert found["multiplicative"](torch.zeros_like(z), draw()).abs().max() == 0
    wanted = z * (1 + found["both"].factor) + found["both"].noise
    assert torch.allclose(both, wanted, atol=1e-5)


def test_tensor_keeps_the_draw_of_the_lowest_objective(shred):
    all_of_them = shred(QUICK).protectors[0].noise
    halves = shred(f"{QUICK},sampling=tensor")
    kept = halves.protectors[0].noise
    assert kept.shape[0] == 1
    assert any(torch.equal(kept[0], one) for one in all_of_them)
    assert not parse(f"{QUICK},sampling=tensor").stochastic


def test_the_secret_gives_the_start_and_a_run_repeats(shred):
    first, again = shred(), shred()
    assert equal(tensors(first.protectors), tensors(again.protectors))
    other = shred(secret=Secret.new(secret_seed=2))
    assert not equal(tensors(first.protectors), tensors(other.protectors))


class Stopping(Silent):
    """Ends the run when the second draw begins."""

    def __init__(self):
        self.names = []

    def task(self, name, total, done=0):
        self.names.append((name, done))
        if "2 of 2" in name and len(self.names) == 2:
            raise KeyboardInterrupt
        return super().task(name, total, done)


def test_a_killed_run_continues(shred, tmp_path):
    wanted = shred()
    progress = Stopping()
    for _ in range(2):
        try:
            made = shred(folder=tmp_path, progress=progress)
        except KeyboardInterrupt:
            continue
    assert [done for _, done in progress.names] == [0, 0, 4 * 96, 0]
    assert equal(tensors(made.protectors), tensors(wanted.protectors))
    assert not list(tmp_path.glob("*.pt"))
    shred(folder=tmp_path, progress=progress)
    assert len(progress.names) == 4
    with pytest.raises(Mismatch, match="settings"):
        shred("shredder:epochs=1,draws=2", folder=tmp_path)


def test_it_learns_for_chosen_bodies_beside_other_noise(plain):
    """A body that the selector leaves out may be anything; other protectors act along."""
    broken = prepared("none", seed=3).bodies[0]
    with torch.no_grad():
        for parameter in broken.parameters():
            parameter.fill_(float("nan"))
    stack = parse("gaussian:level=0.1,draw=fixed+shredder:draws=1,epochs=1")
    halves = Halves(
        arch=plain.arch,
        head_end=plain.head_end,
        tail_start=plain.tail_start,
        head=plain.head,
        bodies=(broken, plain.bodies[0], plain.bodies[0]),
        tail=widen(plain.tail, 2),
        protectors=stack.protectors((8, 16, 16), Secret.new(secret_seed=1)),
        selector=Selector(3, (2, 1)),
    )
    made = stack.defenses[1].finish(halves, order())
    assert torch.equal(made.protectors[0].noise, halves.protectors[0].noise)
    assert made.protectors[1].noise.abs().mean() > 0
    assert made.protectors[1].noise.isfinite().all()


def test_as_fresh_is_the_start_of_the_learning_and_needs_no_tensor():
    stack = parse("shredder:scale=0.7,kind=both").as_fresh()
    assert stack == parse("shredder:scale=0.7,kind=both,sampling=prior")
    z = 3 * torch.randn(200, 8, 4, 4)
    protector = stack.protectors((8, 4, 4), Secret(bytes(32)))[0]
    noise = parse("shredder:scale=0.7,sampling=prior").protectors((8, 4, 4), Secret(bytes(32)))[0]
    added = noise(z, draw()) - z
    assert added.abs().mean().item() == pytest.approx(0.7 * 3, rel=0.05)
    assert not torch.allclose(added[0], added[1])
    assert protector(z, draw()).shape == z.shape
    assert "noise" not in protector.state_dict()


def written(folder, halves, text):
    write_deployment(
        folder, halves, defended=parse(text), secret=Secret.new(secret_seed=1), classes=CLASSES
    )
    return folder


def test_a_deployment_keeps_the_noise(shred, tmp_path):
    text = f"{QUICK},kind=both"
    halves = shred(text)
    folder = written(tmp_path / "d", halves, text)
    client = ClientHalf.load(folder / "client", defenses.parse)
    server = ServerHalf.load(folder / "server")
    assert equal(tensors(client.protectors), tensors(halves.protectors))
    images = order().images.floats()
    with torch.inference_mode():
        z = client.protect(client.head(images), draw())
        logits = client.tail(client.select([b(z) for b in server.bodies], draw()))
        assert torch.equal(logits, halves.logits(images, draw()))


def test_noise_of_another_shape_is_refused(shred, tmp_path):
    """In a saved client half, and before one is written."""
    halves = shred()
    client = written(tmp_path / "d", halves, QUICK) / "client"
    saved = read_tensors(client / "weights.safetensors")
    saved["protectors.0.noise"] = saved["protectors.0.noise"][..., :-1].contiguous()
    write_tensors(client / "weights.safetensors", saved, private=True)
    manifest = json.loads((client / "deployment.json").read_text())
    manifest["sha256"] = sha256((client / "weights.safetensors").read_bytes())
    (client / "deployment.json").write_text(json.dumps(manifest))
    with pytest.raises(Corrupt, match=r"noise.*2, 8, 16, 15"):
        ClientHalf.load(client, defenses.parse)
    other = parse(QUICK).protectors((8, 4, 4), Secret.new())
    with pytest.raises(BadInput, match=r"noise.*\[8, 16, 16\]"):
        written(tmp_path / "e", dataclasses.replace(halves, protectors=other), QUICK)


def test_noise_that_was_never_learned_is_not_deployed(plain, tmp_path):
    blank = parse(QUICK).protectors((8, 16, 16), Secret.new())
    with pytest.raises(BadInput, match="learned nothing"):
        written(tmp_path / "d", dataclasses.replace(plain, protectors=blank), QUICK)


def test_a_feature_without_scale_is_refused(plain):
    stack = parse(QUICK)
    silent = dataclasses.replace(plain, protectors=stack.protectors((8, 16, 16), Secret.new()))
    dark = dataclasses.replace(order().images, images=0 * order().images.images)
    parameters = {n: p.clone() for n, p in plain.head.named_parameters()}
    try:
        with torch.no_grad():
            for parameter in plain.head.parameters():
                parameter.zero_()
        with pytest.raises(BadInput, match="no scale"):
            stack.defenses[0].finish(silent, order(images=dark))
    finally:
        with torch.no_grad():
            for name, parameter in plain.head.named_parameters():
                parameter.copy_(parameters[name])


def test_halves_of_another_stack_are_refused(plain):
    with pytest.raises(BadInput, match="no place"):
        Shredder().finish(plain, order())


@pytest.mark.parametrize(
    "field",
    ["scale=0", "coefficient=-1", "draws=0", "kind=subtractive", "sampling=often", "epochs=-1"],
)
def test_fields_outside_their_range_are_refused(field):
    with pytest.raises(BadInput, match=field.partition("=")[0]):
        parse(f"shredder:{field}")


def test_two_of_them_are_refused():
    with pytest.raises(BadInput, match="both own the learned noise"):
        parse("shredder+shredder")
