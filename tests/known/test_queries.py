"""Chosen-input queries pass through what the client does: its defence and its wire."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from deployed import SHAPE, client_of, deployed
from tables import distinct
from torch import Tensor, nn

from bench.point import grants
from bench.point.grants import query
from splitlab.contracts import Protector
from splitlab.deployment import ClientHalf
from splitlab.randomness import Secret
from splitlab.storage import read_tensors

IMAGES = distinct(10)


def raw(client: ClientHalf) -> Tensor:
    """z, before the defence and the wire."""
    with torch.no_grad():
        return client.head(IMAGES.floats())


def added(folder: Path, defense: str, linked: int = 1, **options: Any) -> Tensor:
    """What the answers to queries differ by from z."""
    client = client_of(deployed(folder, defense, **options))
    return query(client, IMAGES, linked) - raw(client)


def test_an_undefended_query_is_the_feature_of_each_image_in_order(tmp_path: Path) -> None:
    client = client_of(deployed(tmp_path))
    answers = query(client, IMAGES)
    assert tuple(answers.shape) == (10, *SHAPE)
    assert torch.equal(answers, raw(client))
    assert not answers.requires_grad


@pytest.mark.parametrize("wire", ["FP16", "BF16"])
def test_a_query_crosses_the_wire_s_codec(tmp_path: Path, wire: str) -> None:
    client = client_of(deployed(tmp_path, wire=wire))
    narrow = {"FP16": torch.float16, "BF16": torch.bfloat16}[wire]
    assert torch.equal(query(client, IMAGES), raw(client).to(narrow).float())
    assert not torch.equal(query(client, IMAGES), raw(client))


def test_a_query_over_int8_has_256_levels_an_image_and_channel(tmp_path: Path) -> None:
    client = client_of(deployed(tmp_path, wire="INT8"))
    answers, z = query(client, IMAGES), raw(client)
    step = (z.amax((2, 3)) - z.amin((2, 3))) / 255
    error = (answers - z).abs().amax((2, 3))
    assert bool((error <= 0.51 * step + 1e-6).all())
    assert float(error.max()) > 0
    level = (answers - answers.amin((2, 3), keepdim=True)) / step[..., None, None]
    assert torch.allclose(level, level.round(), atol=1e-2)


def test_fixed_gaussian_noise_is_the_client_s_own_on_every_row(tmp_path: Path) -> None:
    noise = added(tmp_path, "gaussian:level=0.5,draw=fixed", linked=3)
    kept = read_tensors(tmp_path / "client" / "weights.safetensors")["protectors.0.noise"]
    assert float(kept.std()) == pytest.approx(0.5, rel=0.1)
    assert torch.allclose(noise, kept.expand_as(noise), atol=1e-5)


@pytest.mark.parametrize("name", ["gaussian", "laplace"])
def test_fresh_noise_has_its_level_and_is_another_on_every_row(tmp_path: Path, name: str) -> None:
    noise = added(tmp_path, f"{name}:level=0.5")
    assert float(noise.std()) == pytest.approx(0.5, rel=0.03)
    assert float(noise.mean()) == pytest.approx(0, abs=0.02)
    correlation = torch.corrcoef(noise.flatten(1))
    assert float((correlation - torch.eye(10)).abs().max()) < 0.12
    # |n| / std is sqrt(2 / pi) on average for Gaussian noise and 1 / sqrt(2) for Laplace.
    share = float(noise.abs().mean() / noise.std())
    assert share == pytest.approx({"gaussian": 0.798, "laplace": 0.707}[name], abs=0.015)


def test_dropout_loses_the_stated_share_and_leaves_the_rest(tmp_path: Path) -> None:
    client = client_of(deployed(tmp_path, "dropout:level=0.3"))
    answers, z = query(client, IMAGES), raw(client)
    there = z != 0
    lost = there & (answers == 0)
    assert float(lost.sum() / there.sum()) == pytest.approx(0.3, abs=0.02)
    assert torch.equal(answers[~lost], z[~lost])
    assert not torch.equal(lost[0], lost[1])


def test_learned_noise_acts_on_queries(tmp_path: Path) -> None:
    one = added(tmp_path, "shredder:sampling=tensor", learned=0.75)
    assert torch.allclose(one, torch.full_like(one, 0.75), atol=1e-5)


def test_a_stack_acts_in_its_order(tmp_path: Path) -> None:
    """What dropout loses after the noise is exactly 0; noise after dropout leaves no 0."""
    fixed = "gaussian:level=0.5,draw=fixed"
    last = query(client_of(deployed(tmp_path / "a", f"{fixed}+dropout:level=0.5")), IMAGES)
    first = query(client_of(deployed(tmp_path / "b", f"dropout:level=0.5+{fixed}")), IMAGES)
    assert float((last == 0).float().mean()) == pytest.approx(0.5, abs=0.02)
    assert int((first == 0).sum()) == 0


def test_linked_queries_are_averaged(tmp_path: Path) -> None:
    """Of independent noise the mean of four has half the deviation; of fixed noise the same."""
    client = client_of(deployed(tmp_path, "gaussian:level=0.5"))
    z = raw(client)
    one, two, four = (query(client, IMAGES, linked) - z for linked in (1, 2, 4))
    assert float(four.std()) == pytest.approx(0.25, rel=0.03)
    second = 2 * two - one  # two is the mean of the first answer and this one
    assert float(second.std()) == pytest.approx(0.5, rel=0.03)
    correlation = torch.corrcoef(torch.stack([one.flatten(), second.flatten()]))[0, 1]
    assert abs(float(correlation)) < 0.03


def test_each_linked_answer_crosses_the_wire_by_itself(tmp_path: Path) -> None:
    """The mean of two halves need not be a half: it is averaged after the codec."""
    client = client_of(deployed(tmp_path, "gaussian:level=0.5", wire="FP16"))
    one, two = query(client, IMAGES), query(client, IMAGES, 2)
    assert torch.equal(one, one.half().float())
    assert not torch.equal(two, two.half().float())
    second = 2 * two - one
    assert torch.allclose(second, second.half().float(), atol=1e-6)


def test_pieces_of_a_query_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(deployed(tmp_path, "gaussian:level=0.5"))
    whole = query(client, IMAGES, 2)
    monkeypatch.setattr(grants, "ROWS", 4)
    assert torch.allclose(query(client, IMAGES, 2), whole, atol=1e-5)


class Notes(Protector):
    """Writes down under which id and row it was asked to draw."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, int, int]] = []

    def forward(self, feature: Tensor, draw: Any) -> Tensor:
        self.seen.append((draw.request_id, draw.first_row, len(feature)))
        return feature


