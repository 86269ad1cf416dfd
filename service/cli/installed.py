"""What an installed worker offers the command, found by entry point."""

from importlib.metadata import entry_points
from typing import Any

from service.cli.exits import CommandError
from service.contract import WORKER_ENTRY_POINTS


def offered(name: str) -> Any:  # noqa: ANN401 - each entry point is a callable of its own kind
    """Return what an installed worker offers under a name.

    Raises:
        CommandError: No worker is installed, or one of its packages is not.
    """
    for point in entry_points(group=WORKER_ENTRY_POINTS, name=name):
        try:
            return point.load()
        except ModuleNotFoundError as error:
            raise CommandError(
                f"a worker must be installed for this, but there is no module {error.name!r};"
                " its packages are in locks/worker.txt"
            ) from error
    raise CommandError("a worker must be installed for this, but none is; install slbi itself")
