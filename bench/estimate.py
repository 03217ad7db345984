"""How long a sweep takes and how much memory: from a few steps at the actual size, before it.

Measured is what costs most: training victim and judge, `decoder` and `rmle` at up to three split
points (those between are interpolated), and the start of a process. Other attacks, and training
with a defence of several networks, are named as not counted.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from adversary.budget import learned_passes
from adversary.decoder import Decoder
from adversary.inverse_network import InverseNetwork
from adversary.matching import Settings, match_features
from adversary.pairs import KEPT_BYTES
from adversary.rmle import RMLE
from adversary.rmle_choice import LEARNING_RATES, TV_WEIGHTS
from bench.judge import RECIPE as JUDGE
from bench.point import make_attack
from bench.recipe import SweepConfig
from bench.victim import learns
from defenses import Stack
from splitlab.contracts import ArchSpec, FeatureSpec, InputSpec
from splitlab.models import Normalised, build
from splitlab.split import SplitPoint, cut
from splitlab.split.folding import fold_batch_norm
from splitlab.training import choose_device

COUNTED = ("decoder", "rmle", "mean-image")
"""Attacks whose time is known here; the last takes none."""
UNCOUNTED = ("loading", "the capture", "scoring", "the latency at the end")
"""Of every sweep; together more than half of the time where images are large."""
ROWS, MEASURED_POINTS = 8, 3


@dataclass(frozen=True)
class Estimate:
    """Of what is to be done.

    Args:
        points: attacks on split points and wires.
        seconds: of everything that is counted.
        memory_bytes: of this process at its highest.
        not_counted: what else takes time, in words.
    """

    points: int
    seconds: float
    memory_bytes: int
    not_counted: tuple[str, ...] = ()

    def told(self) -> str:
        """One line."""
        minutes = self.seconds / 60
        time_words = f"{self.seconds:z.0f} seconds" if minutes < 2 else f"{minutes:z.0f} minutes"
        besides = f", not counting {', '.join(self.not_counted)}" if self.not_counted else ""
        memory = f"{self.memory_bytes / 2**30:z.1f} GiB"
        return f"{self.points} points, about {time_words}{besides}, about {memory} of memory"


def estimate(
    config: SweepConfig,
    stack: Stack,
    chosen: Sequence[SplitPoint],
    arch: ArchSpec,
    *,
    pending: int,
    plans: Sequence[str],
    pairs: int,
    trains: bool,
    judges: bool,
) -> Estimate:
    """Of a sweep on this machine as busy as it is now.

    Args:
        chosen: its split points.
        pending: points that have no record yet, of all split points, wires and plans.
        plans: the attack of each plan.
        pairs: images that the adversary learns from.
        trains, judges: whether a victim and the judge are still to be trained.
    """
    place = choose_device(config.device)
    net = build(arch, seed=0).to(place)
    rows = config.train_images
    seconds = 0.0
    if trains and not learns(config, stack):
        batch = config.victim.batch_size
        seconds += train_seconds(net, batch, arch, place) * config.victim.epochs * rows
    if judges:
        name = "tiny_vit" if config.model == "tiny_cnn" else "tiny_cnn"
        judge = ArchSpec(name=name, classes=arch.classes, input=InputSpec(size=config.size))
        seconds += train_seconds(build(judge, seed=0).to(place), 32, judge, place) * (
            JUDGE.epochs * rows
        )
    shares = [_at(chosen, n) for n in range(len(chosen))]
    measured = {
        n: point_seconds(config, plans, chosen[n], net, pairs, place)
        for n in {n for left, right, _ in shares for n in (left, right)}
    }
    each = [measured[a] * (1 - share) + measured[b] * share for a, b, share in shares]
    cells = len(chosen) * len(config.on_each_wire)
    part = pending / max(1, cells * len(plans))
    seconds += part * len(config.on_each_wire) * sum(each)
    seconds += part * cells * 2 * start_seconds()  # a server and a client
    widest = max((point.bytes_per_image for point in chosen), default=0)
    pixels = (config.victims + pairs + rows) * 3 * config.size**2
    kept = min(KEPT_BYTES, widest * pairs) + 5 * pixels
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    missing = [f"attack {name}" for name in dict.fromkeys(plans) if name not in COUNTED]
    if learns(config, stack):
        missing.insert(0, f"training with {config.defense}")
    missing += UNCOUNTED if pending else ()
    return Estimate(pending, seconds, int(peak + kept), tuple(missing))


def train_seconds(net: nn.Module, batch: int, arch: ArchSpec, place: torch.device) -> float:
    """Seconds an image of training takes: forwards, backwards and a step."""
    net = net.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-6)
    pixels = torch.rand(batch, *arch.input.shape, device=place)
    labels = torch.zeros(batch, dtype=torch.int64, device=place)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(net(pixels), labels).backward()
        optimizer.step()

    taken = _seconds(step) / batch
    net.eval()
    return taken


def point_seconds(
    config: SweepConfig,
    plans: Sequence[str],
    split: SplitPoint,
    net: Normalised,
    pairs: int,
    place: torch.device,
) -> float:
    """Seconds that all plans take at one split point, on one wire."""
    shape = (3, config.size, config.size)
    head = fold_batch_norm(cut(net, split.name, None, shape).head.requires_grad_(False))
    head = head.to(place).to(memory_format=torch.channels_last)
    pixels = torch.rand(ROWS, *shape, device=place)
    with torch.no_grad():
        feature = head(pixels)
    total = 0.0
    for name in plans:
        attack = make_attack(name, config.attack_options.get(name, {}))
        if isinstance(attack, Decoder):
            total += _decoder(attack, pixels, feature, pairs)
        elif isinstance(attack, RMLE):
            one = _seconds(lambda: _descend(head, feature, InputSpec(size=config.size))) / 2 / ROWS
            effort = attack.effort(config.size)
            trials = (attack.learning_rate is None) * len(LEARNING_RATES)
            trials += (attack.tv is None) * len(TV_WEIGHTS)
            images = config.attacked.get(name, config.victims)
            total += one * (
                effort.steps * images + trials * effort.choose_steps * effort.choose_images
            )
    return total


def _decoder(attack: Decoder, pixels: torch.Tensor, feature: torch.Tensor, pairs: int) -> float:
    size = pixels.shape[-1]
    spec = FeatureSpec(shape=tuple(feature.shape[1:]))
    net = InverseNetwork(spec, size, attack.width, attack.depth).to(pixels.device)
    net.standardise(feature)
    net.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-6)
    batch = min(attack.batch_size, 4 * ROWS) if size <= 64 else ROWS
    seen, truth = (t.repeat(-(-batch // ROWS), 1, 1, 1)[:batch] for t in (_map(feature), pixels))
    seen = seen.reshape(batch, *feature.shape[1:])

    def step() -> None:
        optimizer.zero_grad()
        F.mse_loss(net(seen), truth).backward()
        optimizer.step()

    epochs, rows = attack.epochs, pairs
    if "epochs" not in attack.model_fields_set:
        epochs, rows = learned_passes(epochs, pairs, size)
    return _seconds(step) / batch * epochs * rows


def _map(feature: torch.Tensor) -> torch.Tensor:
    return feature.reshape(len(feature), -1, 1, 1)


def _descend(
    head: Callable[[torch.Tensor], torch.Tensor], z: torch.Tensor, given: InputSpec
) -> None:
    settings = [Settings(2, 0.1, 0.0, 0.0, True)] * len(z)
    match_features(head, z, settings, given, torch.Generator().manual_seed(0))


def start_seconds() -> float:
    """Seconds that one process of ours takes to start."""
    began = time.perf_counter()
    words = [sys.executable, "-c", "import torch, splitlab.models, edge_client.cli"]
    subprocess.run(words, check=False, capture_output=True)
    return time.perf_counter() - began


def _seconds(work: Callable[[], None], most: float = 0.5) -> float:
    """The fastest of up to three runs after a first one; that one where it outlasts `most`."""
    began = time.perf_counter()
    work()
    first = time.perf_counter() - began
    if first > 2 * most:
        return first
    best, spent = float("inf"), 0.0
    for _ in range(3):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
        spent += best
        if spent > most:
            break
    return best


def _at(chosen: Sequence[SplitPoint], place: int) -> tuple[int, int, float]:
    """The measured points on either side of one, and how far it lies towards the second."""
    last = len(chosen) - 1
    count = min(MEASURED_POINTS, len(chosen))
    known = sorted({round(n * last / max(1, count - 1)) for n in range(count)})
    left = max(n for n in known if n <= place)
    right = min(n for n in known if n >= place)
    return left, right, (place - left) / (right - left) if right > left else 0.0
