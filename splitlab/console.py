"""What every command line shares: one console, and errors shown without a traceback."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from splitlab.errors import SplitLabError, plain, visible

P = ParamSpec("P")
R = TypeVar("R")


class VisibleConsole(Console):
    """Shows control characters of whatever is printed, and lets none of them steer the terminal;
    colours and moves that rich makes itself are no text and pass.
    """

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for part in super().render(renderable, options):
            yield part if part.control else Segment(visible(part.text), part.style)


console = VisibleConsole(highlight=False)
errors = VisibleConsole(stderr=True, highlight=False, soft_wrap=True)


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Show a `SplitLabError` as one `error:` line and exit with its code; Ctrl-C exits with 130."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except SplitLabError as error:
            errors.print(f"error: {error}", style="bold red", markup=False)
            raise typer.Exit(error.exit_code) from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            told = f"error: {where} = {first['input']!r}: {plain(first['msg'])}"
            errors.print(told, style="bold red", markup=False)
            raise typer.Exit(2) from error
        except BrokenPipeError:
            sys.stderr.close()
            raise typer.Exit(0) from None
        except OSError as error:
            told = f"error: {error.filename or 'the system'}: {error.strerror or error}"
            errors.print(told, style="bold red", markup=False)
            raise typer.Exit(2) from error
        except KeyboardInterrupt as error:
            errors.print("interrupted; what is finished is kept, start again to continue")
            raise typer.Exit(130) from error

    return run
