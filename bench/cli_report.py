"""`bench report`: what is derived from the records of a run, derived again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli_options import AsJson, Imports
from splitlab.answers import answer
from splitlab.console import guarded


@guarded
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder with records/.")],
    imports: Imports = None,
    as_json: AsJson = False,
) -> None:
    """Rebuild the page, JSON and CSV of a run or an experiment from its records alone."""
    from bench.reproduce.frame.again import is_experiment, shown_again
    from bench.sweep.document import run_document, told_of
    from bench.sweep.report import write_report
    from splitlab.contracts.own_code import permit
    from splitlab.record import RecordStore
    from splitlab.storage import read_json

    permit(*(imports or ()))
    if is_experiment(RecordStore(run).all()):
        shown = shown_again(run)
        document = {**read_json(run / "summary.json"), "report": shown.page}
        answer(as_json, document, *shown.parts, f"Report: {shown.page}")
        return
    page, records = write_report(run), RecordStore(run).all()
    answer(as_json, run_document(records, page), *told_of(records), f"Report: {page}")
