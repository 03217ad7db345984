"""Ensembler's known answers: the formula, the frozen bodies, the secret, the resumed run."""

import pytest
import torch
from orders import ARCH, CLASSES, Killed, Killer, images, order

import defenses
from defenses.ensembler import similarities
from defenses.parts.prepare import prepare
from defenses.parts.stage_one.together import train_together
from splitlab.deployment import ClientHalf, Halves, Selector, ServerHalf, write_deployment
from splitlab.errors import BadInput
from splitlab.models import build
from splitlab.randomness import FreeDraw, KeyedDraw, Secret
from splitlab.split import part_state
from splitlab.storage import read_tensors

PAPER = "ensembler:N=3,P=2+gaussian:level=0.1,draw=fixed"
PIXELS = images().floats("cpu")
DRAW = FreeDraw(torch.Generator())


@pytest.fixture(autouse=True)
def _one_thread():
    """Sums are split over threads, and how many there are must not decide a comparison of bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def made(text=PAPER, **changes) -> Halves:
    return prepare(defenses.parse(text), order(**changes))


def same(one, other):
    """Whether two modules hold the same bits, running statistics included."""
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The paper's defence, made in a folder."""
    folder = tmp_path_factory.mktemp("ensembler")
    return folder, made(folder=folder)


def test_one_of_one_without_noise_is_ordinary_split_inference():
    halves = made("ensembler:N=1,P=1")
    net = build(ARCH, seed=5)
    parts = (halves.head, *halves.bodies, halves.tail)
    state = {k: v for part in parts for k, v in part_state(part).items()}
    net.net.load_state_dict(state)
    with torch.no_grad():
        assert torch.equal(halves.logits(PIXELS, DRAW), net.eval()(PIXELS))


def test_the_answer_is_the_formula_s(kept):
    """Eq. 1 with the zeros written out, and a tail of N outputs with zeros in their columns."""
    _, halves = kept
    chosen, total = halves.selector.chosen, halves.selector.total
    assert (len(chosen), total, len(halves.bodies)) == (2, 3, 3)
    with torch.no_grad():
        z = halves.head(PIXELS) + halves.protectors[0].noise
        outputs = [body(z).double().flatten(1) for body in halves.bodies]
        full = torch.cat([o / 2 if i in chosen else 0 * o for i, o in enumerate(outputs)], 1)
        weight, bias = (part_state(halves.tail)[f"fc.{k}"].double() for k in ("weight", "bias"))
        padded = torch.zeros(3, full.shape[1]).double()
        width = outputs[0].shape[1]
        for place, body in enumerate(chosen):
            columns = weight[:, place * width : (place + 1) * width]
            padded[:, body * width : (body + 1) * width] = columns
        wanted = full @ padded.T + bias
        torch.testing.assert_close(halves.logits(PIXELS, DRAW), wanted.float())


def test_order_of_the_bodies_matters_and_moves_with_the_selector(kept):
    _, halves = kept
    turned = [halves.bodies[i] for i in (1, 2, 0)]
    there = tuple((1, 2, 0).index(i) for i in halves.selector.chosen)
    fields = {**vars(halves), "bodies": tuple(turned)}
    with torch.no_grad():
        before = halves.logits(PIXELS, DRAW)
        assert not torch.allclose(before, Halves(**fields).logits(PIXELS, DRAW), atol=1e-4)
        moved = Halves(**{**fields, "selector": Selector(3, there)})
        assert torch.equal(before, moved.logits(PIXELS, DRAW))


def test_stage_two_leaves_the_bodies_as_stage_one_made_them(kept):
    folder, halves = kept
    for number, body in enumerate(halves.bodies):
        saved = read_tensors(folder / f"network-{number}.safetensors")
        own = part_state(body)
        assert {f"body.{k}" for k in own} <= saved.keys()
        assert all(torch.equal(saved[f"body.{k}"], v) for k, v in own.items())
        assert {k for k in own if k.endswith("running_mean")}
        assert all(p.requires_grad for p in body.parameters())


def test_stage_two_trains_a_head_and_tail_of_its_own(kept):
    folder, halves = kept
    for number in range(3):
        saved = read_tensors(folder / f"network-{number}.safetensors")
        weight = part_state(halves.head)["block1.0.weight"]
        assert not torch.allclose(saved["head.block1.0.weight"], weight, atol=1e-2)
        noise = saved["protectors.0.noise"]
        assert noise.std() == pytest.approx(0.1, rel=0.1)
        assert not torch.equal(noise, halves.protectors[0].noise)
    assert part_state(halves.head)["block1.1.running_mean"].abs().sum() > 0
    assert not any(
        module.training for part in (halves.head, halves.tail) for module in part.modules()
    )


