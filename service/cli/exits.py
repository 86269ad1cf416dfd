"""What the command's exit codes mean; `slbi --help` lists them."""

from enum import IntEnum

import httpx

from service.client.problem import ClientError, Problem, UnreachableError


class ExitCode(IntEnum):
    """A number for scripts."""

    OK = 0
    FAILED = 1
    """It was done and went wrong; a job that was waited for did not succeed."""
    INVALID = 2
    """The command, or the request it made, is not valid."""
    NOT_FOUND = 3
    """No such job, model or key."""
    UNREACHABLE = 4
    """No service answered."""
    UNAUTHORISED = 5
    """The key is missing, unknown or revoked."""
    INTERRUPTED = 130
    """Ctrl-C. Source: 128 + SIGINT, as shells have it."""


class CommandError(Exception):
    """Something that the command itself found wrong; its text is for people.

    Args:
        message: What must hold, and what came.
        code: What the command exits with.
    """

    def __init__(self, message: str, code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.code = code


_BY_STATUS: dict[int, ExitCode] = {
    httpx.codes.BAD_REQUEST: ExitCode.INVALID,
    httpx.codes.UNAUTHORIZED: ExitCode.UNAUTHORISED,
    httpx.codes.FORBIDDEN: ExitCode.UNAUTHORISED,
    httpx.codes.NOT_FOUND: ExitCode.NOT_FOUND,
    httpx.codes.CONFLICT: ExitCode.INVALID,
    httpx.codes.GONE: ExitCode.NOT_FOUND,
    httpx.codes.REQUEST_ENTITY_TOO_LARGE: ExitCode.INVALID,
    httpx.codes.UNSUPPORTED_MEDIA_TYPE: ExitCode.INVALID,
    httpx.codes.UNPROCESSABLE_ENTITY: ExitCode.INVALID,
    httpx.codes.SERVICE_UNAVAILABLE: ExitCode.UNREACHABLE,
}


def exit_code(error: Exception) -> ExitCode:
    """Return what an error makes the command exit with."""
    if isinstance(error, CommandError):
        return error.code
    if isinstance(error, UnreachableError):
        return ExitCode.UNREACHABLE
    if isinstance(error, Problem):
        return _BY_STATUS.get(error.status, ExitCode.FAILED)
    if isinstance(error, ClientError | OSError):
        return ExitCode.FAILED
    return ExitCode.INVALID if isinstance(error, ValueError) else ExitCode.FAILED
