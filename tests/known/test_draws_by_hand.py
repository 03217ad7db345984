"""Selector, keyed draws and noise with numbers that were worked out beside the code."""

from __future__ import annotations

import hashlib
import math
from statistics import NormalDist

import pytest
import torch
from torch import Tensor

from defenses import parse
from defenses.parts.learned_noise import LearnedNoise, perturb, resample
from defenses.parts.noise import standard_laplace
from splitlab.deployment import Selector
from splitlab.errors import BadInput
from splitlab.randomness import FreeDraw, KeyedDraw, Secret, generator

KEY = bytes(range(32))
SECRET = Secret(KEY)


def keystream(count: int, text: str) -> list[float]:
    """Uniform in (0, 1): 52 bits of SHAKE-256 over key length, key and text, in the middle."""
    stream = hashlib.shake_256(b"\x20\x00" + KEY + text.encode()).digest(8 * count)
    words = [int.from_bytes(stream[8 * i : 8 * i + 8], "little") >> 12 for i in range(count)]
    return [(word + 0.5) / 2**52 for word in words]


def test_uniform_numbers_are_the_keystream_s() -> None:
    found = SECRET.uniform(5, "id", 3, "noise")
    assert found.dtype == torch.float64
    assert found.tolist() == keystream(5, "id\x1f3\x1fnoise")


def test_a_row_draws_under_request_row_and_purpose() -> None:
    like = torch.zeros(2, 2, 2)
    found = KeyedDraw(SECRET, "id", 7).uniform(like, "p")
    wanted = [keystream(4, f"id\x1f{row}\x1fp") for row in (7, 8)]
    assert torch.equal(found, torch.tensor(wanted).float().view(2, 2, 2))
    normal = KeyedDraw(SECRET, "id", 7).normal(like, "p")
    by_hand = [[NormalDist().inv_cdf(u) for u in row] for row in wanted]
    assert torch.allclose(normal, torch.tensor(by_hand).view(2, 2, 2), atol=1e-5)
    assert KeyedDraw(SECRET, "id").first_row == 0


def test_draws_have_the_type_and_shape_asked_for() -> None:
    draw = KeyedDraw(SECRET, "id")
    for dtype in (torch.float16, torch.float32, torch.float64):
        like = torch.zeros(1, 300, dtype=dtype)
        for values in (draw.uniform(like, "p"), draw.normal(like, "p")):
            assert (values.dtype, values.shape) == (dtype, like.shape)
        assert float(draw.uniform(like, "p").max()) < 1
        free = FreeDraw(generator(0))
        for values in (free.uniform(like, "p"), free.normal(like, "p")):
            assert (values.dtype, values.shape) == (dtype, like.shape)
    for values in (draw.uniform(torch.zeros(0, 3), "p"), draw.normal(torch.zeros(0, 3), "p")):
        assert tuple(values.shape) == (0, 3)


def test_a_uniform_draw_never_rounds_up_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Secret, "uniform", lambda *_: torch.tensor([1 - 2.0**-53], dtype=float))
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        value = KeyedDraw(SECRET, "id").uniform(torch.zeros(1, 1, dtype=dtype), "p")
        assert 1 - torch.finfo(dtype).eps <= float(value) < 1


def test_free_draws_come_from_their_source_in_turn() -> None:
    draw, source = FreeDraw(generator(4, "x")), generator(4, "x")
    like = torch.zeros(3, 2)
    assert torch.equal(draw.normal(like, "a"), torch.randn(3, 2, generator=source))
    assert torch.equal(draw.uniform(like, "b"), torch.rand(3, 2, generator=source))


def blake(size: int, text: str, key: bytes = b"") -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=size, key=key).digest()


def test_numbers_secrets_and_generators_follow_from_their_labels() -> None:
    assert SECRET.number("a", 1) == int.from_bytes(blake(8, "a\x1f1", KEY), "little") >> 1
    assert SECRET.derive("a", 1).key == blake(32, "a\x1f1", KEY)
    assert Secret.new(7).key == blake(32, "secret-seed:7")
    assert len(Secret.new().key) == 32
    number = int.from_bytes(blake(8, "3\x1fa\x1f1"), "little") >> 1
    assert generator(3, "a", 1).initial_seed() == number
    order = SECRET.permutation(5, "o").tolist()
    values = keystream(5, "o")
    assert order == sorted(range(5), key=lambda i: values[i])


