"""A user's own code: imported where the operator names it, never because a file says so.

`permit` is what `--import package.module` and `--model package.module:factory` do. A deployment, a
grant or a record may say `package.module:factory`; nothing of it is imported before that.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import operator
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from splitlab.errors import BadInput, NotImported, UnknownName, foreign

_MODULE = re.compile(r"[^\W\d][\w-]*(\.[^\W\d][\w-]*)*")
_ATTRIBUTE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_permitted: dict[str, ModuleType] = {}
_stream = threading.RLock()


def parted(text: str) -> tuple[str, str] | None:
    """ "package.module:factory" -> its two halves; None for a text of another form."""
    module, colon, attribute = text.partition(":")
    whole = _MODULE.fullmatch(module) and colon and _ATTRIBUTE.fullmatch(attribute)
    return (module, attribute) if whole else None


def permitted() -> tuple[str, ...]:
    """Modules that the operator of this process has named."""
    return tuple(_permitted)


def import_words() -> list[str]:
    """The words by which another process is allowed the same: ["--import", "package.module"]."""
    return [word for name in _permitted for word in ("--import", name)]


def there(module: str) -> bool:
    """Whether a module without a package is to be found, here or among what is installed."""
    _search_here()
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def permit(*modules: str) -> None:
    """Import modules of the operator's own, the working directory's before installed ones.

    Raises:
        BadInput: a name that is none, no such module, or one that fails while it is imported.
    """
    for name in modules:
        if name not in _permitted:
            _require_name(name)
            _search_here()
            _permitted[name] = imported(name)


def own_object(name: str) -> Any:
    """What stands behind "package.module:factory".

    Raises:
        NotImported: the operator has not named the module; nothing was imported.
        UnknownName: the module has nothing of that name.
        BadInput: it belongs to another package, which nobody has named.
    """
    both = parted(name)
    assert both is not None, name
    module, attribute = both
    if module not in _permitted:
        raise NotImported(name, module, permitted())
    home = _permitted[module]
    try:
        if "__" in attribute:
            raise AttributeError(attribute)
        found = operator.attrgetter(attribute)(home)
    except AttributeError as error:
        public = [key for key, value in vars(home).items() if key[0] != "_" and callable(value)]
        raise UnknownName(f"factory of module {module!r}", attribute, public) from error
    owner = _home_of(found)
    if owner and owner.partition(".")[0] != module.partition(".")[0]:
        raise BadInput(
            f"{name} is a part of {owner}, not of {module}; a file could call all that a module "
            f"has imported: write a function in {module} that calls it"
        )
    return found


@contextlib.contextmanager
def aside() -> Iterator[None]:
    """What foreign code prints goes to standard error: standard output is for the command.

    One thread at a time, as the stream is one of the whole process.
    """
    with _stream, contextlib.redirect_stdout(sys.stderr):
        yield


def _home_of(found: Any) -> str:
    """The module that defines a callable; "" where it does not say."""
    while hasattr(found, "func") and not hasattr(found, "__name__"):  # functools.partial
        found = found.func
    home = getattr(found, "__module__", None)
    return home if isinstance(home, str) else ""


def _search_here() -> None:
    """As `python -m` does: a console script looks beside itself instead."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()


def _require_name(name: str) -> None:
    if not _MODULE.fullmatch(name):
        own = parted(name)
        meant = f"--import {own[0]}" if own else "the name of a module, such as package.module"
        raise BadInput(f"--import {foreign(name, 120)!r} names no module: give {meant}")


def imported(name: str) -> ModuleType:
    """A module of somebody's own, imported.

    Raises:
        BadInput: there is none, or it fails; in one line.
    """
    try:
        with aside():
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (error.name == name or name.startswith(f"{error.name}.")):
            raise BadInput(
                f"there is no module {error.name!r} for {name}, neither in {Path.cwd()} nor among "
                "what is installed; start in the folder that holds it, or install its package"
            ) from error
        raise BadInput(failed(f"importing {name}", error)) from error
    except (Exception, SystemExit) as error:
        raise BadInput(failed(f"importing {name}", error)) from error


def failed(what: str, error: BaseException) -> str:
    """One line: what failed, where in the foreign code, and its own words."""
    words = " ".join(str(error).split())
    trace, place = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith("<"):
            place = f" ({Path(file).name}, line {trace.tb_lineno})"
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename:
        place = ""  # its words say where
    why = type(error).__name__ + (f": {foreign(words, 300)}" if words else "")
    return f"{what} failed: {why}{place}; mend it and start again"
