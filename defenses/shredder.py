"""Noise that is learned beside a frozen network (Mireshghallah et al. 2020, "Shredder: Learning
Noise Distributions to Protect Inference Privacy", ASPLOS; Ensembler's row "Shredder").
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from defenses.parts.frozen import Frozen, Protect, frozen
from defenses.parts.kept import Kept
from defenses.parts.learned_noise import PARTS, LearnedNoise, NoiseKind, Sampling, perturb
from defenses.parts.noise import standard_laplace
from defenses.parts.prepare import Finishes, Order
from splitlab.contracts import Defense
from splitlab.contracts.ranges import Epochs, LearningRate, Weight
from splitlab.deployment.halves import Halves
from splitlab.errors import BadInput
from splitlab.pieces import in_pieces
from splitlab.randomness import FreeDraw, KeyedDraw, Secret, generator
from splitlab.split import part_state
from splitlab.storage import canonical_json, hash_tensors, sha256
from splitlab.training import Batch, Loss, State, choose_device, fit, objective

LaplaceScale = Annotated[
    float, Field(gt=0, le=100, description="Laplace scale b at the start, in deviations of z")
]
Draws = Annotated[int, Field(ge=1, le=1_000, description="how many noise tensors are learned")]
SavedNoise = Mapping[str, Tensor] | nn.ParameterDict
"""{"noise", "factor" or both: [*feature_shape]}."""
MEASURED = 1024
"""Training images by which the feature's deviation and the facts are measured."""


class Shredder(Finishes, Defense):
    """The network is trained first, without noise; then it is frozen and the noise learns.

    Each tensor begins as Laplace(0, `scale`) and descends CE - `coefficient` * mean|noise|: it
    grows where the network does not mind. Noise is counted in standard deviations of the feature
    (all elements of z alike), so that the same fields serve at any split point; a factor w = 1 + m
    is relative by itself. Settings of others, in their own units: ASPLOS and the author's second
    version Laplace(0, 20), Adam 1e-3, up to 40 epochs and 1,000 draws; GLASS 10 epochs, weight
    0.001, 666 draws; SIMBA's noise is in no optimiser and never learned. The author's second
    version draws factors around 0 (Xavier); here they begin around 1, so that the frozen network
    still sees its feature.

    What is measured of it is in the facts: objective, accuracy on training images and in vivo
    privacy 1/SNR, before, after and as deployed. With these defaults the noise outgrows the feature
    many times over; it is then far from a Laplace distribution, so that `sampling=distribution`
    wants a smaller coefficient (0.05) or loses the accuracy. Defences after the bodies are not
    active while the noise learns.

    Args:
        kind: "additive" (z + n), "multiplicative" (z * w) or "both" (z * w + n).
        scale: b of the Laplace distribution at the start; its deviation is sqrt(2) * b.
        coefficient: weight of the noise's mean magnitude in the objective.
        epochs: passes over the training images for each tensor.
        learning_rate: of Adam, in deviations of the feature.
        draws: tensors learned, each from a start and in an order of its own.
        sampling: how a row comes by its noise, see `LearnedNoise`; of "tensor" the draw of the
            lowest objective is kept.
    """

    name: ClassVar[str] = "shredder"
    source: ClassVar[str] = "Mireshghallah et al. 2020, ASPLOS, arXiv:1905.11814"
    owns: ClassVar[frozenset[str]] = frozenset({"learned noise"})

    kind: NoiseKind = "additive"
    scale: LaplaceScale = 1.0
    coefficient: Weight = 0.5
    epochs: Epochs = 2
    learning_rate: LearningRate = 0.05
    draws: Draws = 2
    sampling: Sampling = "collection"

    @property
    def stochastic(self) -> bool:
        return self.sampling in ("distribution", "prior") or (
            self.sampling == "collection" and self.draws > 1
        )

    def as_fresh(self) -> Self:
        """The start of the learning, drawn for every row: where it led, the spec does not tell."""
        return self.model_copy(update={"sampling": "prior"})

    def protector(self, feature_shape: tuple[int, ...], secret: Secret) -> LearnedNoise:
        del secret  # the noise is drawn where it is learned
        return LearnedNoise(feature_shape, self.kind, self.sampling, self.draws, self.scale)

    def finish(self, halves: Halves, order: Order) -> Halves:
        """Learn the noise on `halves`, whose network stays as it is bit by bit.

        Raises:
            BadInput: `halves` were made for another stack, or their feature is constant.
            Mismatch: `order.folder` holds noise that was learned on another network.
        """
        place, blank = _place(halves)
        protector = copy.deepcopy(blank)
        run = self._run(halves, order)
        kept = Kept(order.folder, self.name, run)
        if (found := kept.read()) is not None:
            tensors, facts = found
            protector.load_state_dict(tensors)
        else:
            started, device = time.perf_counter(), choose_device(order.device)
            with frozen(halves, place, device) as network:
                lessons = _Lessons(self, network, order, device, run)
                facts = lessons.learn(protector.to(device))
            protector.to("cpu")
            facts["seconds"] = round(time.perf_counter() - started, 2)
            kept.write(protector.state_dict(), facts)
            lessons.tidy()
        protectors = nn.ModuleList(halves.protectors)
        protectors[place] = protector
        facts = {**halves.facts, self.name: facts}
        return dataclasses.replace(halves, protectors=protectors, facts=facts)

    def _run(self, halves: Halves, order: Order) -> dict[str, Any]:
        """What the learned noise is bound to."""
        parts = [halves.head, *halves.bodies, halves.tail]
        return {
            "settings": self.model_dump(mode="json"),
            "network": [hash_tensors(part_state(part)) for part in parts],
            "recipe": order.recipe.model_dump(mode="json"),
            "seed": order.seed,
            "secret": order.secret.derive("which run learned noise belongs to").key.hex(),
            "images": order.images.hash,
        }


