"""The one loop: repeatable, resumable to the bit, any number of optimizers, honest about errors."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from splitlab.data import load_splits
from splitlab.errors import BadInput, Corrupt, Mismatch, StorageFull
from splitlab.training import Augment, Batch, State, TensorSource, TrainRecipe, fit
from splitlab.training import checkpoint as checkpoint_module


def small_net(seed=0):
    """A network with everything that could spoil a resumption: BatchNorm, dropout, momentum."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2),
            nn.AvgPool2d(5), nn.Flatten(), nn.Linear(72, 10),
        )  # fmt: skip


@pytest.fixture(scope="module")
def images():
    return load_splits("photo-patches", limits={"train": 200}).train


def classifier_state(rows, epochs, batch_size, seed=0, **more):
    net = small_net(seed)
    recipe = TrainRecipe(epochs=epochs, batch_size=batch_size, **more)
    optimizer = recipe.optimizer_of(net.parameters())
    rng = torch.Generator()
    return State(
        {"net": net}, {"net": optimizer}, {"net": recipe.scheduler(optimizer, rows)}, {}, {"a": rng}
    )


def classify(state, batch):
    noise = torch.randn(batch.images.shape, generator=state.generators["a"])
    logits = state.modules["net"](batch.images + 0.01 * noise)
    return {"net": F.cross_entropy(logits, batch.labels)}


def run(images, checkpoint=None, seed=3, epochs=3, step=classify, **more):
    state = classifier_state(len(images), epochs, 32, **more)
    history = fit(
        step, state, images, epochs=epochs, batch_size=32, seed=seed, device="cpu",
        augment=Augment(), checkpoint=checkpoint,
    )  # fmt: skip
    return state, history


def weights(state):
    return {name: value.clone() for name, value in state.modules["net"].state_dict().items()}


def same(one, two):
    return all(torch.equal(one[name], two[name]) for name in one)


def test_it_learns_and_counts(images):
    state, history = run(images, epochs=4)
    assert history.losses["net"][-1] < 0.7 * history.losses["net"][0]
    assert all(value.is_contiguous() for value in weights(state).values())
    assert history.images == 4 * 200
    assert history.epochs == 4
    assert history.images_per_second == pytest.approx(history.images / history.seconds)


def test_same_seed_same_bits_other_seed_other_bits(images):
    before = torch.random.get_rng_state()
    first, second, other = run(images)[0], run(images)[0], run(images, seed=4)[0]
    assert same(weights(first), weights(second))
    assert not same(weights(first), weights(other))
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_global_seed_does_not_matter(images):
    first = run(images)[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12345)
        second = run(images)[0]
    assert same(weights(first), weights(second))


@pytest.mark.parametrize("killed_after", [1, 2])
def test_killed_and_resumed_equals_unbroken(images, tmp_path, killed_after):
    unbroken, whole = run(images)
    calls = 0
    per_epoch = math.ceil(len(images) / 32)

    def dies(state, batch):
        nonlocal calls
        calls += 1
        if calls > killed_after * per_epoch + 2:
            raise KeyboardInterrupt
        return classify(state, batch)

    with pytest.raises(KeyboardInterrupt):
        run(images, tmp_path / "c.pt", step=dies)
    steps = 0

    def counts(state, batch):
        nonlocal steps
        steps += 1
        return classify(state, batch)

    resumed, history = run(images, tmp_path / "c.pt", step=counts)
    assert steps == (3 - killed_after) * per_epoch
    assert same(weights(unbroken), weights(resumed))
    assert history.losses == whole.losses
    assert history.images == 600
    assert same(weights(run(images, tmp_path / "c.pt", step=dies)[0]), weights(unbroken))