def test_chosen_vectors_are_scaled_and_stand_in_the_order_of_the_choice() -> None:
    y = [torch.full((2, 3), 6.0 * body) for body in range(4)]
    fed = Selector(4, (3, 0, 1))(y)
    assert torch.equal(fed[0], torch.tensor([6.0] * 3 + [0.0] * 3 + [2.0] * 3))
    assert torch.equal(fed[0], fed[1])
    assert Selector(4, (3, 0, 1)).output_shape((3,)) == (9,)


@pytest.mark.parametrize(
    ("shape", "axis"), [((3, 4, 5), 1), ((4, 4, 3), 3), ((7, 3), 2), ((3,), 1)]
)
def test_the_channel_is_the_axis_that_grows(shape: tuple[int, ...], axis: int) -> None:
    y = [torch.rand(2, *shape) for _ in range(3)]
    fed = Selector(3, (2, 0))(y)
    wanted = list(shape)
    wanted[axis - 1] *= 2
    assert tuple(fed.shape) == (2, *wanted)
    assert Selector(3, (2, 0)).output_shape(shape) == tuple(wanted)
    first, second = fed.chunk(2, dim=axis)
    assert torch.equal(first, y[2] / 2)
    assert torch.equal(second, y[0] / 2)


def test_a_single_body_s_output_is_left_as_it_is() -> None:
    y = torch.rand(2, 3)
    assert Selector(1, (0,))([y]) is y
    assert Selector(1, (0,)).output_shape((3,)) == (3,)


def test_one_of_several_is_chosen_without_scaling() -> None:
    y = [torch.rand(2, 3) for _ in range(3)]
    assert torch.equal(Selector(3, (1,))(y), y[1])


@pytest.mark.parametrize("chosen", [(), (3,), (-1,), (0, 0), (0, 1, 3)])
def test_a_choice_that_is_none_is_refused(chosen: tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match="distinct indices below 3"):
        Selector(3, chosen)


def test_another_number_of_outputs_is_refused_and_the_choice_is_never_shown() -> None:
    with pytest.raises(BadInput, match="3 outputs were wanted, 2 came"):
        Selector(3, (0,))([torch.zeros(1, 1)] * 2)
    assert "2" not in repr(Selector(3, (2,)))
    assert Selector(3, (0, 1, 2)).chosen == (0, 1, 2)


class Given:
    """Draws that are handed in."""

    def __init__(self, values: Tensor) -> None:
        self.values, self.asked = values, list[str]()
        self.shapes: list[tuple[int, ...]] = []

    def normal(self, like: Tensor, purpose: str) -> Tensor:
        self.asked.append(f"normal {purpose}")
        self.shapes.append(tuple(like.shape))
        return self.values.expand_as(like)

    uniform = normal


def protector_of(spec: str, shape: tuple[int, ...] = (4,)) -> LearnedNoise:
    (made,) = parse(spec).protectors(shape, SECRET)
    return made


def test_noise_is_level_times_the_draw() -> None:
    z, u = torch.ones(1, 4), torch.tensor([0.1, 0.5, 0.6, 0.9])
    assert torch.allclose(protector_of("gaussian:level=0.3")(z, Given(u)), 1 + 0.3 * u)
    lost = protector_of("dropout:level=0.6")(2 * z, Given(u))
    assert lost.tolist() == [[0, 0, 2, 2]]  # an element is kept from its level on
    for name in ("gaussian", "laplace", "dropout"):
        draw = Given(u)
        protector_of(name)(z, draw)
        assert draw.asked == [f"normal 0:{name}"]
    laplace = protector_of("laplace:level=0.3")(z, Given(u))
    assert torch.allclose(laplace, 1 + 0.3 / math.sqrt(2) * standard_laplace(u))


