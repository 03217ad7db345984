"""Run an experiment for every seed, continue what was begun, and show what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import defenses
from adversary.contract.attack import Attack
from bench.point import data_notes
from bench.point.measure import make_attack
from bench.point.own_network import require_same_network
from bench.point.setup import Scale, Setup
from bench.point.sights.base import At
from bench.reproduce.frame.clock import SeedClock
from bench.reproduce.frame.experiment import Experiment, Found, Skipped
from bench.reproduce.frame.page import write_page
from bench.reproduce.frame.request import ExperimentRequest, Shown, Target
from bench.reproduce.frame.seed_run import SeedRun
from bench.reproduce.frame.sights import sight_of_all
from bench.reproduce.frame.summary import summarise
from bench.reproduce.frame.table import rich_parts, write_csv
from splitlab.data import PARTITIONS, Splits
from splitlab.errors import BadInput, Unavailable
from splitlab.machine import commit
from splitlab.models import read_checkpoint
from splitlab.record import Record, RecordStore
from splitlab.storage import hash_tensors, read_json, require_writable, write_json
from splitlab.training import Work, choose_device

GIVEN_DATA = "The data were named with --dataset; the paper's numbers are of its own data."


class Framed:
    """An experiment of this frame, as the registry names it.

    Args:
        build: scale -> the experiment.
        moved: the same of another network or at other split points; None where it has its own.
    """

    UNUSED: ClassVar[tuple[str, ...]] = ("text_root",)
    """Options that it refuses, as they are of use to other experiments alone."""

    def __init__(
        self,
        build: Callable[[Scale], Experiment],
        moved: Callable[[Scale, Target], Experiment] | None = None,
    ) -> None:
        self.build, self._moved = build, moved

    def experiment(self, request: ExperimentRequest) -> Experiment:
        """What is asked for, at its own network or the one that was named.

        Raises:
            UnknownName, NotCuttable, BadInput: another network is named that is none, or that this
                experiment does not take.
        """
        if self._moved is not None and request.target:
            experiment = self._moved(request.scale, request.target)
        else:
            experiment = self.build(request.scale)
            request.refuse(experiment.name, "target")
        request.refuse(experiment.name, *self.UNUSED)
        return experiment

    def __call__(self, request: ExperimentRequest) -> Shown:
        """Run it; see `reproduce`."""
        return reproduce(self.experiment(request), request)


@dataclass(frozen=True)
class Begun:
    """An experiment that may run in the request's folder.

    Args:
        settings: what the folder is bound to.
        lacking: why nothing of this scale can be run here, or None.
    """

    experiment: Experiment
    request: ExperimentRequest
    settings: dict[str, Any]
    lacking: Skipped | None

    def run(self, seed: int) -> SeedRun | Skipped:
        """One seed with its data, or why there are none.

        Raises:
            BadInput: the data cannot be read, are too few, or have one class.
        """
        run = self.opened(seed)
        if isinstance(run, Skipped):
            return run
        require_same_network(run.folder, run.setup.arch(len(run.splits.classes)))
        write_json(self.request.out / "experiment.json", self.settings)
        adapted = _adapted(self.experiment.setup, run.setup)
        data_notes.show((*run.splits.notes, *adapted))
        data_notes.keep(run.folder, run.splits, adapted)
        return run

    def opened(self, seed: int) -> SeedRun | Skipped:
        """The same; nothing is written and nothing told."""
        experiment, request = self.experiment, self.request
        splits = self.lacking or _splits(experiment, request, seed)
        if isinstance(splits, Skipped):
            return splits
        setup = experiment.setup.counted(splits, adapt=request.dataset is not None)
        return SeedRun(experiment, setup, request, seed, splits, RecordStore(request.out))


def begin(experiment: Experiment, request: ExperimentRequest) -> Begun:
    """Check everything that can be checked before minutes are spent.

    Raises:
        UnknownName, BadInput: names, settings, or a folder of another experiment.
    """
    commit()  # of the code that was loaded, not of what the checkout becomes meanwhile
    if request.dataset is not None:
        setup = experiment.setup.model_copy(update={"dataset": request.dataset})
        notes = (*experiment.notes, GIVEN_DATA)
        experiment = replace(experiment, setup=setup, notes=notes)
    choose_device(request.device)
    check(experiment)
    if request.weights is not None:
        _require_untrained(experiment, request.weights)
    require_writable(request.out)
    settings = _settings(experiment, request)
    return Begun(experiment, request, settings, _lacking(experiment, request))


def reproduce(experiment: Experiment, request: ExperimentRequest) -> Shown:
    """Measure what is not measured yet, and write table, summary and page into `request.out`.

    Where the scale's data or a GPU are missing every row says `skipped (why)`.

    Raises:
        UnknownName, BadInput: names, settings, or a folder of another experiment.
        SplitLabError: a training, a process or an attack failed; what is finished is kept.
    """
    begun = begin(experiment, request)
    experiment, clock = begun.experiment, SeedClock(request.out)
    found: dict[int, dict[str, Record | Skipped]] = {}
    every = len(experiment.measurements)
    work: Work | None = None
    for seed in request.seeds:
        run = begun.run(seed)
        if isinstance(run, Skipped):
            found[seed] = {m.key: run for m in experiment.measurements}
            continue
        found[seed] = dict(run.finished())
        if work is not None:
            work.advance(len(found[seed]))
        elif len(found[seed]) < every:
            done = sum(map(len, found.values()))
            work = request.progress.task(experiment.name, every * len(request.seeds), done)
        clock.start()
        for key, outcome in run.missing():
            found[seed][key] = outcome
            clock.lap(seed)
            if work is not None:
                work.advance(1)
    if work is not None:
        work.close()
    return show(experiment, request, found, clock.seconds)


def show(
    experiment: Experiment,
    request: ExperimentRequest,
    found: Found,
    seconds: dict[str, float],
    told: tuple[str, ...] = (),
) -> Shown:
    """Everything that is derived from the records: `summary.json`, `table.csv`, `report.html`.

    Args:
        told: doubts beside those of the summary.
    """
    summary = summarise(experiment, found)
    summary = replace(summary, doubts=(*told, *summary.doubts))
    records = [r for own in found.values() for r in own.values() if isinstance(r, Record)]
    if records:
        RecordStore(request.out).derive(records)
    write_json(request.out / "summary.json", {**summary.as_dict(), "seconds": seconds})
    write_csv(request.out / "table.csv", summary)
    page = write_page(request.out, experiment, summary, records, seconds)
    return Shown(rich_parts(summary), page)


def _lacking(experiment: Experiment, request: ExperimentRequest) -> Skipped | None:
    """Why nothing of this scale can be run here, or None."""
    if not experiment.setup.dataset:
        return Skipped(
            "the data is not stated by the paper and not at hand: give --dataset imagefolder:PATH"
        )
    on_cpu = choose_device(request.device).type == "cpu"
    if experiment.scale == "paper" and request.device == "auto" and on_cpu:
        return Skipped("no GPU here; --device cpu runs it all the same, for days")
    return None


def _splits(experiment: Experiment, request: ExperimentRequest, seed: int) -> Splits | Skipped:
    """The data of one seed; at the paper's scale its own data set may be missing.

    Raises:
        BadInput: a data set that the user named cannot be read, or has one class.
    """
    setup, sight = experiment.setup, sight_of_all(experiment)
    try:
        splits: Splits = sight.splits(
            setup, seed, root=request.data_root, download=request.download
        )
    except (BadInput, Unavailable) as error:
        if request.dataset is None and experiment.scale == "paper":
            return Skipped(str(error))
        raise
    if len(splits.classes) < sight.LEAST_CLASSES:
        raise BadInput(
            f"--dataset {setup.dataset.partition(':')[0]}: all images are of one class "
            f"({splits.classes[0]}), there is no task to learn; give a folder for each class"
        )
    return splits


def _adapted(asked: Setup, there: Setup) -> list[str]:
    """In words, which numbers of images the data were too small for."""
    return [
        f"{getattr(there, part)} {part} images are all there are (this scale's own are {wanted})"
        for part in PARTITIONS
        if (wanted := getattr(asked, part)) is not None and wanted > getattr(there, part)
    ]


def check(experiment: Experiment) -> None:
    """Names and settings, before anything is loaded or trained.

    Raises:
        UnknownName, BadInput: an attack, defence or setting that is none, or an attack that cannot
            attack this network where it is cut.
    """
    setup = experiment.setup
    for place in experiment.places:
        stack = defenses.parse(place.defense)
        stack.check(place.tail_start or setup.tail_start)
    if not any(place.name == experiment.baseline for place in experiment.places):
        raise BadInput(f"{experiment.name}: nothing is measured at {experiment.baseline!r}")
    wanted: dict[At, list[tuple[Attack, frozenset[str]]]] = {}
    for one in experiment.measurements:
        attack = make_attack(one.attack, one.options)
        at = (one.place.head_end or setup.head_end, one.place.tail_start or setup.tail_start)
        wanted.setdefault(at, []).append((attack, one.knows))
    sight_of_all(experiment).check(setup, wanted)


def _require_untrained(experiment: Experiment, weights: Path) -> None:
    """
    Raises:
        BadInput: a defence of the experiment learns with the network; or no readable checkpoint.
    """
    for place in experiment.places:
        if any(defense.learns for defense in defenses.parse(place.defense).defenses):
            raise BadInput(
                f"--weights {weights}: {experiment.name} trains networks with {place.defense}; "
                "leave it out"
            )
    read_checkpoint(weights)


def _settings(experiment: Experiment, request: ExperimentRequest) -> dict[str, Any]:
    """What a run folder is bound to.

    Raises:
        BadInput: the folder holds another experiment, scale or setup.
    """
    setup = experiment.setup.model_dump(mode="json")
    setup["dataset"] = experiment.setup.dataset.partition(":")[0]
    now = {"experiment": experiment.name, "scale": experiment.scale, **setup}
    if request.weights is not None:
        now["weights"] = hash_tensors(read_checkpoint(request.weights))
    path = request.out / "experiment.json"
    was = read_json(path) if path.exists() else now
    if differing := sorted(k for k in {*was, *now} if was.get(k) != now.get(k)):
        first = differing[0]
        raise BadInput(
            f"{request.out} holds a run with {first} = {was.get(first)!r}, wanted is "
            f"{now.get(first)!r}; choose another --out"
        )
    return now
