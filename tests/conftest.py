"""One thread a process: the suite runs two processes side by side on two cores."""

import atexit
import functools
import gc
import os

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# How long a machine takes to make an example is no property of what is tested.
settings.register_profile("lab", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lab")

LONGEST = ("test_sweep.py", "test_reproduce_run.py", "test_many_servers.py")


def pytest_collection_modifyitems(items):
    """Files of one long fixture go first, or one process ends with them while the other is idle."""
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(LONGEST)))


def pytest_collection_finish():
    """What is loaded by now stays: torch alone is half a million objects to look through again."""
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)


@pytest.fixture(scope="module", autouse=True)
def _loaded_by_a_file_is_not_looked_through_again():
    """Nor is it by those who collect garbage between two steps, as the choice of an engine does."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _photo_patches_made_once():
    """A second of crops for each of a hundred tests; `tests/data/test_photo_patches.py` makes them
    anew.
    """
    from splitlab.data import photo_patches

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(photo_patches, "load", functools.lru_cache(maxsize=4)(photo_patches.load))
        yield


@pytest.fixture(scope="session", autouse=True)
def _commands_made_once():
    """A role's commands and options take as long to be made as a short command takes to run."""
    from typer import testing

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(testing, "_get_command", functools.cache(testing._get_command))
        yield


@pytest.fixture(scope="session", autouse=True)
def _light_nursery():
    """Tests have loaded torchvision and timm, which the networks that they serve hardly are of."""
    from bench.roles import nursery

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nursery, "ALSO", ())
        yield
