"""`bench cache`: entries named by what determines them; listed, and removed while none is made."""

import json
import re
from pathlib import Path

import pytest
from filelock import Timeout
from typer.testing import CliRunner

from bench.cli import app
from bench.point.cache import store
from bench.point.cache.store import NAME, Cache, beside
from splitlab.errors import BadInput, UnknownName
from splitlab.storage import lock, write_bytes

KINDS = ("judges", "victims")


@pytest.fixture
def cache(tmp_path):
    """Two victims and a judge."""
    made = Cache(tmp_path / "cache")
    for kind, seed in (("victims", 0), ("victims", 1), ("judges", 0)):
        with made.making(kind, {"seed": seed}, f"one of seed {seed}") as place:
            write_bytes(place / "weights.safetensors", b"x" * (1 + seed) * 2**20)
    return made


def run(*words):
    done = CliRunner().invoke(app, ["cache", *map(str, words)], env={"COLUMNS": "120"})
    assert "Traceback" not in done.output
    return done


def test_a_name_is_of_all_that_determines_it(tmp_path, monkeypatch):
    made = Cache(tmp_path / "never")
    one = made.place("victims", {"a": 1, "b": 2})
    assert made.place("victims", {"b": 2, "a": 1}) == one
    assert made.place("victims", {"a": 1, "b": 3}) != one
    assert made.place("judges", {"a": 1, "b": 2}).name != one.name
    assert not made.folder.exists()
    monkeypatch.setattr(store, "METHOD_VERSION", 0)
    assert made.place("victims", {"a": 1, "b": 2}) != one


def test_it_lists_what_there_is_with_size_and_age(cache):
    done = run("--cache", cache.folder)
    assert done.exit_code == 0, done.output
    text = " ".join(done.output.split())
    assert re.search(r"victims \w{16} one of seed 1 2\.0 MiB \d+ s", text)
    assert "3 entries, 4.0 MiB" in text
    listed = json.loads(run("--cache", cache.folder, "--json").output)
    assert [one["kind"] for one in listed["entries"]] == ["judges", "victims", "victims"]
    assert all(one["age"] >= 0 and one["size"] > 2**20 for one in listed["entries"])
    assert listed["removed"] == []


def test_an_entry_goes_by_its_key_or_how_that_begins(cache):
    key = cache.place("victims", {"seed": 1}).name
    done = json.loads(run("--cache", cache.folder, "--remove", key[:12], "--json").output)
    assert [one["key"] for one in done["removed"]] == [key]
    assert key not in {one.key for one in cache.entries()}
    assert len(cache.entries()) == 2
    assert not list(cache.folder.rglob(f"{key}.lock"))


def test_a_kind_goes_and_everything_goes(cache):
    assert run("--cache", cache.folder, "--remove-kind", "victims").exit_code == 0
    assert [one.kind for one in cache.entries()] == ["judges"]
    done = run("--cache", cache.folder, "--remove-all")
    assert "removed 1" in done.output
    assert "the cache is empty" in done.output
    assert cache.entries() == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--remove", "zzz"], "unknown entry of the cache 'zzz'"),
        (["--remove-kind", "victim"], "unknown kind of entry in the cache 'victim'; nearest: vict"),
    ],
)
def test_what_is_not_there_is_refused_and_nothing_is_removed(cache, words, told):
    done = run("--cache", cache.folder, *words)
    assert done.exit_code == 2
    assert told in " ".join(done.output.split())
    assert len(cache.entries()) == 3
    nowhere = run("--cache", cache.folder / "nowhere")
    assert nowhere.exit_code == 2
    assert "there is no such folder" in nowhere.output


def test_a_beginning_that_several_have_is_refused(cache, monkeypatch):
    monkeypatch.setattr(store, "LETTERS", 64)
    names = {one.key for one in cache.entries()}
    (cache.folder / "victims" / next(iter(names))).parent.mkdir(exist_ok=True)
    twin = cache.folder / "judges" / (min(names)[:4] + "0" * 12)
    write_bytes(twin / store.ABOUT, b'{"what": "a twin", "begun": 1.0}')
    with pytest.raises(BadInput, match="2 entries begin with"):
        cache.named([min(names)[:4]])
    with pytest.raises(UnknownName):
        cache.named([""])


def test_what_is_being_made_is_not_removed(cache):
    place = cache.place("judges", {"seed": 0})
    with lock(place):
        done = run("--cache", cache.folder, "--remove-kind", "judges")
    assert done.exit_code == 2
    assert "is being made at this moment" in " ".join(done.output.split())
    assert (place / "weights.safetensors").exists()


def test_a_note_is_written_while_the_entry_is_held(cache, monkeypatch):
    """Else a removal between note and lock leaves an entry without one, or a note without one."""
    held, place = [], cache.place("generators", {"seed": 5})

    def checked(path, content, real=store.write_json):
        with pytest.raises(Timeout):
            lock(place).acquire(timeout=0)
        held.append(path.name)
        real(path, content)

    monkeypatch.setattr(store, "write_json", checked)
    with cache.making("generators", {"seed": 5}, "one of five") as folder:
        assert folder == place
        with pytest.raises(BadInput, match="being made at this moment"):
            cache.remove([one for one in cache.entries() if one.folder == place])
    assert held == [store.ABOUT]
    cache.remove([one for one in cache.entries() if one.folder == place])
    with cache.making("generators", {"seed": 5}, "one of five"):
        assert (place / store.ABOUT).exists(), "whoever waited makes it anew, with its note"


def test_what_has_no_note_is_listed_and_can_be_removed(cache):
    """As when somebody removed an entry between its note and its lock."""
    place = cache.place("judges", {"seed": 0})
    (place / store.ABOUT).unlink()
    assert "without a note" in " ".join(run("--cache", cache.folder).output.split())
    assert run("--cache", cache.folder, "--remove", place.name).exit_code == 0
    assert not place.exists()


def test_there_is_one_maker_after_a_removal(cache, monkeypatch):
    """A lock goes while it is held. Else one who waited for it and one who comes then both make."""
    place, seen = cache.place("judges", {"seed": 0}), []
    (entry,) = [one for one in cache.entries() if one.folder == place]
    unlink = Path.unlink

    def checked(path, missing_ok=False):
        if path.suffix == ".lock":
            with pytest.raises(Timeout):
                lock(place).acquire(timeout=0)
            seen.append(path.name)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", checked)
    cache.remove([entry])
    assert seen == [f"{place.name}.lock"]
    assert not list(place.parent.glob("*.lock"))


def test_a_damaged_entry_is_listed_and_can_be_removed(cache):
    place = cache.place("judges", {"seed": 0})
    (place / store.ABOUT).write_text("{")
    assert "damaged" in run("--cache", cache.folder).output
    assert run("--cache", cache.folder, "--remove", place.name).exit_code == 0
    assert not place.exists()


def test_by_default_it_is_beside_the_runs_and_in_the_run_where_nobody_may_write(
    tmp_path, monkeypatch
):
    assert beside(tmp_path / "runs" / "default").folder == tmp_path / "runs" / NAME
    assert not (tmp_path / "runs").exists()
    monkeypatch.setattr(store, "require_writable", _refuse(tmp_path))
    assert beside(tmp_path / "run").folder == tmp_path / "run" / NAME


def _refuse(folder):
    def refuse(place: Path):
        if place == folder:
            raise BadInput("read only")

    return refuse