def test_laplace_is_the_inverse_of_its_distribution() -> None:
    """F(x) = e^x / 2 below 0, 1 - e^-x / 2 above."""
    u = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95])
    wanted = [math.log(0.1), math.log(0.5), 0.0, -math.log(0.5), -math.log(0.1)]
    assert torch.allclose(standard_laplace(u), torch.tensor(wanted), atol=1e-6)
    edge = standard_laplace(torch.tensor([0.0, 1 - 2.0**-24]))
    assert edge[0] == pytest.approx(-25 * math.log(2), rel=1e-6)
    assert edge[1] == pytest.approx(23 * math.log(2), rel=1e-5)


def test_levels_that_are_not_named_are_those_of_the_papers() -> None:
    assert parse("gaussian").spec == "gaussian:draw=fresh,level=0.1"
    assert parse("laplace").spec == "laplace:draw=fresh,level=0.1"
    assert parse("dropout").spec == "dropout:draw=fresh,level=0.6"
    assert parse("gaussian").stochastic
    assert not parse("gaussian:draw=fixed").stochastic
    assert parse("gaussian:draw=fixed,level=0.3").as_fresh() == parse("gaussian:level=0.3")


@pytest.mark.parametrize("name", ["gaussian", "laplace", "dropout"])
def test_fixed_noise_is_row_0_of_a_request_of_its_own(name: str) -> None:
    made = protector_of(f"{name}:level=0.5,draw=fixed", (2, 3))
    secret = SECRET.derive("protector", 0)
    u = torch.tensor([keystream_of(secret, 6, f"fixed noise of {name}\x1f0\x1ffixed")]).view(2, 3)
    wanted = {
        "gaussian": 0.5 * torch.special.ndtri(u.double()),
        "laplace": 0.5 / math.sqrt(2) * standard_laplace(u),
        "dropout": (u >= 0.5).float(),
    }[name]
    assert made.noise is not None
    assert torch.allclose(made.noise, wanted.float(), atol=1e-5)
    assert made(torch.ones(3, 2, 3).half(), Given(u)).dtype == torch.float16


def keystream_of(secret: Secret, count: int, text: str) -> list[float]:
    stream = hashlib.shake_256(b"\x20\x00" + secret.key + text.encode()).digest(8 * count)
    words = [int.from_bytes(stream[8 * i : 8 * i + 8], "little") >> 12 for i in range(count)]
    return [(word + 0.5) / 2**52 for word in words]


def learned(sampling: str, kind: str = "additive", draws: int = 3) -> LearnedNoise:
    made = LearnedNoise((2, 2), kind, sampling, draws, 0.5)  # type: ignore[arg-type]
    made.purpose = "here"
    for name, buffer in made.named_buffers():
        if name != "unit":
            count = len(buffer)
            buffer.copy_(torch.arange(4.0 * count).view(count, 2, 2) + (name == "factor"))
    return made