def test_similarities_are_the_mean_cosines():
    one = torch.tensor([[[3.0, 4.0]], [[1.0, 0.0]]])
    other = torch.tensor([[[4.0, 3.0]], [[0.0, -2.0]]])
    found = similarities(one, [one, -one, other])
    torch.testing.assert_close(found, torch.tensor([1.0, -1.0, (24 / 25 + 0) / 2]))


def test_the_gradient_of_the_cosine_term():
    source = torch.Generator().manual_seed(3)
    feature = torch.randn(3, 2, 4, generator=source, dtype=torch.float64, requires_grad=True)
    others = [torch.randn(3, 2, 4, generator=source, dtype=torch.float64) for _ in range(3)]
    assert torch.autograd.gradcheck(lambda z: similarities(z, others).max(), (feature,))


def test_the_weight_drives_the_heads_apart():
    recipe = order().recipe.model_copy(update={"epochs": 6})
    free, driven = (
        made(f"ensembler:N=2,P=2,weight={w}", recipe=recipe).facts["cosines"] for w in (0, 10)
    )
    assert len(free) == len(driven) == 2
    assert max(driven) < max(free) - 0.05


def test_the_secret_alone_decides_selector_and_noise():
    """One public seed and two secrets; and the other way round."""
    text = "ensembler:N=8,P=3+gaussian:draw=fixed"
    recipe = order().recipe.model_copy(update={"epochs": 0})

    def with_(seed, secret):
        return made(text, recipe=recipe, seed=seed, secret=Secret.new(secret))

    first, other, reseeded = with_(0, 1), with_(0, 2), with_(7, 1)
    assert first.selector.chosen != other.selector.chosen
    assert not torch.equal(first.protectors[0].noise, other.protectors[0].noise)
    assert not same(first.head, other.head)
    assert first.selector.chosen == reseeded.selector.chosen
    assert torch.equal(first.protectors[0].noise, reseeded.protectors[0].noise)
    assert same(first.head, reseeded.head)
    assert not same(first.bodies[0], reseeded.bodies[0])
    assert "chosen" not in repr(first.selector)


