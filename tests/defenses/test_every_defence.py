"""Every defence of the registry at a shallow and a deep cut: trained, on disk, and back."""

from itertools import product

import pytest
import torch
from orders import CLASSES
from small_orders import coloured, order

import defenses
from adversary.contract.believed import believed, certain, loses_elements
from adversary.contract.threat import ThreatModel
from defenses import DEFENSES, parse
from defenses.parts.prepare import prepare
from splitlab.contracts import FeatureSpec
from splitlab.deployment import ClientHalf, ServerHalf, write_deployment
from splitlab.randomness import KeyedDraw, generator
from splitlab.storage import read_tensors
from splitlab.training import TrainRecipe

QUICK = {
    "ensembler": "ensembler:N=3,P=2+gaussian:draw=fixed",
    "dropout-ensemble": "dropout-ensemble:N=2",
    "shredder": "shredder:epochs=1",
}
"""Texts where the defaults would take long; every other defence as it comes."""
EVERY = list(product(DEFENSES, ("block1.2", "block2")))


@pytest.fixture(scope="module")
def deployed(tmp_path_factory):
    """(name, split point) -> stack, halves, folder; made once."""
    made = {}

    def get(name, point):
        if (name, point) not in made:
            stack = parse(QUICK.get(name, name))
            wanted = order(
                head_end=point,
                images=coloured(32),
                recipe=TrainRecipe(epochs=1, batch_size=16),
            )
            halves = prepare(stack, wanted)
            folder = tmp_path_factory.mktemp("deployment") / "d"
            write_deployment(folder, halves, defended=stack, secret=wanted.secret, classes=CLASSES)
            made[name, point] = stack, halves, folder
        return made[name, point]

    return get


@pytest.mark.parametrize(("name", "point"), EVERY)
def test_a_deployment_answers_as_the_halves_did(deployed, name, point):
    """The same draw gives the same logits, after the disk and through the two halves."""
    stack, halves, folder = deployed(name, point)
    client = ClientHalf.load(folder / "client", defenses.parse)
    server = ServerHalf.load(folder / "server")
    assert client.defended.spec == stack.spec
    images, draw = coloured(8, seed=1).floats(), KeyedDraw(client.secret, "a request")
    with torch.inference_mode():
        z = client.protect(client.head(images), draw)
        logits = client.tail(client.select([body(z) for body in server.bodies], draw))
        wanted = halves.logits(images, draw, stack)
    assert logits.shape == (8, 3)
    assert logits.isfinite().all()
    assert torch.equal(logits, wanted)


@pytest.mark.parametrize(("name", "point"), EVERY)
def test_the_server_is_given_bodies_alone(deployed, name, point):
    """No tensor of the client half stands in the server's; small constants aside."""
    _, halves, folder = deployed(name, point)
    private = read_tensors(folder / "client" / "weights.safetensors")
    for path in (folder / "server").glob("*.safetensors"):
        for value in read_tensors(path).values():
            for other in private.values():
                same = value.shape == other.shape and torch.equal(value, other)
                assert not same or value.unique().numel() == 1
    assert len(list((folder / "server").glob("*.safetensors"))) == len(halves.bodies)


@pytest.mark.parametrize("name", DEFENSES)
@pytest.mark.parametrize("knows", ["defence", "noise"])
def test_an_adversary_can_model_it(deployed, name, knows):
    """With the spec alone, and with the protectors: finite, of the feature's shape."""
    stack, halves, _ = deployed(name, "block2")
    shape = halves.head.output_shape
    threat = ThreatModel(
        defense=stack.spec,
        feature=FeatureSpec(shape=shape),
        protectors=halves.protectors if knows == "noise" else None,
    )
    with torch.inference_mode():
        z = halves.head(coloured(8, seed=1).floats())
        for imitate in (believed(threat, shape), certain(threat)):
            seen = imitate(z, generator(0))
            assert seen.shape == z.shape
            assert seen.isfinite().all()
        if not len(halves.protectors):
            assert torch.equal(believed(threat, shape)(z, generator(0)), z)
    assert loses_elements(threat) == (name == "dropout" and knows == "defence")
