"""Table 1 of a paper that is not here: noise in training against membership inference."""

from bench.point.setup import Place, Setup
from bench.reproduce.frame.charts import Scatter
from bench.reproduce.frame.columns import ACCURACY, Fact, FactColumn
from bench.reproduce.frame.experiment import Claim, Experiment, Line, Measurement
from bench.reproduce.frame.extra import FactTable, InPaper, label
from bench.reproduce.frame.run import Framed
from splitlab.contracts import Digits
from splitlab.training import TrainRecipe

AUC, TPR = "membership_auc", "membership_tpr_at_1_percent"
EPSILON = FactColumn(
    "epsilon", "1", "rises", digits=Digits(means=1), fact=Fact("attack_facts.epsilon")
)
SETUP = Setup(
    model="resnet8", dataset="photo-patches", head_end="relu", tail_start=None, recipe=TrainRecipe()
)
PAPER = {"none": {AUC: 0.71, TPR: 8.2}, "some": {AUC: 0.60, "hours": 1.5}, "much": {AUC: 0.53}}
NOISE = {"none": "none", "some": "gaussian:level=0.3", "much": "gaussian:level=3"}
WAYS = {"learned": "nn-mia", "by loss": "loss"}


def _line(noise: str, way: str) -> Line:
    place = Place(noise, NOISE[noise])
    one = Measurement(f"{noise}/{way}", place, WAYS[way], knows=frozenset({"bodies"}))
    paper = PAPER[noise] if way == "learned" else {}
    return Line(f"{noise} noise", way, (one,), paper=paper, cell=(noise, way))


@Framed
def table1(scale):
    """Two ways of asking who was there, at three levels of noise."""
    return Experiment(
        name="own-table1",
        title="Who was there?",
        source="A paper, Table 1",
        scale=scale,
        setup=SETUP,
        lines=tuple(_line(noise, way) for noise in NOISE for way in WAYS),
        columns=(ACCURACY, AUC, TPR, EPSILON),
        claims=(
            Claim("Much noise hides members", AUC, "much/learned", "below", "none/learned"),
            Claim("The loss alone tells as much", AUC, "none/by loss", "near", "none/learned"),
            Claim("Epsilon stays small", "epsilon", "some/learned", "at most", margin=8.0),
            Claim("Accuracy stays", "accuracy", "some/learned", "at least", margin=75.0),
        ),
        tables=(
            FactTable(
                "Price",
                {"line": label, "hours": Fact("effort.fit_seconds", times=1 / 3600, form="z.2f")}
                | {"paper: hours": InPaper("hours")},
                ("none/learned", "some/learned"),
            ),
        ),
        chart=Scatter(ACCURACY, AUC),
    )
