import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from service import failpoints

DIES = """
    import sys
    from pathlib import Path
    from service import failpoints
    failpoints.arm(Path(sys.argv[1]))
    with failpoints.around("claim.job"):
        print("written", flush=True)
    print("lived", flush=True)
"""


@pytest.fixture
def armed(tmp_path: Path) -> Iterator[Path]:
    failpoints.arm(tmp_path)
    yield tmp_path
    failpoints.arm(None)


def run(folder: Path) -> tuple[int, str]:
    command = [sys.executable, "-c", textwrap.dedent(DIES), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize(("side", "written"), [("before", ""), ("after", "written\n")])
def test_a_process_dies_once_where_it_is_aimed_at(tmp_path: Path, side: str, written: str) -> None:
    (tmp_path / f"claim.job.{side}").touch()
    assert run(tmp_path) == (-signal.SIGKILL, written)
    assert run(tmp_path) == (0, "written\nlived\n")


def test_a_process_can_be_stopped_instead(tmp_path: Path) -> None:
    (tmp_path / "claim.job.after").write_text("stop")
    command = [sys.executable, "-c", textwrap.dedent(DIES), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        process.send_signal(signal.SIGCONT)
        assert process.communicate(timeout=20)[0] == "written\nlived\n"


def test_an_unknown_name_is_told_where_failpoints_are_armed(armed: Path) -> None:
    assert not list(armed.iterdir())
    with pytest.raises(ValueError, match="must be one of"):
        failpoints.hit("claim.nothing.before")


def test_unarmed_failpoints_do_nothing() -> None:
    failpoints.hit("claim.nothing.before")


def test_between_any_two_writes_lie_two_failpoints() -> None:
    for flow, writes in failpoints.WRITES.items():
        mine = [name for name in failpoints.NAMES if name.startswith(f"{flow}.")]
        for first, second in pairwise(writes):
            place = mine.index(f"{flow}.{first}.after")
            assert mine[place + 1] == f"{flow}.{second}.before"
