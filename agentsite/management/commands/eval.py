"""`manage.py eval`: an agent's evals on its models, in this process, with an exit code for CI."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console

from agentsite.evals.conducting import WHY, conduct
from agentsite.evals.report import make_report, read_baseline
from agentsite.evals.wishes import LANES, CannotTry, Wish, check_wish, find_agent
from agentsite.host import site as hosting
from agentsite.management.preparation import apply_migrations, check_server
from agentsite.management.terminal.eval_table import EvalScreen
from agentsite.manifest.problems import ManifestError
from agentsite.operations import eval_rows
from agentsite.operations.eval_cells import Cell, Change, Key, compare, make_cells
from agentsite.operations.evals import EvalRun
from agentsite.rows.tenancy import acting_for_all
from agentsite.rows.units import close_pools, unit
from sessions_app.leases import request_interrupt

FAILED, UNUSABLE = 1, 2
LAST = "last"
LEAVE_SECONDS = 5.0
NO_LAST = "There is no earlier eval run to compare with: whatever does not pass counts."
NOTHING_IN_COMMON = "The baseline has none of these evals on these models: nothing to compare."
EPILOG = """\
Exit codes: 0 all passed, or with --baseline nothing got worse; 1 something did not pass, or with
--baseline something that passed then does not any more; 2 it could not be tried; 130 Ctrl-C.
"""


class Command(BaseCommand):
    """Works without a server, on the same database; ends when all results are there."""

    help = "Try an agent's evals (evals/*.md) and tell quality, latency and cost, by model."
    requires_system_checks = ()

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """With the exit codes below the options."""
        return super().create_parser(prog_name, subcommand, epilog=EPILOG, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        """What to try, on what, against what."""
        parser.add_argument("agent", nargs="?", default="", help="agentId; default: the first one")
        parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these evals")
        parser.add_argument(
            "--model", nargs="+", default=[], metavar="PROVIDER/MODEL",
            help="models of the agent's amodal.json, side by side; default: the main one",
        )  # fmt: skip
        parser.add_argument(
            "--judge", default="", metavar="PROVIDER/MODEL",
            help="who decides assertions in plain words; default: the main model",
        )  # fmt: skip
        parser.add_argument(
            "--baseline", metavar="FILE|last",
            help="fail only where it got worse than in this --json file, or than the last time",
        )  # fmt: skip
        parser.add_argument("--json", type=Path, metavar="FILE", help="write all of it there")
        parser.add_argument("--repeat", type=int, default=1, metavar="N", help="each so often")
        parser.add_argument("--jobs", type=int, default=LANES, help=f"at once (default {LANES})")
        parser.add_argument(
            "--allow-writes", action="store_true",
            help="let tools write outside of this server; without it they are refused",
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        """Try everything; raises CommandError with the exit code where it is not good."""
        logging.getLogger("agentsite").setLevel(logging.WARNING)
        wish = Wish(
            agent=options["agent"],
            only=tuple(options["only"]),
            models=tuple(options["model"]),
            judge=options["judge"],
            repeats=options["repeat"],
            lanes=options["jobs"],
            allow_writes=options["allow_writes"],
        )
        try:
            known = self._read_baseline(options["baseline"])
            check_server()
            apply_migrations()
            close_pools()
            screen = EvalScreen(Console(highlight=False))
            row = asyncio.run(work(wish, screen))
            sound = self._conclude(row, screen, options, known)
        except (CannotTry, ManifestError) as problem:
            raise CommandError(str(problem), returncode=UNUSABLE) from problem
        except CommandError as problem:
            problem.returncode = UNUSABLE
            raise
        except KeyboardInterrupt:
            raise CommandError(
                "Stopped; what was not tried stays untried.", returncode=130
            ) from None
        finally:
            close_pools()
        if not sound:
            raise CommandError("The evals are not as they should be.", returncode=FAILED)

    def _read_baseline(self, given: str | None) -> dict[Key, bool] | None:
        """Which cells of a file passed; None where no file is named."""
        if given is None or given == LAST:
            return None
        try:
            return read_baseline(Path(given).read_bytes())
        except (OSError, ValueError) as problem:
            raise CannotTry(f"The baseline {given} cannot be used: {problem}") from problem

    def _conclude(
        self,
        row: EvalRun,
        screen: EvalScreen,
        options: dict[str, Any],
        known: dict[Key, bool] | None,
    ) -> bool:
        """Show and write what it came to; whether that is good."""
        if row.status != EvalRun.Status.DONE:
            raise CannotTry(row.error or f"The eval run was {row.get_status_display()}.")
        results = list(row.results.order_by("pk"))
        cells = make_cells(results)
        if options["baseline"] == LAST:
            known = read_last(row)
        changes = compare(cells, known or {})
        screen.show(row, cells, changes)
        if options["json"] is not None:
            write_report(options["json"], msgspec.json.encode(make_report(row, results)))
        if options["baseline"] == LAST and not known:
            self.stdout.write(NO_LAST)
            known = None
        return is_sound(cells, changes, compared=known is not None)


def is_sound(cells: Mapping[Key, Cell], changes: Mapping[Key, Change], *, compared: bool) -> bool:
    """Whether all is good, or where it was compared nothing got worse. Raises `CannotTry`."""
    if not compared:
        return all(cell.good for cell in cells.values())
    if set(changes.values()) == {"new"}:
        raise CannotTry(NOTHING_IN_COMMON)
    return "worse" not in changes.values()


def read_last(row: EvalRun) -> dict[Key, bool]:
    """Which of an eval run's cells passed the last time before it."""
    earlier = eval_rows.find_earlier(row, row.evals, row.model_names)
    return {key: Cell(*key, tuple(rows)).good for key, rows in earlier.items()}


def write_report(place: Path, raw: bytes) -> None:
    """Write the document. Raises `CannotTry`."""
    try:
        place.write_bytes(msgspec.json.format(raw, indent=2) + b"\n")
    except OSError as problem:
        raise CannotTry(f"The report cannot be written to {place}: {problem}") from problem


async def work(wish: Wish, screen: EvalScreen) -> EvalRun:
    """Host the eval run in this process until it has ended; its row. Raises `CannotTry`."""
    await hosting.startup(private=True)
    here = hosting.site()
    eval_run_id = ""
    try:
        with acting_for_all(WHY):
            agent = await unit(find_agent, here.agents, wish.agent)
            new = msgspec.structs.replace(
                check_wish(agent, wish, "manage.py eval"),
                owner=here.owner,
                lease_seconds=float(settings.RUN_LEASE_SECONDS),
            )
            eval_run_id = await unit(eval_rows.begin, new)
            await here.warm_up(agent)
            screen.begin(await unit(EvalRun.objects.get, pk=eval_run_id))
            await conduct(here, eval_run_id, screen.tell)
            return await unit(EvalRun.objects.get, pk=eval_run_id)
    finally:
        if eval_run_id:  # what was cut off has its end, too
            with acting_for_all(WHY):
                await leave(here, eval_run_id)
        await hosting.shutdown()


async def leave(here: hosting.Site, eval_run_id: str) -> None:
    """End what is still open: runs that were begun, so that no server goes on with them."""
    for result in await unit(eval_rows.read_open, eval_run_id):
        if result.session_id:
            await unit(request_interrupt, result.session_id)
    await unit(eval_rows.end, eval_run_id, EvalRun.Status.STOPPED)
    await here.runs.take_signals()
    await here.runs.close(LEAVE_SECONDS)
