"""The `slbi` command: its parts put together, and what each error makes it exit with."""

import sys
from collections.abc import Sequence

import typer
from pydantic import ValidationError

from service.cli import family, files, jobs, local, offers, serving, steer, tidying
from service.cli.exits import CommandError, exit_code
from service.cli.keys import keys
from service.cli.output import console
from service.cli.sweeps import sweep
from service.client.problem import ClientError, UnreachableError
from service.errors import ServiceError

_HELP = """Grow neural networks that fit their data, here or on a service.

Start with `slbi serve`, then `slbi submit digits vgg11 --watch`.
"""
_EPILOG = (
    "Exit codes: 0 done, 1 failed, 2 not valid, 3 not found, 4 service not reached,"
    " 5 key refused, 130 interrupted."
)


def command() -> typer.Typer:
    """Return the command with all its parts."""
    app = typer.Typer(
        name="slbi",
        help=_HELP,
        epilog=_EPILOG,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
    )
    run, ask, look = "Run", "Ask for a network", "Look at what is there"
    here = "Train on this machine, without a service"
    app.command(rich_help_panel=run)(serving.serve)
    app.command(rich_help_panel=ask)(jobs.submit)
    app.command(rich_help_panel=ask)(jobs.watch)
    app.command(rich_help_panel=ask)(steer.pause)
    app.command(rich_help_panel=ask)(steer.resume)
    app.command(rich_help_panel=ask)(steer.retry)
    app.command(rich_help_panel=ask)(steer.cancel)
    app.add_typer(sweep, name="sweep", rich_help_panel=ask)
    app.command(rich_help_panel=ask)(family.pull)
    app.command(rich_help_panel=ask)(files.upload)
    app.command(rich_help_panel=look)(jobs.jobs)
    app.command(rich_help_panel=look)(jobs.show)
    app.command(rich_help_panel=look)(jobs.attempts)
    app.command(rich_help_panel=look)(jobs.path)
    app.command(rich_help_panel=look)(family.models)
    app.command(rich_help_panel=look)(files.files)
    app.command(rich_help_panel=look)(offers.backbones)
    app.command(rich_help_panel=look)(offers.datasets)
    app.command(rich_help_panel=look)(offers.workers)
    app.add_typer(keys, name="keys", rich_help_panel=run)
    app.command(rich_help_panel=run)(serving.api)
    app.command(rich_help_panel=run, context_settings=serving.PASSED_ON)(serving.worker)
    app.command(rich_help_panel=run)(serving.migrate)
    app.command(rich_help_panel=run)(tidying.tidy)
    for kind in (
        local.grow, local.train, local.weights, local.ticket, local.prune, local.visualise,
        local.export,
    ):  # fmt: skip
        app.command(rich_help_panel=here)(kind)
    return app


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command and exit.

    Args:
        argv: What stands behind the command's name; None takes the process's own.
    """
    try:
        command()(args=None if argv is None else list(argv), prog_name="slbi")
    except ValidationError as error:
        _tell("\n".join(f"{_place(row['loc'])}: {row['msg']}" for row in error.errors()))
        sys.exit(exit_code(error))
    except UnreachableError as error:
        _tell(
            f"{error}\nIs it running? `slbi serve` starts one; --server and SLBI_SERVER name one."
        )
        sys.exit(exit_code(error))
    except (CommandError, ClientError, ServiceError, ArithmeticError, OSError, ValueError) as error:
        _tell(str(error))
        sys.exit(exit_code(error))


def _place(location: tuple[int | str, ...]) -> str:
    """Return the name under which people set what a setting's error is about."""
    return "SLBI_" + "_".join(str(part) for part in location).upper()


def _tell(message: str) -> None:
    console(error=True).print(f"slbi: {message}", markup=False)


if __name__ == "__main__":
    main()
