"""Names that a flag gives are looked up before torch is loaded: an unknown one is refused at once.

The lab's own stand in dict literals, those of installed packages in their entry points, and those
of torchvision and timm in the text of their files.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from splitlab import completion, entry_points
from splitlab.errors import UnknownName
from splitlab.named import named_fields, stacked

_REGISTERED = re.compile(r"^@register_model\b.*\n(?:@.*\n)*def (\w+)", re.MULTILINE)


def known(place: tuple[str, str]) -> list[str]:
    """The names of a registry; of one that is loaded already, its own word.

    Args:
        place: as in `splitlab.completion`: where they stand, and the group of entry points.
    """
    module, _, variable = place[0].partition(":")
    if module in sys.modules:
        return list(getattr(sys.modules[module], variable))
    return [*completion.literal(place[0]), *(entry_points.entries(place[1]) if place[1] else ())]


def require_known(kind: str, given: Iterable[str], place: tuple[str, str]) -> None:
    """
    Args:
        kind: of names, in the words of an error.

    Raises:
        UnknownName: one of them is in no registry.
    """
    for name in given:
        if name not in (names := known(place)):
            raise UnknownName(kind, name, names)


def require_attack(text: str) -> None:
    """
    Raises:
        UnknownName: no attack is called so.
        BadInput: a text that `splitlab.named` cannot read.
    """
    require_known("attack", [named_fields(text)[0]], completion.ATTACKS)


def require_recipe(text: str) -> None:
    """
    Raises:
        UnknownName: no recipe of a training is called so.
        BadInput: a text that `splitlab.named` cannot read.
    """
    require_known("recipe", [named_fields(text)[0]], completion.RECIPES)


def require_defence(text: str) -> None:
    """
    Raises:
        UnknownName: a part of the stack is no defence.
        BadInput: a text that `splitlab.named` cannot read.
    """
    names = [named_fields(part)[0] for part in stacked(text)]
    require_known("defence", names, completion.DEFENCES)


def require_dataset(text: str) -> None:
    """
    Raises:
        UnknownName: no data set is called so.
    """
    require_known("dataset", [text.partition(":")[0]], completion.DATASETS)


def require_network(text: str) -> None:
    """Let pass what may be a network of a user's own, or a word in a library's files.

    Raises:
        UnknownName: it is none of the lab's, of a package's, of torchvision's or of timm's.
    """
    name, _, rest = text.strip().partition(":")
    home, _, bare = name.rpartition("/")
    own = known(completion.NETWORKS)
    if name in own or "." in name or (rest and "=" not in rest.partition(":")[0]):
        return
    homes = [home] if home else ["torchvision", "timm"]
    texts = [text for one in homes for text in _sources(one)]
    if any(re.search(rf"\b{re.escape(bare)}\b", text) for text in texts):
        return
    libraries = {one: _REGISTERED.findall("\n".join(_sources(one))) for one in homes}
    found = [*own, *(f"{one}/{found}" for one, names in libraries.items() for found in names)]
    plain = [] if home else [one.rpartition("/")[2] for one in found]
    raise UnknownName("model", name, dict.fromkeys([*found, *plain]))


@cache
def _sources(library: str) -> tuple[str, ...]:
    """The files of a library in which networks are registered; none where it is not installed."""
    try:
        spec = importlib.util.find_spec(library)
    except (ImportError, ValueError):
        return ()
    folders = (spec.submodule_search_locations or ()) if spec is not None else ()
    files = [path for folder in folders for path in Path(folder, "models").glob("*.py")]
    return tuple(path.read_text(encoding="utf-8", errors="replace") for path in sorted(files))
