"""The rules that hold for every defence, each a function of what is tried: one path for all tests.

A rule that is broken raises `AssertionError` with a sentence.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from defenses.parts.prepare import Order, prepare
from defenses.parts.stack import Stack, protect
from defenses.parts.testing.small_order import CLASSES, images, small_order
from splitlab.contracts import Defense
from splitlab.deployment import ClientHalf, ServerHalf, write_deployment
from splitlab.deployment.halves import Halves
from splitlab.named import named_fields
from splitlab.randomness import FreeDraw, KeyedDraw, Secret, generator
from splitlab.storage import read_tensors
from splitlab.training import TrainRecipe

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""What `--defense NAME:field=value+NAME` can say."""
HEAD_END = "block2"


class DefenseRule(NamedTuple):
    """One rule on one defence; `check` raises `AssertionError` where it is broken."""

    name: str
    check: Callable[[], None]


def defense_rules(
    kind: type[Defense], options: Mapping[str, Any] | None = None, head_end: str = HEAD_END
) -> list[DefenseRule]:
    """Every rule on a defence, a package's or the lab's own.

    Args:
        kind: the defence; `DEFENSES.load(name)` for a registered one.
        options: its fields, under which it takes little time: it is trained once.
        head_end: where the tiny CNN is cut.
    """
    tried = _Tried(kind, dict(options or {}), head_end)
    rules = (
        says_what_it_is,
        its_text_gives_it_back,
        the_feature_keeps_its_form,
        another_batching_changes_nothing,
        it_draws_afresh_where_it_says_so,
        an_adversary_can_model_it,
        a_deployment_answers_as_in_memory,
        the_server_is_given_bodies_alone,
    )
    return [DefenseRule(rule.__name__.replace("_", " "), partial(rule, tried)) for rule in rules]


