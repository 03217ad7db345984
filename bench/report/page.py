"""What the pages of sweeps and experiments have in common."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from splitlab import __version__
from splitlab.record import Record


def missing_columns(records: Sequence[Record]) -> list[str]:
    """Each metric that could not be computed, and why."""
    return sorted({f"{n}: {v.why}" for r in records for n, v in r.leakage.items() if v.why})


def coded(text: str) -> Any:
    """Prose as HTML: what stands between backticks is code, all else is escaped."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def filled(template: str, **content: Any) -> str:
    """A page of `bench/templates` with its content, in the house's style; nothing is loaded."""
    import jinja2

    folder = files("bench") / "templates"
    loader = jinja2.FunctionLoader(lambda name: (folder / name).read_text("utf-8"))
    pages = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, loader=loader)
    pages.filters["code"] = coded
    style = jinja2.Environment(loader=loader).get_template("style.css").render()
    return pages.get_template(template).render(style=style, version=__version__, **content)
