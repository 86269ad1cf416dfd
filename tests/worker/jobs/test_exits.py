import signal

import pytest

from service.contract import AttemptOutcome
from worker.jobs.exits import EXIT_FENCE_LOST, EXIT_OOM, EXIT_PREEMPTED, decode


@pytest.mark.parametrize(
    ("code", "kernel_killed", "outcome", "reason"),
    [
        (EXIT_PREEMPTED, False, "preempted", "The training process was asked to stop."),
        (EXIT_OOM, False, "oom", "The training process ran out of memory: words"),
        (1, False, "lost", "The training process stopped with exit code 1: words"),
        (
            EXIT_FENCE_LOST,
            False,
            "lost",
            "The training process stopped with exit code 77: words",
        ),
        (-signal.SIGSEGV, False, "lost", "The training process crashed (SIGSEGV)."),
        (-signal.SIGSEGV, True, "lost", "The training process crashed (SIGSEGV)."),
        (-signal.SIGKILL, False, "lost", "The training process crashed (SIGKILL)."),
        (
            -signal.SIGKILL,
            True,
            "oom",
            "The kernel killed the training process for want of memory.",
        ),
        (-63, False, "lost", "The training process crashed (signal 63)."),
        (0, False, "lost", "The training process ended without recording a result."),
    ],
)
def test_an_exit_code_says_how_the_attempt_ended(
    code: int, outcome: str, reason: str, *, kernel_killed: bool
) -> None:
    decoded = decode(code, "words", kernel_killed=kernel_killed)
    assert decoded == (AttemptOutcome(outcome), reason)


def test_silence_is_not_quoted() -> None:
    _, reason = decode(1, "", kernel_killed=False)
    assert reason == "The training process stopped with exit code 1"