@dataclass(eq=False)
class _Tried:
    """One defence with a network that was trained for it; what was made is kept."""

    kind: type[Defense]
    options: dict[str, Any]
    head_end: str

    @cached_property
    def stack(self) -> Stack:
        return Stack([self.kind.model_validate(self.options)])

    @cached_property
    def order(self) -> Order:
        recipe = TrainRecipe(epochs=1, batch_size=16)
        return small_order(head_end=self.head_end, images=images(32), recipe=recipe)

    @cached_property
    def halves(self) -> Halves:
        return prepare(self.stack, self.order)

    @property
    def feature(self) -> Tensor:
        """z of 8 images; a fresh tensor each time."""
        head = self.halves.head  # trained outside of inference mode
        with torch.inference_mode():
            return head(images(8).floats("cpu")).clone()

    def sent(self, feature: Tensor, request: str, first_row: int = 0) -> Tensor:
        """z' of a request."""
        with torch.inference_mode():
            draw = KeyedDraw(self.order.secret, request, first_row)
            return protect(self.halves.protectors, feature, draw)

    def parse(self, text: str) -> Stack:
        """Of this defence alone, whether it is registered or not."""
        fields = named_fields(text)[1]
        return Stack([] if text == "none" else [self.kind.model_validate(fields)])

    @contextmanager
    def deployed(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "deployment"
            write_deployment(
                folder,
                self.halves,
                defended=self.stack,
                secret=self.order.secret,
                classes=CLASSES,
            )
            yield folder


def _require(holds: object, told: str) -> None:
    if not holds:
        raise AssertionError(told)


def says_what_it_is(tried: _Tried) -> None:
    """A name that can be typed, and a source."""
    _require(hasattr(tried.kind, "name"), "it does not say its name")
    _require(
        NAME.fullmatch(tried.kind.name),
        f"{tried.kind.name!r} cannot be typed: wanted letters, digits, - and _ alone",
    )
    _require(tried.kind.source.strip(), "it names no source")


def its_text_gives_it_back(tried: _Tried) -> None:
    """What stands in a deployment and in a record is the same defence again."""
    text = tried.stack.spec
    _require(tried.parse(text) == tried.stack, f"{text!r} gives {tried.parse(text).spec!r}")


def the_feature_keeps_its_form(tried: _Tried) -> None:
    """z' has z's shape and type, is finite, and z itself is left as it was."""
    feature = tried.feature
    before = feature.clone()
    sent = tried.sent(feature, "request")
    _require(sent.shape == before.shape, f"{tuple(before.shape)} becomes {tuple(sent.shape)}")
    _require(sent.dtype == before.dtype, f"{before.dtype} becomes {sent.dtype}")
    _require(sent.isfinite().all(), "it sends values that are NaN or infinite")
    _require(torch.equal(feature, before), "it wrote into the feature that it was given")


def another_batching_changes_nothing(tried: _Tried) -> None:
    """A request sends the same, cut into micro-batches or not, at the first try or the second."""
    feature = tried.feature
    whole = tried.sent(feature, "request")
    _require(torch.equal(whole, tried.sent(feature, "request")), "a retry sends other bytes")
    parts = [tried.sent(feature[row : row + 1], "request", row) for row in range(len(feature))]
    apart = (torch.cat(parts) - whole).abs().max()
    _require(
        apart <= 1e-6 * whole.abs().max().clamp_min(1e-12),
        f"sent row by row it differs by {float(apart):g}: draw from `draw`, row by row",
    )


def it_draws_afresh_where_it_says_so(tried: _Tried) -> None:
    """Two requests with the same images differ on the wire if and only if it is stochastic."""
    feature = tried.feature
    differs = not torch.equal(tried.sent(feature, "one"), tried.sent(feature, "other"))
    _require(
        differs == tried.stack.stochastic,
        f"stochastic is {tried.stack.stochastic}, and two requests "
        f"{'differ' if differs else 'are the same'}",
    )


def an_adversary_can_model_it(tried: _Tried) -> None:
    """Its fresh form, made without any secret, acts on a feature of the same shape."""
    feature = tried.feature
    blank = Secret(bytes(32))
    model: nn.ModuleList = tried.stack.as_fresh().protectors(tuple(feature.shape[1:]), blank)
    with torch.inference_mode():
        believed = protect(model, feature, FreeDraw(generator(0)))
    _require(believed.shape == feature.shape, f"it becomes {tuple(believed.shape)}")
    _require(believed.isfinite().all(), "it becomes NaN or infinite")


def a_deployment_answers_as_in_memory(tried: _Tried) -> None:
    """After the disk, through the two halves, under the same draw: the same logits, bit by bit."""
    pixels, request = images(8).floats("cpu"), "request"
    with tried.deployed() as folder, torch.inference_mode():
        client = ClientHalf.load(folder / "client", tried.parse)
        server = ServerHalf.load(folder / "server")
        draw = KeyedDraw(client.secret, request)
        z = client.protect(client.head(pixels), draw)
        logits = client.tail(client.select([body(z) for body in server.bodies], draw))
        wanted = tried.halves.logits(pixels, KeyedDraw(client.secret, request), tried.stack)
    _require(client.defended.spec == tried.stack.spec, f"it comes back as {client.defended.spec}")
    _require(logits.shape == (8, len(CLASSES)), f"logits of shape {tuple(logits.shape)}")
    _require(logits.isfinite().all(), "logits that are NaN or infinite")
    _require(torch.equal(logits, wanted), "the two halves answer otherwise than in memory")


def the_server_is_given_bodies_alone(tried: _Tried) -> None:
    """No tensor of the client half stands in the server's; constants aside."""
    with tried.deployed() as folder:
        private = read_tensors(folder / "client" / "weights.safetensors").values()
        files = list((folder / "server").glob("*.safetensors"))
        public = [value for path in files for value in read_tensors(path).values()]
    for value in public:
        if value.unique().numel() > 1:
            known = any(value.shape == o.shape and torch.equal(value, o) for o in private)
            _require(not known, f"a tensor {tuple(value.shape)} of the client is on the server")
    _require(len(files) == len(tried.halves.bodies), f"{len(files)} files for the bodies")
