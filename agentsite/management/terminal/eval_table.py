"""An eval run in the terminal: a table of evals and models, the reasons below, the sums."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agentsite.management.terminal.widgets import clean
from agentsite.operations.eval_cells import Cell, Change, Key, add
from agentsite.operations.evals import EvalResult, EvalRun
from sessions_app.admin.formats import show_money, show_ms

COLOURS = {"passed": "green", "failed": "red", "error": "red", "skipped": "yellow"}
CHANGES = {"worse": " [bold red]got worse[/]", "better": " [green]better than before[/]"}
SHOWN_CHARS = 300


class EvalScreen:
    """Says each result as it comes, and all of them at the end."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def begin(self, row: EvalRun) -> None:
        """What is about to be done."""
        count = len(row.evals) * len(row.model_names) * row.repeats
        judge = row.judge or "the main model"
        writes = "; tools may write" if row.allow_writes else ""
        self._print(
            f"{row.agent}: {count} result{'' if count == 1 else 's'}, judged by {judge}{writes}"
        )

    def tell(self, result: EvalResult) -> None:
        """One result."""
        colour = COLOURS.get(result.status, "")
        again = f" ({result.repeat})" if result.repeat > 1 else ""
        took = show_ms(result.duration_ms)
        self._console.print(
            f"  [{colour}]{result.status:7}[/] {_say(result.name)}{again}"
            f"  [dim]{_say(result.model)}, {took}[/]"
        )

    def show(self, row: EvalRun, cells: Mapping[Key, Cell], changes: Mapping[Key, Change]) -> None:
        """Everything."""
        table = Table(title=f"\nEvals of {_say(row.agent)}", title_justify="left")
        table.add_column("Eval", overflow="fold")
        for model in row.model_names:
            table.add_column(_say(model), overflow="fold")
        for name in row.evals:
            keys = [(name, model) for model in row.model_names]
            table.add_row(_say(name), *(_show_cell(cells[key], changes.get(key)) for key in keys))
        table.add_section()
        table.add_row("All", *(_sum_up(cells.values(), model) for model in row.model_names))
        self._console.print(table)
        for cell in cells.values():
            for result in cell.results:
                self._explain(result)
        cost = show_money(row.cost_micros if row.cost_known else None)
        self._print(
            f"{row.passed} passed, {row.failed} failed, {row.errors} with an error; "
            f"cost {cost}, the judge's included. Run {row.pk}"
        )

    def _explain(self, result: EvalResult) -> None:
        bad = [each for each in result.assertions if each["passed"] is not True]
        if result.status == EvalResult.Status.PASSED or not (bad or result.error):
            return
        again = f", repeat {result.repeat}" if result.repeat > 1 else ""
        self._console.print(f"\n[bold]{_say(result.name)}[/] on {_say(result.model)}{again}")
        if result.error:
            self._console.print(f"  [red]{_say(result.error)}[/]")
        for each in bad:
            word = "unjudged" if each["passed"] is None else "failed"
            self._console.print(f"  [red]{word}[/] {_say(each['text'])}: {_say(each['reason'])}")
        if result.response:
            self._console.print(f"  [dim]it said: {_say(result.response)}[/]")

    def _print(self, text: str) -> None:
        self._console.print(escape(clean(text)))


def _say(text: str) -> str:
    """A text of others, without control characters and markup, and not too long."""
    shown = clean(" ".join(text.split()))
    return escape(shown if len(shown) <= SHOWN_CHARS else f"{shown[:SHOWN_CHARS]}…")


def _show_cell(cell: Cell, change: Change | None) -> str:
    colour = COLOURS.get(cell.mark, "")
    of = f" {cell.passed}/{cell.count}" if cell.count > 1 else ""
    figures = f"{show_ms(cell.latency_ms)}, {show_money(cell.cost_micros)}"
    return f"[{colour}]{cell.mark}{of}[/]{CHANGES.get(change or '', '')}\n[dim]{figures}[/]"


def _sum_up(cells: Iterable[Cell], model: str) -> str:
    mine = [cell for cell in cells if cell.model == model]
    took = [cell.latency_ms for cell in mine if cell.latency_ms is not None]
    mean = round(sum(took) / len(took)) if took else None
    good = sum(cell.good for cell in mine)
    cost = show_money(add([cell.cost_micros for cell in mine]))
    return f"{good}/{len(mine)} passed\n[dim]{show_ms(mean)} each, {cost}[/]"
