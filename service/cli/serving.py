"""Commands that run the service or a part of it: serve, api, worker, migrate."""

import json
import signal
import socket
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.exits import CommandError, ExitCode
from service.cli.home import locked
from service.cli.installed import offered
from service.cli.opened import opened
from service.cli.options import AsJson
from service.cli.output import console
from service.settings import Settings

if TYPE_CHECKING:
    from service.store.database import Database

PASSED_ON: dict[str, Any] = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "help_option_names": [],
}
"""Context of a command whose arguments, --help among them, belong to a worker."""

STREAM_SECONDS = 2
"""How long a stopping server waits for answers that are under way."""

Host = Annotated[str | None, typer.Option(help="Address to listen on; 127.0.0.1 by default.")]
Port = Annotated[
    int | None, typer.Option(min=0, max=65535, help="Port; 8000 by default, 0 takes a free one.")
]


def serve(
    *,
    host: Host = None,
    port: Port = None,
    home: Annotated[
        Path | None, typer.Option(help="Where database and checkpoints are kept.")
    ] = None,
    data_dir: Annotated[
        list[Path] | None, typer.Option(help="Where data sets are looked for; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start the whole service in one process: API, queue, one worker, SQLite.

    The first start makes a key and shows it once. On a loopback address none is needed. A home has
    one server at a time.
    """
    from service.logs import configure

    settings = _settings(
        as_json, host=host, port=port, home=home, data_dirs=tuple(data_dir or ()) or None
    )
    configure(settings.log_format)
    with locked(settings.home):
        _serve(settings, as_json=as_json)


def api(*, host: Host = None, port: Port = None, as_json: AsJson = False) -> None:
    """Start only the API, on the database and broker of the environment.

    Needs SLBI_DATABASE_URL and SLBI_BROKER_URL, a database that `slbi migrate` has brought up to
    date, and a key unless the address is a loopback one.
    """
    from service.keys import check_exposure
    from service.logs import configure

    settings = _settings(as_json, host=host, port=port)
    configure(settings.log_format)
    if settings.database_url is None or settings.broker_url.startswith("memory:"):
        raise CommandError(
            "SLBI_DATABASE_URL and SLBI_BROKER_URL must be set; `slbi serve` needs neither",
            ExitCode.INVALID,
        )
    with opened(settings) as database:
        check_revision(database)
        check_exposure(settings, database)
        _run(settings, database, _listen(settings), as_json=as_json)


def migrate(*, as_json: AsJson = False) -> None:
    """Bring the database of the environment up to date."""
    from migrations.run import current, upgrade

    with opened(Settings()) as database:
        before = current(database)
        upgrade(database)
        after = current(database)
    _say(
        {"before": before, "after": after},
        f"The database is at revision {after}" + (", as before." if before == after else "."),
        as_json=as_json,
    )


def worker(context: typer.Context) -> None:
    """Start a worker on the database and broker of the environment."""
    raise typer.Exit(offered("command")(list(context.args)))


def check_revision(database: "Database") -> None:
    """Refuse a database of another revision than the code's.

    Raises:
        CommandError: it is one.
    """
    from migrations.run import current, head

    if (at := current(database)) != head():
        raise CommandError(
            f"the database must be at revision {head()}, it is at {at or 'none'}:"
            " run `slbi migrate`"
        )


def _serve(settings: Settings, *, as_json: bool) -> None:
    """Serve a home that no other process serves, until a signal ends it."""
    from migrations.run import upgrade
    from service.keys import check_exposure, create_key, list_keys

    listener = _listen(settings)
    start = offered("embedded")
    with opened(settings) as database:
        upgrade(database)
        if not list_keys(database):
            _, secret = create_key(database, "first")
            _say({"key": secret}, f"Key, shown only now: [bold]{secret}[/bold]", as_json=as_json)
        check_exposure(settings, database)
        worker = start(settings, database)
        try:
            _run(settings, database, listener, as_json=as_json)
        finally:
            worker.stop()


def _say(data: dict[str, Any], text: str, *, as_json: bool) -> None:
    """Print one thing that happened: a sentence, or a line of JSON."""
    if as_json:
        print(json.dumps(data), flush=True)
    else:
        console().print(text, soft_wrap=True)


def _settings(as_json: bool, **given: Any) -> Settings:  # noqa: ANN401 - each setting checks its own
    """Return the environment's settings with what the command line gave on top."""
    if as_json:
        given["log_format"] = "json"
    return Settings(**{name: value for name, value in given.items() if value is not None})


def _listen(settings: Settings) -> socket.socket:
    """Return a bound socket, so that a taken port is told before anything is started."""
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        raise CommandError(
            f"{settings.host}:{settings.port} must be free to listen on: {error.strerror}"
        ) from error


def _run(
    settings: Settings, database: "Database", listener: socket.socket, *, as_json: bool
) -> None:
    """Serve until a signal ends it."""
    import uvicorn

    from service.catalogue import Catalogue
    from service.main import caretakers, create_app
    from service.queue import CeleryQueue

    queue = CeleryQueue(settings.broker_url)
    beside = caretakers(settings, database, queue)
    app = create_app(settings, database, queue, Catalogue.generated(), beside)
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=STREAM_SECONDS,
    )
    address = _address(listener)

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                _say({"ready": address}, f"slbi is ready at {address}", as_json=as_json)

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            app.state.context.stopping.set()
            super().handle_exit(sig, frame)

    # uvicorn repeats the signal that ended it; what was started beside it must still be stopped.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(ExitCode.OK))
    Server(config).run(sockets=[listener])


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
