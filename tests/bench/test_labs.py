"""A lab hands out what was made before: by another run, or before there was a cache."""

import json
import pickle
import shutil

import pytest
import torch
from records import record

from bench import executors
from bench.executors import InProcess, SideBySide, executor_for, recorded
from bench.point import judge as judges
from bench.point import victim as victims
from bench.point.cache.store import NAME, Cache
from bench.point.grants import GrantRequest
from bench.point.lab import Lab, Sources
from bench.point.measure import Plan, point_of
from bench.point.recipe import validated
from bench.point.run import Skipped
from defenses import Stack
from defenses.parts.prepare import Order, prepare
from splitlab.errors import BadInput, Unavailable
from splitlab.record import RecordStore
from splitlab.storage import read_json
from splitlab.training import Silent

FIELDS = {"model": "tiny_cnn", "train_images": 64, "victims": 8, "victim": {"epochs": 1}}


def point(split="block1", place="", **more):
    plan = Plan("mean-image", "undefended", GrantRequest(auxiliary=8))
    return point_of(validated(**{**FIELDS, **more}), split, plan, place)


def lab(folder, cache="cache", of=None, **more):
    """
    Args:
        of: a lab of the same data.
    """
    return Lab(
        home=folder,
        places=folder / "points",
        run=folder,
        cache=Cache(folder.parent / cache),
        sources=Sources("photo-patches", device="cpu", **more),
        splits=None if of is None else of.data(point()),
    )


