"""Figures 2 and 3 of Ensembler (Liu and Xiong 2024, section 3): first and second split point."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.point.setup import Place, Scale
from bench.reproduce.ensembler.attacks import PIPELINES, SHORT
from bench.reproduce.ensembler.claims import LEAKAGE
from bench.reproduce.ensembler.study import EnsemblerStudy, ours
from bench.reproduce.frame.experiment import Claim, Experiment, Line

FLAT = 0.05
"""SSIM by which a second cut may change a reconstruction and still count as no help."""
FLAT_DB = 1.0
NOTES = (
    "One undefended network serves the whole grid: only the cuts differ. h counts from the input, "
    "t from the output; the adversary trains through what lies between and knows neither end.",
    "The ceiling is a decoder with queries at each h, t = 1: what that head still lets through.",
    "Literal is the paper's pipeline, strengthened has the captured features too.",
)
QUICK_NOTE = (
    "Quick scale: a smaller network of the same family on photo-patches, fewer cells. The literal "
    "attack is shortened: 1 epoch for 30, 16 channels for 64, the lab's decoder for one epoch."
)
VGG16 = (2, 5, 9, 12, 16, 19, 22, 26, 29, 32, 36, 39, 42)
"""Where the ReLU after convolution 1..13 stands in `features` of VGG-16 with batch norms."""
VGG11 = (2, 6, 10, 13, 17, 20, 24, 27)


@dataclass(frozen=True)
class CutGrid:
    """The cuts of a figure.

    Args:
        heads: h -> where the head ends.
        tails: t -> where the tail starts.
        order: h and t in the network's own units; a cell needs `order[head] < order[tail]`.
    """

    heads: Mapping[int, str]
    tails: Mapping[int, str]
    order: Sequence[str]

    def cells(self) -> list[tuple[int, int]]:
        """(h, t) of every cell that leaves a body between head and tail."""
        place = self.order.index
        return [
            (h, t)
            for h, head in self.heads.items()
            for t, tail in self.tails.items()
            if place(head) < place(tail)
        ]


def vgg_grid(relus: Sequence[int], heads: Sequence[int], tails: Sequence[int]) -> CutGrid:
    """Heads of the first h convolutions, tails of the last t layers, the linear one among them."""
    names = [f"features.{index}" for index in relus]
    ends = {1: "avgpool"} | {t: names[-t] for t in tails if t > 1}
    return CutGrid(
        {h: names[h - 1] for h in heads}, {t: ends[t] for t in tails}, [*names, "avgpool"]
    )


def resnet_grid(stem: str, stages: int, heads: Sequence[int], tails: Sequence[int]) -> CutGrid:
    """h = 1 is the stem, each further one a stage; t = 1 is the linear layer, then a stage each."""
    names = [stem, *(f"layer{number}" for number in range(1, stages + 1)), "avgpool"]
    ends = {1: "avgpool"} | {t: f"layer{stages + 1 - t}" for t in tails if t > 1}
    return CutGrid({h: names[h - 1] for h in heads}, {t: ends[t] for t in tails}, names)


def _figure(
    study: EnsemblerStudy, number: int, grid: CutGrid, changed: Mapping[str, Any] | None = None
) -> Experiment:
    cells = grid.cells()
    return study.experiment(
        f"figure{number}",
        f", Figure {number}",
        _lines(study, grid),
        setup=study.setup.model_copy(update=changed or {}),
        claims=tuple(_claims(cells, study.scale)),
        notes=study.told(NOTES, QUICK_NOTE),
        baseline=f"h{min(h for h, _ in cells)}-t1",
        gap="no body is left between head and tail",
    )


def _lines(study: EnsemblerStudy, grid: CutGrid) -> Iterator[Line]:
    def place(h: int, t: int) -> Place:
        return Place(f"h{h}-t{t}", "none", grid.heads[h], grid.tails[t])

    cells = grid.cells()
    for h, t in cells:
        cell = (f"h = {h}", f"t = {t}")
        yield from study.attacked(place(h, t), ", ".join(cell), "0", cell=cell)
    for h in sorted({h for h, t in cells if t == 1}):
        yield study.bounded(place(h, 1), f"h = {h}, t = 1")


def _claims(cells: Sequence[tuple[int, int]], scale: Scale) -> list[Claim]:
    """Deeper first cuts leak less; deeper second cuts change nothing."""
    found = []
    heads = sorted({h for h, t in cells if t == 1})
    for kind in PIPELINES:
        for metric in LEAKAGE:
            found.append(
                Claim(
                    f"{metric.upper()} at h = {heads[-1]} is below that at h = {heads[0]}, t = 1 "
                    f"({SHORT[scale][kind]})",
                    metric,
                    f"h{heads[-1]}-t1/0/{kind}",
                    "below",
                    f"h{heads[0]}-t1/0/{kind}",
                    otherwise="a deeper first cut hides nothing from this attack",
                )
            )
            for h in heads:
                deepest = max(t for one, t in cells if one == h)
                if deepest > 1:
                    found.append(
                        Claim(
                            f"A second cut at t = {deepest} changes {metric.upper()} at h = {h} by "
                            f"at most {FLAT if metric == 'ssim' else FLAT_DB:g} "
                            f"({SHORT[scale][kind]})",
                            metric,
                            f"h{h}-t{deepest}/0/{kind}",
                            "near",
                            f"h{h}-t1/0/{kind}",
                            margin=FLAT if metric == "ssim" else FLAT_DB,
                            otherwise="the second cut does change what leaks",
                        )
                    )
    return found


@ours
def figure2(study: EnsemblerStudy) -> Experiment:
    """Figure 2: VGG-16, heads of 1 to 8 convolutions, tails of 1 to 3 layers."""
    if study.scale == "quick":
        changed = {"model": "vgg11_cifar", "arguments": {"thinner": 4}}
        grid = vgg_grid(VGG11, (1, 2, 4), (1, 2))
    else:
        changed = {"model": "vgg16_cifar", "arguments": {}}
        grid = vgg_grid(VGG16, range(1, 9), (1, 2, 3))
    return _figure(study, 2, grid, {**changed, "head_end": grid.heads[1]})


@ours
def figure3(study: EnsemblerStudy) -> Experiment:
    """Figure 3: ResNet-18, heads from the stem on, tails of the linear layer and of stages."""
    quick = study.scale == "quick"
    tails = (1, 2) if quick else (1, 2, 3)
    grid = resnet_grid("relu" if quick else "maxpool", 3 if quick else 4, (1, 2, 3), tails)
    return _figure(study, 3, grid)
