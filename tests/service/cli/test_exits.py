import pytest

from service.cli.exits import CommandError, ExitCode, exit_code
from service.client.problem import DamagedError, Problem, UnreachableError


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, 2), (401, 5), (403, 5), (404, 3), (409, 2), (410, 3), (413, 2), (422, 2), (500, 1)],
)
def test_a_refusal_exits_by_its_status(status: int, code: int) -> None:
    assert exit_code(Problem(status=status, code="", title="", detail="")) == code


def test_a_status_nobody_registered_is_a_failure() -> None:
    assert exit_code(Problem(status=599, code="", title="", detail="")) == ExitCode.FAILED


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnreachableError("no answer"), ExitCode.UNREACHABLE),
        (DamagedError("another content"), ExitCode.FAILED),
        (CommandError("no such key", ExitCode.NOT_FOUND), ExitCode.NOT_FOUND),
        (ValueError("--set must be like a=b"), ExitCode.INVALID),
        (PermissionError("net.safetensors"), ExitCode.FAILED),
    ],
)
def test_an_error_of_the_command_exits_by_its_kind(error: Exception, code: ExitCode) -> None:
    assert exit_code(error) == code
