"""What every command line shares: one console, and errors shown without a traceback.

Nothing that is printed is markup: file names, peers' words and `splitlab[onnxruntime]` have
brackets of their own. Styles are given beside the text.
"""

from __future__ import annotations

import functools
import itertools
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from splitlab.errors import SplitLabError, plain, visible
from splitlab.freed_memory import keep_freed_memory
from splitlab.help_sections import write_commands, write_sections
from splitlab.surroundings import drop_output, encodable, prepare
from splitlab.tables import fitted, needed

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


JSON_OPTION = "as_json"
"""The argument by which a command is asked for one JSON document; see `splitlab.answers`."""


class VisibleConsole(Console):
    """Shows control characters of whatever is printed, and lets none of them steer the terminal;
    colours and moves that rich makes itself are no text and pass. Brackets and colons stay as they
    are, and what the terminal has no letters for is written out.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, **options})

    @contextmanager
    def answering(self, as_json: bool) -> Iterator[None]:
        """While the block lasts, everything is printed on standard error where `as_json` is set."""
        before = self.stderr
        self.stderr = before or as_json
        try:
            yield
        finally:
            self.stderr = before

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for part in super().render(renderable, options):
            yield part if part.control else Segment(self._shown(part.text), part.style)

    def render_str(self, text: str, **options: Any) -> Text:
        """Written out before a table measures it."""
        return super().render_str(self._shown(text), **options)

    def _shown(self, text: str) -> str:
        return encodable(visible(text), getattr(self.file, "encoding", None))

    def print(self, *objects: Any, **options: Any) -> None:
        """In a file or a pipe a table is as wide as it needs; on a terminal it fits into that, and
        no word of it is parted.
        """
        own = self._width
        tables = [thing for thing in objects if isinstance(thing, Table)]
        if own is None and not self.is_terminal and "COLUMNS" not in os.environ:
            self._width = max((self.width, *(needed(table, self) for table in tables)))
        try:
            made = [
                fitted(one, self, self.width) if isinstance(one, Table) else one for one in objects
            ]
            super().print(*made, **options)
        finally:
            self._width = own

    def on_broken_pipe(self) -> None:
        """Whoever read has enough (`| head -1`); the work goes on."""
        self.quiet = True
        drop_output()


console = VisibleConsole(highlight=False)
errors = VisibleConsole(stderr=True, highlight=False, soft_wrap=True)


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Show a `SplitLabError` as one `error:` line and exit with its code; Ctrl-C exits with 130."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with console.answering(bool(kwargs.get(JSON_OPTION))):
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
            drop_output()
            raise typer.Exit(0) from None
        except OSError as error:
            told = f"error: {error.filename or 'the system'}: {error.strerror or error}"
            errors.print(told, style="bold red", markup=False)
            raise typer.Exit(2) from error
        except MemoryError as error:
            errors.print(f"error: {_no_memory(error)}", style="bold red")
            raise typer.Exit(2) from error
        except KeyboardInterrupt as error:
            errors.print("interrupted; what is finished is kept, start again to continue")
            raise typer.Exit(130) from error

    return run


ALIASES = {"--repeat": "--repeats"}
"""Names that options had, which still do and are in no help."""


def _checked(command: Any, words: list[str]) -> list[str]:
    """A command's words with today's names; an empty one would be the folder that one stands in.

    Raises:
        BadParameter: an empty word.
    """
    known = {name for option in command.params for name in option.opts}
    made: list[str] = []
    for word in words:
        name, equals, value = word.partition("=")
        if not word or (equals and name in known and not value):
            flag = name or (made[-1] if made else "the first word")
            raise typer.BadParameter(f"{flag} is given an empty value; name one or leave it out")
        today = ALIASES.get(name, name)
        made.append(f"{today}{equals}{value}" if today in known else word)
    return made


def _tell_given(error: typer.BadParameter, words: list[str]) -> None:
    """Put what was given in front of what was wanted, where the latter stands alone."""
    error.message = plain(error.message)
    for name in getattr(error.param, "opts", ()):
        given = [word.partition("=")[2] for word in words if word.startswith(f"{name}=")]
        given += [after for word, after in itertools.pairwise(words) if word == name]
        if len(given) == 1 and given[0] not in error.message:
            error.message = f"{given[0]}: {error.message}"


def _tell_place(error: Exception, ctx: Any) -> None:
    """Say where an option of the command above stands, such as --server behind `infer`."""
    name = getattr(error, "option_name", None)
    above = ctx.parent.command.params if ctx.parent is not None else ()
    if name is not None and any(name in option.opts for option in above):
        error.message = f"{name} stands before {ctx.info_name!r}"  # type: ignore[attr-defined]


def _require_finite(ctx: Any) -> None:
    """
    Raises:
        BadParameter: a number that is none, or has no end, which fits into every range.
    """
    for option in ctx.command.params:
        value = ctx.params.get(option.name)
        if isinstance(value, float) and not math.isfinite(value):
            told = f"{option.opts[0]} {value}: give a finite number"
            raise typer.BadParameter(told, ctx=ctx)


class CheckedWords(TyperCommand):
    """A command whose words are looked at before it runs."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if ctx.resilient_parsing:  # for a shell that completes: nothing is refused
            return super().parse_args(ctx, args)
        words = _checked(self, args)
        try:
            rest = super().parse_args(ctx, list(words))
        except typer.BadParameter as error:
            _tell_given(error, words)
            raise
        except Exception as error:  # the parser of another version calls it something else
            _tell_place(error, ctx)
            raise
        _require_finite(ctx)
        return rest

    def format_options(self, ctx: Any, formatter: Any) -> None:
        write_sections(self, ctx, formatter)