@pytest.mark.parametrize("images_before", [48, 120, 216, 300, 350])
def test_a_killed_run_repeats_no_finished_network(tmp_path, kept, images_before):
    """Killed in the first network, the second, after the third, and within stage two."""
    with pytest.raises(Killed):
        made(folder=tmp_path, progress=Killer(images_before))
    finished = {p: p.stat().st_mtime_ns for p in tmp_path.glob("network-*.safetensors")}
    assert len(finished) == min(3, images_before // 96)
    watch = Killer()
    again = made(folder=tmp_path, progress=watch)
    assert finished.items() <= {p: p.stat().st_mtime_ns for p in tmp_path.glob("*")}.items()
    started = [name.partition(":")[0] for name in watch.names]
    assert started == [*(f"network {i}" for i in range(len(finished), 3)), "stage two"]
    assert watch.seen <= 4 * 96 - images_before // 48 * 48
    wanted = kept[1]
    assert all(map(same, again.bodies, wanted.bodies))
    assert same(again.head, wanted.head)
    assert same(again.tail, wanted.tail)
    assert not list(tmp_path.glob("*.pt"))


def test_a_finished_run_is_read_back(kept):
    folder, halves = kept
    watch = Killer(0)
    again = made(folder=folder, progress=watch)
    assert watch.names == []
    assert again.facts == halves.facts
    with torch.no_grad():
        assert torch.equal(again.logits(PIXELS, DRAW), halves.logits(PIXELS, DRAW))


def test_another_choice_of_p_and_weight_shares_stage_one(kept):
    folder, _ = kept
    watch = Killer()
    made("ensembler:N=3,P=1,weight=0+gaussian:level=0.1,draw=fixed", folder=folder, progress=watch)
    assert [name.partition(":")[0] for name in watch.names] == ["stage two"]


@pytest.mark.parametrize(
    ("noise", "recipe"),
    [
        ("none", {}),
        ("gaussian:level=0.1,draw=fixed", {}),
        ("gaussian:level=0.1", {"mixup": 0.8, "cutmix": 1.0, "label_smoothing": -0.05}),
    ],
)
def test_batched_networks_equal_those_trained_one_after_another(noise, recipe):
    stack = defenses.parse(noise)
    wanted = order(recipe=order().recipe.model_copy(update=recipe))
    one, all_at_once = (
        train_together(wanted, stack, 3, how) for how in ("one after another", "batched")
    )
    for a, b in zip(one, all_at_once, strict=True):
        assert a.facts["losses"] == pytest.approx(b.facts["losses"], abs=1e-3)
        for name, module in a.modules().items():
            mine, other = module.state_dict(), b.modules()[name].state_dict()
            for key, value in mine.items():
                torch.testing.assert_close(value, other[key], rtol=1e-2, atol=2e-3, msg=key)
    assert not same(one[0].parts.body, one[1].parts.body)


def test_a_killed_batch_goes_on_from_its_last_epoch(tmp_path):
    stack = defenses.parse("gaussian:draw=fixed")
    wanted = train_together(order(), stack, 2, "batched")
    with pytest.raises(Killed):
        train_together(order(folder=tmp_path, progress=Killer(64)), stack, 2, "batched")
    watch = Killer()
    again = train_together(order(folder=tmp_path, progress=watch), stack, 2, "batched")
    assert watch.seen == 48
    assert all(
        same(a.parts.body, b.parts.body) and a.facts["losses"] == b.facts["losses"]
        for a, b in zip(again, wanted, strict=True)
    )


@pytest.mark.slow
def test_processes_give_the_same_bits(tmp_path, kept):
    """Also with fixed noise from the secret, and kept where they belong."""
    watch = Killer()
    halves = made(folder=tmp_path, together="processes", progress=watch)
    assert all(map(same, halves.bodies, kept[1].bodies))
    assert same(halves.head, kept[1].head)
    assert "3 networks: 0/288" in watch.names
    assert watch.seen == 288 + 96


def test_a_deployment_answers_as_the_halves(tmp_path, kept):
    _, halves = kept
    stack, secret = defenses.parse(PAPER), order().secret
    write_deployment(tmp_path, halves, defended=stack, secret=secret, classes=CLASSES)
    client = ClientHalf.load(tmp_path / "client", defenses.parse)
    bodies = ServerHalf.load(tmp_path / "server").bodies
    draw = KeyedDraw(client.secret, "id")
    with torch.inference_mode():
        z = client.protect(client.head(PIXELS), draw)
        logits = client.tail(client.select([body(z) for body in bodies], draw))
        assert torch.equal(logits, halves.logits(PIXELS, draw, stack))
    server = b"".join(p.read_bytes() for p in (tmp_path / "server").iterdir())
    for word in (b"ensembler", b"selector", b"chosen", b"gaussian"):
        assert word not in server


@pytest.mark.parametrize(
    "beside",
    [
        "laplace:draw=fixed",
        "dropout:level=0.3",
        "gaussian:level=0.1",
        "shredder:epochs=1,draws=1",
    ],
)
def test_other_perturbations_take_the_gaussian_s_place(beside):
    halves = made(f"ensembler:N=2,P=1+{beside}")
    (protector,) = halves.protectors
    clean = halves.head(PIXELS)
    assert protector.ready
    assert not torch.equal(protector(clean, DRAW), clean)
    assert torch.isfinite(halves.logits(PIXELS, DRAW)).all()


def test_it_learns():
    recipe = order().recipe.model_copy(update={"epochs": 10})
    halves = made("ensembler:N=2,P=2+gaussian:draw=fixed", recipe=recipe)
    with torch.no_grad():
        hits = halves.logits(PIXELS, DRAW).argmax(1) == images().labels
    assert hits.float().mean() > 0.8
    assert halves.facts["losses"][-1] < halves.facts["losses"][0]
    assert len(halves.facts["stage_one"]) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ensembler:N=2,P=3", "P=3 of N=2 bodies; choose at most as many"),
        ("ensembler:weight=-1", "weight='-1': wanted at least 0"),
        ("ensembler:N=0,P=0", "N='0'"),
        ("ensembler:P=0", "P='0'"),
        ("ensembler+dropout-ensemble", "both own the bodies"),
        ("dropout-ensemble:level=1", "level='1'"),
    ],
)
def test_bad_input(text, message):
    with pytest.raises(BadInput, match=message):
        defenses.parse(text)


def test_ways_to_train_are_named():
    with pytest.raises(BadInput, match="wanted auto, one after another, processes or batched"):
        train_together(order(together="faster"), defenses.parse("none"), 2)
    with pytest.raises(BadInput, match="at least 1"):
        train_together(order(), defenses.parse("none"), 0)


def test_a_checkpoint_of_another_secret_is_not_taken_over(tmp_path):
    with pytest.raises(Killed):
        made("ensembler:N=1,P=1", folder=tmp_path, progress=Killer(64), secret=Secret.new(8))
    assert list(tmp_path.glob("*.pt"))
    watch = Killer()
    made("ensembler:N=1,P=1", folder=tmp_path, progress=watch)
    assert watch.seen == 2 * 96


@pytest.mark.gpu
def test_batched_networks_learn_as_well_on_a_gpu():
    recipe = order().recipe.model_copy(update={"epochs": 10})
    found = train_together(
        order(device="cuda", recipe=recipe), defenses.parse("gaussian"), 4, "batched"
    )
    for network in found:
        assert network.facts["losses"][-1] < 0.7 * network.facts["losses"][0]