def test_a_checkpoint_of_another_run_is_refused(images, tmp_path):
    run(images, tmp_path / "c.pt")
    with pytest.raises(Mismatch, match=r"another training run \(seed: 3 there, 4 here\)"):
        run(images, tmp_path / "c.pt", seed=4)
    assert (tmp_path / "c.pt").stat().st_mode & 0o077 == 0, "it may hold a client's head"
    for other in ({"learning_rate": 0.7}, {"momentum": 0.5}, {"weight_decay": 0.3}):
        with pytest.raises(Mismatch, match=f"{next(iter(other)).replace('learning_rate', 'lr')}="):
            run(images, tmp_path / "c.pt", **other)
    darker = replace(images, images=images.images // 2)
    with pytest.raises(Mismatch, match=r"data: .* delete it"):
        run(darker, tmp_path / "c.pt")
    state = State({"net": nn.Linear(3, 2)}, classifier_state(200, 3, 32).optimizers)
    with pytest.raises(Mismatch, match="other networks or optimizers"):
        fit(
            classify, state, images, epochs=3, batch_size=32, seed=3, device="cpu",
            augment=Augment(), checkpoint=tmp_path / "c.pt",
        )  # fmt: skip


def test_a_damaged_checkpoint_is_named_and_not_run(images, tmp_path):
    path = tmp_path / "c.pt"
    run(images, path)
    data = path.read_bytes()
    for damaged in (data[: len(data) // 2], b"", b"hello"):
        path.write_bytes(damaged)
        with pytest.raises(Corrupt, match=r"c\.pt: not a whole checkpoint"):
            run(images, path)

    class Evil:
        def __reduce__(self):
            return (print, ("code in a checkpoint ran",))

    torch.save({"run": Evil(), "content": {}}, path)
    with pytest.raises(Corrupt, match="not a whole checkpoint"):
        run(images, path)


def test_a_full_disk_leaves_the_checkpoint_before(images, tmp_path, monkeypatch):
    path = tmp_path / "c.pt"
    real, calls = checkpoint_module.write_bytes, []

    def fills_up(where, data, private):
        calls.append(1)
        if len(calls) > 1:
            raise StorageFull(f"{where}: no space left")
        real(where, data, private=private)

    monkeypatch.setattr(checkpoint_module, "write_bytes", fills_up)
    with pytest.raises(StorageFull):
        run(images, path)
    monkeypatch.undo()
    assert same(weights(run(images, path)[0]), weights(run(images)[0]))


def test_losses_become_steps_in_order_and_late_ones_see_the_earlier_step():
    """Two players of one loss each; the second's is computed after the first has moved."""
    a, b = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))
    state = State(
        {}, {"first": torch.optim.SGD([a], 1.0), "second": torch.optim.SGD([b], 1.0)},
        tensors={"a": a, "b": b},
    )  # fmt: skip
    seen = []

    def step(_state, _batch):
        def late():
            seen.append(a.item())
            return (b - a) ** 2 / 2

        return {"first": (a - 4) ** 2 / 2, "second": late}

    source = TensorSource((torch.zeros(1, 1),))
    fit(step, state, source, epochs=2, batch_size=1, seed=0, device="cpu")
    assert seen == [4.0, 4.0]
    assert (a.item(), b.item()) == (4.0, 4.0)


def test_an_optimizer_never_steps_on_anothers_gradients():
    shared, own = nn.Parameter(torch.ones(())), nn.Parameter(torch.ones(()))
    state = State(
        {}, {"x": torch.optim.SGD([shared], 1.0), "y": torch.optim.SGD([own], 1.0)}
    )  # fmt: skip

    def step(_state, _batch):
        return {"y": lambda: shared * own, "x": lambda: 0.5 * shared}

    source = TensorSource((torch.zeros(1, 1),))
    fit(step, state, source, epochs=1, batch_size=1, seed=0, device="cpu")
    assert own.item() == 0.0
    assert shared.item() == 0.5  # 1 - 0.5, without the 1 that the other loss left in its gradient


def test_stacked_shadows_train_as_each_alone_would(tmp_path):
    """Three linear models at once through `vmap` equal three runs of one."""
    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(64, 5, generator=rng), torch.randn(64, 1, generator=rng)
    start = torch.randn(3, 5, 1, generator=rng)

    def train(weight, step, checkpoint=None):
        parameter = nn.Parameter(weight.clone())
        state = State(
            {}, {"w": torch.optim.SGD([parameter], 0.1, momentum=0.9)}, tensors={"w": parameter}
        )
        fit(
            step, state, TensorSource((x, y)), epochs=3, batch_size=16, seed=1, device="cpu",
            checkpoint=checkpoint,
        )  # fmt: skip
        return parameter.detach()

    def one(weight, batch):
        return F.mse_loss(batch.tensors[0] @ weight, batch.tensors[1])

    def stacked(state, batch):
        losses = torch.vmap(lambda weight: one(weight, batch))(state.tensors["w"])
        return {"w": losses.sum()}

    together = train(start, stacked, tmp_path / "c.pt")
    alone = [train(weight, lambda s, b: {"w": one(s.tensors["w"], b)}) for weight in start]
    assert torch.allclose(together, torch.stack(alone), atol=1e-6)
    assert not torch.allclose(together, start)
    assert torch.equal(train(torch.zeros(3, 5, 1), stacked, tmp_path / "c.pt"), together)


def test_every_row_is_visited_once_an_epoch_unless_a_sampler_says_otherwise():
    seen: list[int] = []
    weight = nn.Parameter(torch.zeros(()))

    def step(_state, batch: Batch):
        seen.extend(batch.indices.tolist())
        assert torch.equal(batch.tensors[0][:, 0], batch.indices.float())
        return {"w": weight * batch.tensors[0].mean()}

    source = TensorSource((torch.arange(10.0)[:, None],))
    state = State({}, {"w": torch.optim.SGD([weight], 0.1)})
    arguments = {"epochs": 2, "batch_size": 4, "seed": 0, "device": "cpu"}
    fit(step, state, source, **arguments)
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert seen[:10] != seen[10:]
    seen.clear()
    history = fit(step, state, source, sampler=lambda *_: torch.arange(3), **arguments)
    assert seen == [0, 1, 2, 0, 1, 2]
    assert history.images == 6


def test_uint8_arrives_as_images_and_the_rest_as_it_is(images):
    source = TensorSource.of(images, "cpu")
    batch = source.batch(torch.tensor([5, 2]))
    assert torch.equal(batch.images, images.floats()[[5, 2]])
    assert torch.equal(batch.labels, images.labels[[5, 2]])
    with pytest.raises(BadInput, match=r"lengths \[3, 2\]"):
        TensorSource((torch.zeros(3), torch.zeros(2)))
    with pytest.raises(BadInput, match=r"lengths \[0\]"):
        TensorSource((torch.zeros(0),))


def test_a_loss_that_diverges_or_has_no_optimizer(images, tmp_path):
    state = classifier_state(200, 1, 32)
    arguments = {"epochs": 1, "batch_size": 32, "seed": 0, "device": "cpu"}
    path = tmp_path / "c.pt"
    with pytest.raises(BadInput, match="became nan in epoch 1; use a lower learning rate"):
        fit(
            lambda s, b: {"net": classify(s, b)["net"] * math.nan},
            state, images, checkpoint=path, **arguments,
        )  # fmt: skip
    assert not path.exists()
    with pytest.raises(BadInput, match="no optimizer of that name; known: net"):
        fit(lambda s, b: {"nte": classify(s, b)["net"]}, state, images, **arguments)


def test_no_epochs_change_nothing(images):
    state = classifier_state(200, 1, 32)
    before = weights(state)
    history = fit(classify, state, images, epochs=0, batch_size=32, seed=0, device="cpu")
    assert history.images_per_second == 0.0
    assert same(before, weights(state))
    with pytest.raises(BadInput, match="wanted auto, cpu or cuda"):
        fit(classify, state, images, epochs=0, batch_size=32, seed=0, device="gpu")


@pytest.mark.gpu
def test_cuda_trains_in_bfloat16_and_learns(images):
    state = classifier_state(200, 4, 32)

    def step(state, batch):
        assert batch.images.device.type == "cuda"
        logits = state.modules["net"](batch.images)
        assert logits.dtype == torch.bfloat16
        return {"net": F.cross_entropy(logits, batch.labels)}

    history = fit(step, state, images, epochs=4, batch_size=32, seed=0, device="cuda")
    assert history.losses["net"][-1] < history.losses["net"][0]