@pytest.fixture
def trained(monkeypatch):
    """How often a network was trained, by name."""
    seen = []

    def spy(module, name):
        train = module.train_classifier

        def counted(*words, **named):
            seen.append(name)
            return train(*words, **named)

        monkeypatch.setattr(module, "train_classifier", counted)

    spy(victims, "victim")
    spy(judges, "judge")
    return seen


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A run that has trained its victim and its judge."""
    made = lab(tmp_path_factory.mktemp("runs") / "one")
    made.judge(point())
    return made, made.victim(point())


def test_two_runs_train_one_victim_and_one_judge(first, trained):
    made, victim = first
    other = lab(made.home.parent / "two", of=made)
    found = other.victim(point("block3", seed=0))
    assert found.facts == victim.facts
    assert other.judge(point("block3")).accuracy == made.judge(point()).accuracy
    assert other.victim(point("block3")) is found, "kept in memory"
    assert trained == []
    kinds = [one.kind for one in made.cache.entries()]
    assert kinds == ["judges", "victims"]
    for path in made.cache.folder.rglob("weights.safetensors"):
        assert path.stat().st_mode & 0o077 == 0, "it holds the head"


@pytest.mark.parametrize("change", [{"victim": {"epochs": 2}}, {"train_images": 65}])
def test_what_a_victim_depends_on_is_another_entry(first, change):
    made, _ = first
    other = lab(made.home.parent / "other")
    assert other.victim_folder(point(**change)) != other.victim_folder(point())
    assert other.victim_folder(point("block3", wire="INT8", queries=9)) == made.victim_folder(
        point()
    )


def test_a_cache_inside_its_run_is_listed_too(first, tmp_path):
    made, _ = first
    run = lab(tmp_path / "run", of=made)
    run.cache = Cache(run.home / NAME)
    shutil.copytree(made.victim_folder(point()), run.victim_folder(point()))
    (run.victim_folder(point()) / "entry.json").unlink()
    run.victim(point())
    (entry,) = run.cache.entries()
    assert (entry.kind, entry.what) == ("victims", "tiny_cnn on photo-patches, seed 0")


def test_a_run_that_was_begun_before_there_was_a_cache_is_continued(first, tmp_path, trained):
    made, victim = first
    old = lab(tmp_path / "old", cache="empty", of=made)
    shutil.copytree(made.victim_folder(point()), old.home / "victim")
    shutil.copytree(made.judge_folder(point()), old.home / "judge")
    assert old.victim(point()).facts == victim.facts
    old.judge(point())
    assert trained == []
    assert not old.cache.folder.exists()


def test_an_experiment_s_network_of_before_is_taken_too(first, tmp_path, trained):
    made, victim = first
    config, home = point(), tmp_path / "seed-0"
    splits = made.data(config)
    prepare(
        Stack([]),
        Order(
            arch=config.arch(len(splits.classes)),
            head_end="block1",
            tail_start=None,
            images=splits.train,
            recipe=config.victim,
            seed=config.seed,
            secret=made.secret,
            device="cpu",
            folder=home / "training" / "none",
        ),
    )
    found = lab(home, cache="empty", of=made).victim(config)
    assert trained == []
    # Trained in one way then as now.
    for name, value in found.net.net.state_dict().items():
        assert torch.equal(value, victim.net.net.state_dict()[name]), name


def test_a_secret_s_trainings_are_each_run_s_own_and_tell_nothing_of_it(first, tmp_path):
    config = point(defense="single:level=0.1")
    one, two = (lab(tmp_path / name, of=first[0], secret_seed=7) for name in ("one", "two"))
    folders = [run.training(config) for run in (one, two)]
    assert folders[0] != folders[1], "the same secret, and nothing says so"
    assert one.training(config) == folders[0], "the run itself finds it again"
    assert one.training(point("block3", defense="single:level=0.1")) != folders[0]
    with one.making_training(config):
        pass
    about = json.dumps(read_json(folders[0] / "entry.json"))
    assert one.secret.key.hex() not in about
    assert str(tmp_path) not in about
    old = tmp_path / "one" / "victims" / "block1"
    old.mkdir(parents=True)
    assert one.training(config) == old, "begun before there was a cache"


def test_a_deployment_of_other_data_or_another_defence_is_refused(first, tmp_path):
    made, _ = first
    run = lab(tmp_path / "run", of=made)
    run.cache = made.cache
    run.deployed(point(place="here"))
    again = lab(tmp_path / "run", of=made)
    with pytest.raises(BadInput, match="made for other data or another defence"):
        again.deployed(point(place="here", defense="gaussian:level=0.1"))
    again = lab(tmp_path / "run")
    with pytest.raises(BadInput, match="made for other data or another defence"):
        again.deployed(point(place="here", seed=1))


def test_a_lab_goes_to_another_process_without_what_it_keeps_in_memory(first):
    made, _ = first
    there = pickle.loads(pickle.dumps(made))
    assert there.home == made.home
    assert there._memo == {}
    assert made._memo


@pytest.mark.parametrize(
    ("workers", "places", "count"),
    [(1, "abcd", 1), (2, "abcd", 2), (8, "abc", 3), (0, "aaab", 1), (2, "aaab", 2), (2, "a", 1)],
)
def test_how_many_processes_share_the_points(workers, places, count):
    points = [point(place=name) for name in places]
    made = executor_for(workers, points, "cpu")
    assert made == SideBySide(count) if count > 1 else isinstance(made, InProcess)
    assert isinstance(executor_for(workers, points, "cpu", timed=True), InProcess)


def test_a_point_that_is_recorded_is_not_measured_again(first, tmp_path, monkeypatch):
    made, _ = first
    calls = []

    def measured(config, _lab, _progress):
        calls.append(config)
        raise Unavailable("no such thing")

    monkeypatch.setattr(executors, "run", measured)
    run = lab(tmp_path / "run", of=made)
    assert recorded(point(), run, Silent()) == Skipped("no such thing")
    there = _record(run, point())
    RecordStore(run.run).write(there)
    assert recorded(point(), run, Silent()) == there
    assert len(calls) == 1
    outcomes = list(InProcess().outcomes(run, [point(), point("block3")]))
    assert [found for _, found in outcomes] == [there, Skipped("no such thing")]


def _record(run, config):
    return record().model_copy(
        update={"hash": run.identity(config), "config": config.as_dict()}, deep=True
    )


def test_images_of_a_head_that_a_defence_changed_are_others(tmp_path):
    """An undefended head's serve whoever wants the same; another's are of its own secret."""
    here, there = lab(tmp_path / "one"), lab(tmp_path / "two")
    read = {name: here.read_by(point(defense=name)) for name in ("none", "gaussian", "random-head")}
    assert read["none"] == read["gaussian"] == there.read_by(point())
    assert read["random-head"] != read["none"]
    assert read["random-head"] != there.read_by(point(defense="random-head"))
    assert read["random-head"] == here.read_by(point(defense="random-head"))
    assert read["random-head"] != here.read_by(point("block2", defense="random-head"))