class WholeSentences(TyperGroup):
    """Lists commands with the whole first paragraph of their help."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        words = list(args)
        try:
            rest = super().parse_args(ctx, args)
        except typer.BadParameter as error:
            _tell_given(error, words)
            raise
        if not ctx.resilient_parsing:
            _require_finite(ctx)
        return rest

    def format_options(self, ctx: Any, formatter: Any) -> None:
        write_sections(self, ctx, formatter)
        write_commands(self, ctx, formatter)


class CommandLine(typer.Typer):
    """A command of the lab: help is plain text, and what its surroundings lack is made up for.

    Args:
        keep_freed: whether it keeps memory that it has freed, as work on many tensors wants.
    """

    def __init__(self, *, keep_freed: bool = False, **options: Any) -> None:
        self._keep_freed = keep_freed
        super().__init__(
            rich_markup_mode=None,
            pretty_exceptions_enable=False,
            no_args_is_help=True,
            **{"cls": WholeSentences, **options},
        )

    def command(self, name: str | None = None, **options: Any) -> Callable[[F], F]:
        return super().command(name, **{"cls": CheckedWords, **options})

    def __call__(self, *words: Any, **options: Any) -> Any:
        prepare()
        errors.quiet = _completing()  # a shell that completes would show errors amid the line
        if self._keep_freed:
            keep_freed_memory()
        try:
            return super().__call__(*words, **options)
        except OSError as error:  # of help, which is printed before a command is guarded
            _give_up_output(error)
        finally:
            try:  # what is left in the buffer; Python itself would end with words and code 120
                sys.stdout.flush()
            except OSError as error:
                _give_up_output(error)


def _completing() -> bool:
    """Whether it is a shell that asks what may come next."""
    return any(
        name.endswith("_COMPLETE") and asked.startswith("complete_")
        for name, asked in os.environ.items()
    )


def _give_up_output(error: OSError) -> None:
    """
    Raises:
        SystemExit: it could not be written; where nobody reads any more all is well.
    """
    drop_output()
    if not isinstance(error, BrokenPipeError):
        errors.print(f"error: standard output: {error.strerror}; what is in files is kept")
        raise SystemExit(2) from None


def _no_memory(error: MemoryError) -> str:
    why = f" ({error})" if str(error) else ""
    return f"out of memory{why}; take smaller images, fewer at once, or a smaller network"
