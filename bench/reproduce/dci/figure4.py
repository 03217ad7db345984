"""Figure 4 of DCI (Dong et al.): quality against depth, every block of one network inverted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from bench.point.setup import Place
from bench.reproduce.dci.setup import BLOCKS, blocks_of
from bench.reproduce.dci.study import DciStudy, movable
from bench.reproduce.frame.charts import Curve, Swept
from bench.reproduce.frame.experiment import Claim, Experiment, Line
from bench.reproduce.frame.extra import RankTable, perceived

ONE_TRAINING = (
    "The cycle's loss ends at block k, so that the inverses of a depth are those of a shallower "
    "adversary with more blocks behind them: one training serves every depth, each attacked by an "
    "adversary who knows the head that ends there and no layer behind it but the statistics that "
    "the synthetic images were made of. The paper also inverts the last linear layer, which is not "
    "measured here."
)


@movable
def figure4(study: DciStudy) -> Experiment:
    """DCI at every depth, with a decoder with queries at the shallowest, middle and deepest."""
    lines = tuple(_lines(study))
    keys = tuple(line.key for line in lines if line.attack == "DCI")
    return study.experiment(
        "figure4",
        ", Figure 4",
        lines,
        notes=study.told(ONE_TRAINING),
        claims=tuple(_claims(keys, paper=study.scale == "paper" and not study.target)),
        baseline=lines[0].of[0].place.name,
        tables=(
            RankTable("Does PSNR fall with depth?", "psnr", keys, "block 1 on"),
            perceived(),
        ),
        chart=Swept("blocks inverted", (Curve("DCI", tuple(enumerate(keys, 1))),), left="psnr"),
        timed=True,
    )


def _lines(study: DciStudy) -> Iterator[Line]:
    """A line for each block: of the scale's own network, or of the head that was named."""
    tail = study.setup.tail_start if study.target else None
    ends = blocks_of(study.setup) if study.target else BLOCKS[study.scale]
    for depth, end in enumerate(ends, 1):
        place = Place(f"block-{depth}", "none", end, tail)
        label = f"block {depth}" + (f", {end}" if study.target else "")
        yield Line(label, "DCI", (study.data_free(place, "dci", options={"cycle_to": "k"}),))
        if depth in (1, len(ends) // 2, len(ends)):
            yield Line(f"{label}: ceiling", "queries", (study.ceiling(place),))


def _claims(keys: Sequence[str], *, paper: bool) -> Iterator[Claim]:
    """What the paper sees in the curve."""
    if len(keys) < 2:
        return
    claim = partial(Claim, metric="psnr")
    yield claim(
        "The deepest block leaks less than the first",
        row=keys[-1],
        relation="below",
        than=keys[0],
        otherwise="depth hides nothing from this attack",
    )
    if paper:
        stride = "The first block with a stride costs PSNR"
        yield claim(stride, row=keys[1], relation="below", than=keys[0])
        plateau = "Blocks 8 to 16 are a plateau"
        yield claim(plateau, row=keys[15], relation="near", than=keys[7], margin=1.0)
        cliff = "The last block is a cliff"
        yield claim(cliff, row=keys[-1], relation="below", than=keys[-2], margin=2.0)