def test_a_row_takes_the_tensor_that_its_share_points_at() -> None:
    """Of three tensors: below 1/3 the first, below 2/3 the second, else the third."""
    made, z = learned("collection"), torch.zeros(5, 2, 2)
    draw = Given(torch.tensor([[0.0], [0.33], [0.34], [0.67], [0.999999]]))
    found = made(z, draw)
    assert [int(row[0, 0]) // 4 for row in found] == [0, 0, 1, 2, 2]
    assert draw.asked == ["normal here which"]
    assert draw.shapes == [(5, 1)]
    assert [int(row[0, 0]) // 4 for row in made(z[:1], Given(torch.tensor([[1.0]])))] == [2]
    two = learned("collection", draws=2)(z[:2], Given(torch.tensor([[0.4], [0.6]])))
    assert [int(row[0, 0]) // 4 for row in two] == [0, 1]


def test_of_one_tensor_nothing_is_drawn() -> None:
    for made in (learned("tensor"), learned("collection", draws=1)):
        draw = Given(torch.tensor([[0.5]]))
        assert torch.equal(made(torch.zeros(2, 2, 2), draw)[1], made.noise[0])
        assert draw.asked == []


def test_a_distribution_draws_its_elements_under_a_purpose_of_their_own() -> None:
    made, z = learned("distribution", "both", draws=1), torch.ones(2, 2, 2)
    u = torch.tensor([0.1, 0.3, 0.6, 0.8]).view(2, 2)
    draw = Given(u)
    place = torch.zeros(2, dtype=torch.int64)
    noise, factor = (
        resample(tensors, place, u.expand(2, 2, 2)) for tensors in (made.noise, made.factor)
    )
    assert torch.allclose(made(z, draw), 1 + factor + noise)
    assert draw.asked == ["normal here noise", "normal here factor"]
    assert not torch.allclose(noise[0], made.noise[0])


@pytest.mark.parametrize("sampling", ["tensor", "collection", "distribution", "prior"])
def test_a_half_feature_is_answered_in_halves(sampling: str) -> None:
    made = learned(sampling)
    made.unit.fill_(0.5)
    answer = made(torch.ones(1, 2, 2).half(), FreeDraw(generator(0)))
    assert answer.dtype == torch.float16
    tensors = torch.rand(1, 4)
    drawn = resample(tensors, torch.tensor([0]), torch.rand(1, 4, dtype=torch.float64))
    assert drawn.dtype == torch.float32


def test_the_prior_is_laplace_in_units_of_the_feature() -> None:
    made, u = learned("prior", "both"), torch.tensor([0.05, 0.25, 0.75, 0.95]).view(2, 2)
    z = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    one = 0.5 * standard_laplace(u)
    made.unit.fill_(2.0)
    draw = Given(u)
    assert torch.allclose(made(z, draw), z * (1 + one) + 2 * one)
    assert draw.asked == ["normal here noise", "normal here factor"]
    made.unit.fill_(0.5)
    assert torch.allclose(made(z, Given(u)), z * (1 + one) + 0.5 * one)
    made.unit.fill_(0.0)
    assert torch.allclose(made(z, Given(u)), z * (1 + one) + z.std() * one)
    assert sorted(made.state_dict()) == ["unit"]


def test_each_kind_keeps_its_tensors() -> None:
    for kind, names in (
        ("additive", ["noise"]),
        ("multiplicative", ["factor"]),
        ("both", ["factor", "noise"]),
    ):
        made = LearnedNoise((2, 2), kind, "collection", 3, 0.5)  # type: ignore[arg-type]
        shapes = {k: tuple(v.shape) for k, v in made.state_dict().items() if k != "unit"}
        assert shapes == dict.fromkeys(names, (3, 2, 2))
        assert tuple(made.unit.shape) == ()
        assert float(made.unit) == 0
        assert all(float(buffer.abs().max()) == 0 for buffer in made.buffers())
    assert LearnedNoise((2,), "additive", "tensor", 5, 0.5).draws == 1
    assert LearnedNoise((2,), "additive", "prior", 5, 0.5).draws == 0


def test_a_distribution_is_drawn_anew_in_the_learned_order() -> None:
    """Median 2, mean distance 1.1 from it: 2 + sorted Laplace numbers, in the order of size.

    The uniform numbers are not alike around 1/2: drawn with the other sign they would be others.
    """
    base = torch.tensor([[3.0, 1.0, 2.0, 4.0, 0.5]])
    u = torch.tensor([[0.95, 0.6, 0.15, 0.3, 0.75]])
    spread = float((base - 2).abs().mean())
    numbers = (2 + spread * standard_laplace(u.sort().values))[0]
    wanted = numbers[torch.tensor([3, 1, 2, 4, 0])]
    assert torch.allclose(resample(base, torch.tensor([0]), u)[0], wanted, atol=1e-6)


def test_scaling_comes_before_adding() -> None:
    z = torch.tensor([[2.0]])
    both = {"noise": torch.tensor([[1.0]]), "factor": torch.tensor([[0.5]])}
    assert float(perturb(z, both)) == 4
    assert torch.equal(perturb(z, {}), z)
