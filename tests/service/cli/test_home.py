import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.cli.exits import CommandError
from service.cli.home import LOCK, locked

HOLD = "import sys; from pathlib import Path; from service.cli.home import locked\n"


def _try(home: Path) -> "subprocess.CompletedProcess[str]":
    """Try to hold a home in another process."""
    code = f"{HOLD}with locked(Path({str(home)!r})): pass"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_a_home_is_made_and_held_by_one_process_at_a_time(tmp_path: Path) -> None:
    home = tmp_path / "not" / "there"
    with locked(home):
        refused = _try(home)
        assert refused.returncode != 0
        said = f"{home} is served by process {os.getpid()}"
        assert said in refused.stderr
    assert _try(home).returncode == 0
    with locked(home):
        pass


def test_a_lock_that_names_nobody_is_a_lock_all_the_same(tmp_path: Path) -> None:
    with locked(tmp_path):
        (tmp_path / LOCK).write_text("x")
        with pytest.raises(CommandError, match="another process"), locked(tmp_path):
            pass


def test_what_a_dead_server_wrote_keeps_nobody_out(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text("123456789012")
    with locked(tmp_path):
        assert (tmp_path / LOCK).read_text() == str(os.getpid())


def test_a_child_that_outlives_its_server_does_not_hold_the_home(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "input()"]
    with locked(tmp_path):
        child = subprocess.Popen(command, stdin=subprocess.PIPE, close_fds=False)
    with child:
        assert _try(tmp_path).returncode == 0
        child.kill()
