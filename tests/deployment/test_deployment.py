"""Two halves on disk: they compose, belong together, keep their secrets, and notice damage."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch

import defenses
from bench.point.deploy import whole
from splitlab.contracts import ArchSpec
from splitlab.deployment import ClientHalf, Halves, Selector, ServerHalf, write_deployment
from splitlab.errors import BadInput, Corrupt
from splitlab.models import build
from splitlab.randomness import KeyedDraw, Secret
from splitlab.split import cut, widen
from splitlab.storage import read_tensors, sha256, write_tensors

ARCH = ArchSpec(name="tiny_cnn", classes=5)
CLASSES = ("a", "b", "c", "d", "e")


@pytest.fixture(scope="module")
def net():
    made = build(ARCH, seed=3)
    with torch.no_grad():
        for value in made.net.state_dict().values():
            if value.is_floating_point():
                value.add_(0.1 * torch.rand_like(value))
    return made.eval()


@pytest.fixture
def folder(tmp_path, net):
    return written(tmp_path / "deployment", net)


def written(folder, net, *, defense="gaussian:level=0.5,draw=fixed", secret=None):
    stack, secret = defenses.parse(defense), secret or Secret.new()
    parts = cut(net, "block1", "block3", ARCH.input.shape)
    halves = halves_of(parts, protectors=stack.protectors((8, 32, 32), secret))
    write_deployment(folder, halves, defended=stack, secret=secret, classes=CLASSES)
    return folder


def halves_of(parts, **changes):
    made = Halves(
        arch=ARCH,
        head_end="block1",
        tail_start="block3",
        head=parts.head,
        bodies=(parts.body,),
        tail=parts.tail,
        protectors=torch.nn.ModuleList(),
        selector=Selector(1, (0,)),
    )
    return dataclasses.replace(made, **changes)


def load(folder):
    return ClientHalf.load(folder / "client", defenses.parse), ServerHalf.load(folder / "server")


def test_the_halves_compose_to_the_whole(tmp_path, net):
    client, server = load(written(tmp_path / "plain", net, defense="none"))
    x = torch.rand(3, 3, 32, 32)
    draw = KeyedDraw(client.secret, "id")
    with torch.inference_mode():
        z = client.protect(client.head(x), draw)
        logits = client.tail(client.select([b(z) for b in server.bodies], draw))
        wanted = net(x)
    assert z.shape[1:] == client.feature.shape == server.feature.shape
    assert (logits - wanted).abs().max() / wanted.abs().max() <= 1e-5
    assert client.digest == server.digest


def test_fixed_noise_is_the_same_after_loading(folder):
    z = torch.zeros(2, *load(folder)[0].feature.shape)
    first, second = (load(folder)[0] for _ in range(2))
    noise = first.protect(z, KeyedDraw(first.secret, "id"))
    assert noise.std() > 0.4
    assert torch.equal(noise, second.protect(z, KeyedDraw(second.secret, "other")))


def strings_of(value):
    if isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from strings_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings_of(item)
    else:
        yield str(value)


def test_the_server_half_reveals_neither_head_nor_tail_nor_noise_nor_secret(folder, net):
    client = folder / "client"
    hidden = read_tensors(client / "weights.safetensors")
    private = {k: v for k, v in hidden.items() if v.numel() > 1 and v.float().std() > 0}
    assert {k.partition(".")[0] for k in private} == {"head", "protectors", "tail"}
    key = json.loads((client / "secret.json").read_text())["key"]
    raw = b"".join(p.read_bytes() for p in (folder / "server").rglob("*") if p.is_file())
    for name, value in private.items():
        assert value.numpy().tobytes() not in raw, name
    assert bytes.fromhex(key) not in raw
    manifest = json.loads((folder / "server" / "deployment.json").read_text())
    fields = list(strings_of(manifest))
    for word in (key, "gaussian", "secret", "selector", "chosen", "seed", "noise", "classes_names"):
        assert not any(word in field for field in fields), word
    held = read_tensors(folder / "server" / "shard-0.safetensors")
    parts = cut(net, "block1", "block3", ARCH.input.shape)
    assert len(held) == len(parts.body.state_dict())
    for name, value in held.items():
        for other in private.values():
            same = value.shape == other.shape and torch.equal(value, other)
            assert not same, name


def test_the_digest_does_not_depend_on_the_secret(tmp_path, net):
    """Two deployments of one network differ by their random id alone, whatever the secret."""
    manifests = []
    for name, seed in (("one", 1), ("two", 2)):
        folder = written(tmp_path / name, net, secret=Secret.new(seed))
        manifests.append(ServerHalf.load(folder / "server").manifest)
    one, two = (m.model_dump(exclude={"id", "digest"}) for m in manifests)
    assert one == two
    assert manifests[0].id != manifests[1].id
    assert manifests[0].digest != manifests[1].digest


def test_the_secret_is_readable_by_its_owner_alone(folder):
    client = folder / "client"
    assert client.stat().st_mode & 0o077 == 0
    assert (client / "secret.json").stat().st_mode & 0o077 == 0
    shown = repr(load(folder)[0])
    assert json.loads((client / "secret.json").read_text())["key"] not in shown


@pytest.mark.parametrize("half", ["client", "server"])
@pytest.mark.parametrize("damage", ["no manifest", "cut manifest", "cut tensors", "changed tensor"])
def test_damage_is_noticed(folder, half, damage):
    tensors = next((folder / half).glob("*.safetensors"))
    manifest = folder / half / "deployment.json"
    raw = bytearray(tensors.read_bytes())
    raw[-1] ^= 1
    {
        "no manifest": manifest.unlink,
        "cut manifest": lambda: manifest.write_text(manifest.read_text()[:-20]),
        "cut tensors": lambda: tensors.write_bytes(tensors.read_bytes()[:-8]),
        "changed tensor": lambda: tensors.write_bytes(bytes(raw)),
    }[damage]()
    with pytest.raises(Corrupt, match=r"deployment\.json|safetensors"):
        load(folder)
    if damage == "no manifest":  # as a kill leaves it
        assert not whole(folder)
        assert not folder.exists()
        return
    with pytest.raises(Corrupt):
        whole(folder)
    assert manifest.exists()


def test_the_wrong_half_is_named(folder):
    with pytest.raises(Corrupt, match="is the server half, and the client half is wanted"):
        ClientHalf.load(folder / "server", defenses.parse)


def test_an_edited_manifest_does_not_fit_its_digest(folder):
    path = folder / "server" / "deployment.json"
    content = json.loads(path.read_text())
    content["max_rows"] += 1
    path.write_text(json.dumps(content))
    with pytest.raises(Corrupt, match="digest"):
        ServerHalf.load(folder / "server")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), "-inf"])
@pytest.mark.parametrize("half", ["server", "client"])
def test_a_manifest_with_a_number_that_is_none_is_told_as_damaged(folder, half, number):
    path = folder / half / "deployment.json"
    content = json.loads(path.read_text())
    content["arch"]["input"]["std"] = [1.0, 1.0, number]
    path.write_text(json.dumps(content))
    with pytest.raises(Corrupt, match=r"holds a number that is not finite"):
        ServerHalf.load(folder / half) if half == "server" else ClientHalf.load(
            folder / half, defenses.parse
        )


def test_a_deployment_is_never_overwritten(folder, net):
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with pytest.raises(BadInput, match="already"):
        written(folder, net)
    assert before == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_several_bodies_and_a_secret_selector(tmp_path, net):
    """Three bodies, two of them chosen: the tail is fed their scaled concatenation."""
    bodies = [cut(build(ARCH, seed=s), "block1", "block3", ARCH.input.shape).body for s in range(3)]
    parts = cut(net, "block1", "block3", ARCH.input.shape)
    stack = defenses.parse("none")
    chosen = Selector(3, (2, 0))
    halves = halves_of(parts, bodies=tuple(bodies), tail=widen(parts.tail, 2), selector=chosen)
    fields = {"defended": stack, "secret": Secret.new(), "classes": CLASSES}
    write_deployment(tmp_path / "three", halves, **fields)
    client, server = load(tmp_path / "three")
    z = client.head(torch.rand(2, 3, 32, 32))
    outputs = [b(z) for b in server.bodies]
    chosen = client.select(outputs, KeyedDraw(client.secret, "id"))
    assert torch.equal(chosen, torch.cat([outputs[2] / 2, outputs[0] / 2], 1))
    assert "2, 0" not in repr(client)
    assert len(server.outputs) == 3


@pytest.mark.parametrize("chosen", [(), (3,), (0, 0), (-1,)])
def test_a_selector_is_checked(chosen):
    with pytest.raises(BadInput, match="distinct indices below 3"):
        Selector(3, chosen)


def test_halves_are_copied_alone(tmp_path, folder):
    """Each half loads from a folder of its own, without the other beside it."""
    for half in ("client", "server"):
        shutil.copytree(folder / half, tmp_path / "machine" / half / "h")
    ClientHalf.load(Path(tmp_path / "machine" / "client" / "h"), defenses.parse)
    ServerHalf.load(Path(tmp_path / "machine" / "server" / "h"))


def three(net, **changes):
    parts = cut(net, "block1", "block3", ARCH.input.shape)
    bodies = [cut(build(ARCH, seed=s), "block1", "block3", ARCH.input.shape).body for s in range(3)]
    fields = {
        "bodies": tuple(bodies),
        "tail": widen(parts.tail, 2),
        "selector": Selector(3, (2, 0)),
    }
    return halves_of(parts, **{**fields, **changes})


def test_parts_that_do_not_fit_are_refused_with_their_sizes(tmp_path, net):
    parts = cut(net, "block1", "block3", ARCH.input.shape)
    other = cut(net, "block1", "block2", ARCH.input.shape)
    noisy = defenses.parse("gaussian:draw=fixed").protectors((8, 16, 16), Secret.new())
    for halves, message in (
        (three(net, selector=Selector(4, (2, 0))), "among 4 bodies and there are 3"),
        (three(net, tail=parts.tail), r"feeds the tail \[64, 8, 8\] \(2 of 3 bodies\)"),
        (three(net, bodies=(parts.body, parts.body, other.body)), "different shapes"),
        (halves_of(parts, protectors=noisy), r"shape \[8, 16, 16\], one feature has \[8, 32, 32\]"),
    ):
        with pytest.raises(BadInput, match=message):
            write(tmp_path / "d", halves)
        assert not (tmp_path / "d").exists()


def write(folder, halves, defense="none"):
    stack = defenses.parse(defense)
    write_deployment(folder, halves, defended=stack, secret=Secret.new(), classes=CLASSES)
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chosen": [0]}, "chooses 1 of 3 bodies, and the tail was trained for another number"),
        ({"chosen": [0, 1, 2]}, "chooses 3 of 3 bodies, and the tail was trained"),
        ({"chosen": [0, 7]}, "secret.json: it is damaged"),
        ({"total": 4}, "for 4 bodies and the deployment has 3"),
    ],
)
def test_a_selector_file_that_does_not_fit_is_named(tmp_path, net, change, message):
    client = write(tmp_path / "d", three(net)) / "client"
    path, manifest = client / "secret.json", client / "deployment.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    content = {**json.loads(manifest.read_text()), "secret_sha256": sha256(path.read_bytes())}
    manifest.write_text(json.dumps(content))
    with pytest.raises(Corrupt, match=message):
        load(tmp_path / "d")


@pytest.mark.parametrize("change", ["another choice", "another order", "another's", "none"])
def test_a_secret_that_was_not_written_with_the_half_is_refused(tmp_path, net, change):
    """Another selector of the right size would load, and answer wrongly without a word."""
    path = write(tmp_path / "d", three(net)) / "client" / "secret.json"
    content = json.loads(path.read_text())
    other = write(tmp_path / "other", three(net)) / "client" / "secret.json"
    {
        "another choice": lambda: path.write_text(json.dumps({**content, "chosen": [2, 1]})),
        "another order": lambda: path.write_text(json.dumps({**content, "chosen": [0, 2]})),
        "another's": lambda: path.write_bytes(other.read_bytes()),
        "none": path.unlink,
    }[change]()
    with pytest.raises(Corrupt, match=r"secret\.json: (its bytes are not|there is no such file)"):
        load(tmp_path / "d")


def test_saved_noise_of_another_shape_is_named(tmp_path, net):
    folder = written(tmp_path / "d", net)
    path, manifest = folder / "client" / "weights.safetensors", folder / "client/deployment.json"
    tensors = {**read_tensors(path), "protectors.0.noise": torch.zeros(8, 16, 16)}
    write_tensors(path, tensors)
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "sha256": sha256(path.read_bytes())}))
    with pytest.raises(Corrupt, match=r"noise of another shape.*\[8, 16, 16\]"):
        load(folder)


@pytest.mark.parametrize("change", ["swapped", "missing", "of another deployment"])
def test_bodies_that_do_not_fit_the_digest_are_refused(tmp_path, net, change):
    """Order and number of the bodies are part of the digest, so that no server mixes them up."""
    server = write(tmp_path / "d", three(net)) / "server"
    path = server / "deployment.json"
    content = json.loads(path.read_text())
    shards = content["shards"]
    if change == "swapped":
        shards[0]["bodies"], shards[1]["bodies"] = shards[1]["bodies"], shards[0]["bodies"]
    elif change == "missing":
        del shards[1]
    else:
        other = write(tmp_path / "other", three(net)) / "server" / "deployment.json"
        content["id"] = json.loads(other.read_text())["id"]
    path.write_text(json.dumps(content))
    with pytest.raises(Corrupt, match="digest"):
        ServerHalf.load(server)
