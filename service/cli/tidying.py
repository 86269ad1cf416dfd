"""The command that sweeps away at once what a service would sweep by and by."""

from dataclasses import asdict
from datetime import UTC, datetime

from service.cli.keys import Home
from service.cli.opened import opened
from service.cli.options import AsJson
from service.cli.output import console, count, print_json
from service.cli.serving import check_revision
from service.settings import Settings


def tidy(*, home: Home = None, as_json: AsJson = False) -> None:
    """Remove now what nobody needs any more, and say what that was.

    The service does so by itself every SLBI_SWEEP_SECONDS. Works on the database and the files of
    the environment, beside a service that runs.
    """
    from service.logs import configure
    from service.sweeper import Sweeper

    settings = Settings(home=home) if home else Settings()
    configure("json" if as_json else settings.log_format)
    with opened(settings) as database:
        check_revision(database)
        swept = Sweeper(database, settings).sweep(datetime.now(UTC))
    if as_json:
        print_json(asdict(swept))
        return
    console().print(
        f"Removed: {swept.files} files ({count(swept.bytes)} bytes), {swept.checkpoints} rows of"
        f" checkpoints, {swept.uploads} of uploads, {swept.workers} of workers,"
        f" {swept.idempotency_keys} of idempotency keys.",
        soft_wrap=True,
    )
