"""DCI (Dong et al., "Privacy Vulnerability of Split Computing to Data-Free Model Inversion
Attacks"): each block of the head gets an inverse module; images to learn from are made of the batch
norms; an attack is one forward pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from adversary.contract.attack import Attack, Preset, seed_of
from adversary.contract.believed import believed
from adversary.contract.threat import AuxImages, ThreatModel
from adversary.contract.workplace import ALONE, Estimator, Workplace
from adversary.inversion.dci.chain import Block, Normalising, chain, grouped
from adversary.inversion.dci.images import made_images
from adversary.inversion.dci.inverse_blocks import inverse_of
from adversary.inversion.dci.lessons import Lessons
from adversary.inversion.dci.shelf import Shelf
from adversary.inversion.dci.training import InverseSchooling, divide_and_conquer, end_to_end
from adversary.synthesis.batch_norm_gap import BatchNormGap
from adversary.synthesis.character import character
from adversary.synthesis.settings import SynthesisSettings, fitting
from adversary.synthesis.synthesis import Known
from splitlab.contracts import Estimate, Features, InputSpec
from splitlab.contracts.ranges import BatchSize, Epochs, LearningRate, Steps, Weight
from splitlab.errors import BadInput
from splitlab.pieces import in_pieces
from splitlab.storage import hash_tensors

PIECE = 128
SAMPLE = 512
"""Of the images, to say what they are like."""


class DCI(Attack):
    """White box on the head, data-free: no image of the adversary's own is looked at by default.

    Args:
        data: "synthetic" images, or the adversary's "own", to see what real ones would add.
        images: how many are made or taken, at most.
        synthesis: preset of `SynthesisSettings`; "auto" is the lab's own for small images, and the
            published one ("dci") from 128 pixels on (`synthesis_settings.fitting`). DeepInversion's
            ("yin2020...") draw images to classes, too, for which head, body and tail must be
            granted.
        synthesis_steps, synthesis_batch, synthesis_start: in place of the preset's; images that
            start from "natural" noise serve better than the papers' "white".
        epochs, learning_rate: of phase A, an inverse alone; the rate falls to 0 as a cosine.
        tune_epochs, tune_rate: of phase B, all inverses up to it; 0 epochs leave it out.
        layer, image, cycle: weights of the three losses; the paper's are 1.
        cycle_to: the cycle's loss goes on to the feature ("L", equation 3) or ends at block "k".
        divided: False trains all inverses at once for as many steps, as a rival.
        grouped: residual blocks of a stage are one block, as the paper has them for ResNet-50.
    """

    name: ClassVar[str] = "dci"
    source: ClassVar[str] = "Dong et al., DCI, section 3, equations 1 to 4"
    shares: ClassVar[bool] = True
    asks: ClassVar[Mapping[str, frozenset[str]]] = {
        "undefended": frozenset({"head"}),
        "adaptive": frozenset({"head", "defense"}),
        "unaware": frozenset({"head"}),
    }
    presets: ClassVar[Mapping[str, Preset]] = {
        "no-cycle": Preset({"cycle": 0.0}, "ablation: no cycle consistency"),
        "no-layer": Preset({"layer": 0.0}, "ablation: no loss of a layer"),
        "greedy": Preset({"tune_epochs": 0}, "ablation: phase A alone"),
        "end-to-end": Preset({"divided": False}, "ablation: all blocks at once"),
    }

    data: Literal["synthetic", "own"] = "synthetic"
    images: Annotated[int, Field(ge=2, le=1_000_000, description="to learn from")] = 512
    synthesis: Literal["auto", "yin2020", "yin2020-cifar", "dci"] = "auto"
    synthesis_steps: Steps | None = None
    synthesis_batch: BatchSize | None = None
    synthesis_start: Literal["white", "natural"] | None = None
    epochs: Epochs = 40
    learning_rate: LearningRate = 1e-3
    tune_epochs: Epochs = 40
    tune_rate: LearningRate = 1e-4
    batch_size: Annotated[int, Field(ge=2, le=65536, description="two, for batch norms")] = 64
    layer: Weight = 1.0
    image: Weight = 1.0
    cycle: Weight = 1.0
    cycle_to: Literal["L", "k"] = "L"
    divided: bool = True
    grouped: bool = False

    @classmethod
    def learning_from(cls, options: Mapping[str, Any], count: int) -> dict[str, Any]:
        """All of them, unless the options want fewer."""
        if options.get("data", "own") != "own":
            raise BadInput(
                f"attack {cls.name!r}, data={options['data']!r}: images to learn from are given; "
                "leave data out, or do not give any"
            )
        return {"images": count, **options, "data": "own"}

    def check(self, threat: ThreatModel) -> None:
        who = f"attack {self.name!r}"
        threat.need("arch", who)
        given: InputSpec = threat.need("input", who)
        if self.data == "synthetic" and self._synthesis(given.size).statistics:
            BatchNormGap(Known.of(threat).modules)

    def fit(self, threat: ThreatModel, rng: torch.Generator, work: Workplace = ALONE) -> Estimator:
        place, seed = work.place, seed_of(rng)
        given: InputSpec = threat.need("input", f"attack {self.name!r}")
        mean, std = (
            torch.tensor(v, device=place).view(1, -1, 1, 1) for v in (given.mean, given.std)
        )
        found = chain(threat, f"attack {self.name!r}")
        blocks = [
            block._replace(module=block.module.to(place))
            for block in (grouped(found) if self.grouped else found)
        ]
        blocks[0] = blocks[0]._replace(module=Normalising(blocks[0].module, mean, std))
        learned, origin = self._images(threat, seed, work)
        images = learned.to(place)
        lessons = Lessons.of(
            blocks,
            images,
            believed(threat, blocks[-1].made),
            prepare=lambda pixels: (pixels.float() / 255 - mean) / std,
        )
        inverses = self._inverses(blocks, lessons, seed, place)
        like = character(images[:SAMPLE].cpu())
        told = self._train(threat, blocks, inverses, lessons, seed, work)
        facts: dict[str, object] = {
            **origin,
            "images_are": like,
            "blocks": [block.name for block in blocks],
            "losses": told,
            "from_shelf": len(blocks) - len(told) if self.divided else 0,
            "parameters": sum(p.numel() for one in inverses for p in one.parameters()),
        }

        def image_of(value: Tensor) -> Tensor:
            for inverse in reversed(inverses):
                value = inverse(value)
            return (value * std + mean).clamp(0, 1).float()

        def reconstruct(observed: Features) -> Estimate:
            with torch.inference_mode():
                found = in_pieces(image_of, observed.features, PIECE, place)
            return Estimate(found.clone(), [], dict(facts))

        return reconstruct

    def _train(
        self,
        threat: ThreatModel,
        blocks: Sequence[Block],
        inverses: list[nn.Module],
        lessons: Lessons,
        seed: int,
        work: Workplace,
    ) -> list[dict[str, float]]:
        """In place; what is on the shelf beside the checkpoint is taken from there."""
        seed, schooling = seed % 2**31, self._schooling()
        made = hash_tensors({"images": lessons.inputs})
        work = work.beside(made[:8])  # phases are of these images, wherever they were made
        if not self.divided:
            return end_to_end(inverses, lessons, schooling, seed=seed, work=work)
        shelf = None
        if work.checkpoint is not None:
            about = {
                "attack": self.model_dump(mode="json"),
                "input": threat.need("input").model_dump(mode="json"),
                "images": made,
                "seed": seed,
            }
            clear = threat.defense is None and threat.protectors is None
            clear = clear and threat.wire in (None, "FP32")
            folder = work.checkpoint.with_name("blocks")
            shelf = Shelf(folder, about, blocks, schooling.whole_cycle, clear)
        return divide_and_conquer(inverses, lessons, schooling, seed=seed, work=work, shelf=shelf)

    def _schooling(self) -> InverseSchooling:
        return InverseSchooling(
            self.epochs,
            self.learning_rate,
            self.tune_epochs,
            self.tune_rate,
            self.batch_size,
            self.layer,
            self.image,
            self.cycle,
            self.cycle_to == "L",
        )

    def _images(
        self, threat: ThreatModel, seed: int, work: Workplace
    ) -> tuple[Tensor, dict[str, Any]]:
        """uint8 [N, 3, S, S], and where they come from; made ones are kept beside the checkpoint.

        Raises:
            BadInput: the head has no batch norm, too few images of the adversary's own, or a loss
                of classes without the whole network.
        """
        if self.data == "own":
            own: AuxImages = threat.need("aux", f"attack {self.name!r} with data=own")
            if len(own.images) < 2:
                raise BadInput(f"attack {self.name!r} has {len(own.images)} images to learn from")
            taken = own.images.take(min(self.images, len(own.images)), 0).images
            return taken, {"learned_from": f"{len(taken)} {own.word} images", **own.facts}
        known = Known.of(threat)
        settings = self._synthesis(known.input.size)
        if settings.classes and not known.whole:
            raise BadInput(
                f"attack {self.name!r}, synthesis={self.synthesis!r}: its loss of classes needs "
                "head, one body and tail; grant them, or take synthesis=dci, which has no such loss"
            )
        made, told = made_images(known, settings, self.images, seed, work)
        return made, {"learned_from": f"{len(made)} synthetic images", "making": told}

    def _synthesis(self, size: int) -> SynthesisSettings:
        """For images of a side of `size` pixels."""
        own = {
            "steps": self.synthesis_steps,
            "batch_size": self.synthesis_batch,
            "start": self.synthesis_start,
        }
        given = {name: value for name, value in own.items() if value is not None}
        _, settings = fitting({"preset": self.synthesis, **given}, size)
        least = min(settings.batch_size, self.images)
        return settings.model_copy(update={"batch_size": least})

    def _inverses(
        self, blocks: Sequence[Block], lessons: Lessons, seed: int, place: torch.device
    ) -> list[nn.Module]:
        levels = lessons.levels(torch.arange(min(PIECE, len(lessons)), device=place))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return [
                inverse_of(block, level, image=number == 0).to(place)
                for number, (block, level) in enumerate(zip(blocks, levels, strict=False))
            ]