def noted(folder: Path, linked: int, secret: Secret | None = None) -> list[tuple[str, int, int]]:
    client, notes = client_of(folder), Notes()
    client = dataclasses.replace(client, protectors=nn.ModuleList([notes]))
    query(dataclasses.replace(client, secret=secret or client.secret), IMAGES, linked)
    return notes.seen


def id_by_hand(key: bytes, label: str) -> str:
    """Two keyed hashes of eight bytes, little endian, each without its lowest bit."""
    texts = [f"request id\x1f{half}\x1f{label}".encode() for half in (0, 1)]
    digests = [hashlib.blake2b(text, key=key, digest_size=8).digest() for text in texts]
    return "".join(f"{int.from_bytes(digest, 'little') >> 1:016x}" for digest in digests)


def test_each_turn_has_an_id_of_its_own_that_follows_from_the_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grants, "ROWS", 4)
    seen = noted(deployed(tmp_path), 3)
    assert [(first, rows) for _, first, rows in seen] == [(0, 4), (4, 4), (8, 2)] * 3
    ids = list(dict.fromkeys(request_id for request_id, _, _ in seen))
    assert len(ids) == 3
    assert all(re.fullmatch("[0-9a-f]{32}", request_id) for request_id in ids)
    assert noted(tmp_path, 3) == seen
    assert ids == [id_by_hand(Secret.new(7).key, f"query\x1f{turn}") for turn in range(3)]
    others = {request_id for request_id, _, _ in noted(tmp_path, 3, Secret.new(8))}
    assert others.isdisjoint(ids)


def test_a_protector_draws_from_the_client_s_secret(tmp_path: Path) -> None:
    """Under another secret the same images are answered with other noise."""
    noise = added(tmp_path / "a", "gaussian:level=0.5", secret=Secret.new(1))
    other = added(tmp_path / "b", "gaussian:level=0.5", secret=Secret.new(2))
    again = added(tmp_path / "c", "gaussian:level=0.5", secret=Secret.new(1))
    assert torch.equal(noise, again)
    assert abs(float(torch.corrcoef(torch.stack([noise.flatten(), other.flatten()]))[0, 1])) < 0.03


def test_draws_reach_every_protector(tmp_path: Path) -> None:
    """Two layers of one kind draw apart: the variance of their sum is the sum of theirs."""
    noise = added(tmp_path, "gaussian:level=0.3+gaussian:level=0.4")
    assert float(noise.std()) == pytest.approx(0.5, rel=0.03)
