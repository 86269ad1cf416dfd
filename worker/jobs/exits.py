"""How a training process ends: its exit codes, and what they mean for the attempt."""

import signal

from service.contract import AttemptOutcome

EXIT_RECORDED = 0
"""The training process has written the outcome itself."""

EXIT_PREEMPTED = 75
"""It stopped because it was asked to. Source: EX_TEMPFAIL of sysexits.h."""

EXIT_OOM = 76
"""It ran out of memory and could still say so."""

EXIT_FENCE_LOST = 77
"""The job is somebody else's, or nobody's, by now."""


def decode(code: int, last_words: str, *, kernel_killed: bool) -> tuple[AttemptOutcome, str]:
    """Return the outcome of an attempt whose process ended unasked, and a sentence for people.

    Args:
        code: as `subprocess` gives it; negative for a signal.
        last_words: last line that the process wrote, or nothing.
        kernel_killed: whether the kernel killed some process for want of memory meanwhile.
    """
    said = f": {last_words}" if last_words else ""
    if code == EXIT_OOM:
        return AttemptOutcome.OOM, f"The training process ran out of memory{said}"
    if code == EXIT_PREEMPTED:
        return AttemptOutcome.PREEMPTED, "The training process was asked to stop."
    if code == EXIT_RECORDED:
        return AttemptOutcome.LOST, "The training process ended without recording a result."
    if code > 0:
        return AttemptOutcome.LOST, f"The training process stopped with exit code {code}{said}"
    if -code == signal.SIGKILL and kernel_killed:
        reason = "The kernel killed the training process for want of memory."
        return AttemptOutcome.OOM, reason
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return AttemptOutcome.LOST, f"The training process crashed ({name})."