class _Lessons:
    """One learning: the settings, the frozen network, and images to measure by."""

    def __init__(
        self,
        settings: Shredder,
        network: Frozen,
        order: Order,
        device: torch.device,
        run: dict[str, Any],
    ) -> None:
        self.settings, self.network, self.order, self.device = settings, network, order, device
        self.run = sha256(canonical_json(run))
        some = order.images.take(MEASURED, order.seed)
        self.pixels, self.labels = some.floats(device), some.labels.to(device)
        rows = order.recipe.batch_size
        with torch.no_grad():
            self.features = in_pieces(
                lambda part: network.feature(part, self._draw()), self.pixels, rows
            )
        self.unit = self.features.std()
        if not self.unit > 0:
            raise BadInput(
                "shredder: the feature is the same number everywhere, noise has no scale; train "
                "the network for longer or choose another split point"
            )

    def learn(self, protector: LearnedNoise) -> dict[str, Any]:
        """Fill `protector`; what the learning did, for the record."""
        protector.unit.copy_(self.unit)
        starts = [self._start(k) for k in range(self.settings.draws if protector.draws else 0)]
        ends, losses = [], []
        for number, start in enumerate(starts):
            noise = nn.ParameterDict({k: v.clone() for k, v in start.items()}).to(self.device)
            losses.append(self._descend(noise, number))
            ends.append({k: v.detach() for k, v in noise.items()})
        before, after = ([self._measure(noise) for noise in made] for made in (starts, ends))
        kept = list(range(len(ends)))
        if self.settings.sampling == "tensor":
            kept = [min(kept, key=lambda k: after[k]["objective"])]
        for name in PARTS[self.settings.kind] if kept else ():
            tensors = torch.stack([self._absolute(ends[k])[name] for k in kept])
            protector.get_buffer(name).copy_(tensors)
        return {
            "unit": float(self.unit),
            "kept": len(kept),
            "losses": losses,
            "before": _mean([before[k] for k in kept]),
            "after": _mean([after[k] for k in kept]),
            "accuracy_without": self._score(lambda z: z)["accuracy"],
            "as_deployed": self._score(lambda z: protector(z, self._draw())),
        }

    def _start(self, number: int) -> dict[str, Tensor]:
        """Draw `number` in relative units, from the secret: {"noise", "factor": [*shape]}."""
        source = KeyedDraw(self.order.secret.derive("shredder"), f"draw {number}")
        like = torch.empty(1, *self.features.shape[1:])
        scale, kind = self.settings.scale, self.settings.kind
        return {
            name: (scale * standard_laplace(source.uniform(like, name))[0]).to(self.device)
            for name in PARTS[kind]
        }

    def _descend(self, noise: nn.ParameterDict, number: int) -> list[float]:
        """Learn one draw in place; mean loss of each epoch."""
        rng = torch.Generator()
        recipe, settings = self.order.recipe, self.settings

        def step(_state: State, batch: Batch) -> dict[str, Loss]:
            draw = FreeDraw(rng)
            feature = self.network.feature(batch.images, draw)
            logits = self.network.logits(perturb(feature, self._absolute(noise)), draw)
            term = -settings.coefficient * magnitude(noise)
            return {"noise": objective(logits, batch.targets(logits.shape[1]), 0.0, term)}

        optimizer = torch.optim.Adam(noise.parameters(), lr=settings.learning_rate)
        history = fit(
            step,
            State({"noise": noise}, {"noise": optimizer}, generators={"draw": rng}),
            self.order.images,
            epochs=settings.epochs,
            batch_size=recipe.batch_size,
            seed=self.order.seed + number,
            device=self.device,
            augment=recipe.augment,
            checkpoint=self._checkpoint(number),
            progress=self.order.progress,
            name=f"shredder: noise {number + 1} of {settings.draws}",
        )
        return history.losses.get("noise", [])

    def _checkpoint(self, number: int) -> Path | None:
        """A file that continues draw `number`, and that of no other run."""
        if self.order.folder is None:
            return None
        return self.order.folder / f"shredder-{self.run[:16]}-{number}.pt"

    def tidy(self) -> None:
        """Remove the checkpoints; called when what they led to is kept."""
        for number in range(self.settings.draws):
            if (path := self._checkpoint(number)) is not None:
                path.unlink(missing_ok=True)

    def _absolute(self, noise: SavedNoise) -> dict[str, Tensor]:
        """Relative noise in the units of the feature."""
        return {k: v * self.unit if k == "noise" else v for k, v in noise.items()}

    def _measure(self, noise: dict[str, Tensor]) -> dict[str, float]:
        """Objective, 1/SNR and accuracy in % of one draw on some training images."""
        found = self._score(lambda z: perturb(z, self._absolute(noise)))
        size = float(magnitude(noise))
        found["objective"] = found["loss"] - self.settings.coefficient * size
        return {**found, "magnitude": size}

    @torch.no_grad()
    def _score(self, protect: Protect) -> dict[str, float]:
        """Loss, accuracy in % and in vivo privacy 1/SNR = Var(z' - z) / mean(z^2)."""
        loss, hits, draw = 0.0, 0, self._draw()
        signal = float(self.features.square().mean())
        differences = []
        rows = self.order.recipe.batch_size
        for feature, labels in zip(self.features.split(rows), self.labels.split(rows), strict=True):
            noisy = protect(feature)
            differences.append((noisy - feature).float())
            logits = self.network.logits(noisy, draw)
            loss += float(F.cross_entropy(logits, labels, reduction="sum"))
            hits += int((logits.argmax(1) == labels).sum())
        count = len(self.labels)
        return {
            "loss": loss / count,
            "accuracy": 100.0 * hits / count,
            "inverse_snr": float(torch.cat(differences).var()) / signal,
        }

    def _draw(self) -> FreeDraw:
        return FreeDraw(generator(self.order.seed, "shredder", "measure"))


def magnitude(noise: SavedNoise) -> Tensor:
    """Mean |noise| in relative units, over all elements of each tensor and then over tensors."""
    return torch.stack([value.abs().mean() for value in noise.values()]).mean()


def _place(halves: Halves) -> tuple[int, LearnedNoise]:
    for index, protector in enumerate(halves.protectors):
        if isinstance(protector, LearnedNoise):
            return index, protector
    raise BadInput("shredder: the halves have no place for its noise; make them with its stack")


def _mean(found: list[dict[str, float]]) -> dict[str, float]:
    return {key: sum(one[key] for one in found) / len(found) for key in found[0]} if found else {}
