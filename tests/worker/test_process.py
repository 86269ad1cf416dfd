import os
import subprocess
import sys
from pathlib import Path

from tests.yard import alive, wait_for
from worker.process import kernel_kills


def test_kills_are_counted_where_linux_counts_them(tmp_path: Path) -> None:
    vmstat = tmp_path / "vmstat"
    vmstat.write_text("nr_free_pages 7\noom_kill 3\n")
    assert kernel_kills(vmstat) == 3
    vmstat.write_text("nr_free_pages 7\n")
    assert kernel_kills(vmstat) == 0
    assert kernel_kills(tmp_path / "absent") == 0


def test_a_process_whose_parent_is_another_one_refuses_to_begin() -> None:
    code = "from worker.process import die_with_parent; die_with_parent(1)"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert f"the parent must be process 1, it is {os.getpid()}" in ended.stderr


def test_a_process_dies_with_its_killed_parent(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    child = (
        "import os, pathlib, sys, time\n"
        "from worker.process import die_with_parent\n"
        "die_with_parent(int(sys.argv[1]))\n"
        f"pathlib.Path({str(note)!r}).write_text(str(os.getpid()))\n"
        "time.sleep(60)\n"
    )
    parent = (
        "import os, subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', {child!r}, str(os.getpid())],\n"
        "    start_new_session=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", parent])
    wait_for(lambda: note.exists() and note.read_text() != "")
    assert alive(int(note.read_text()))
    process.kill()
    process.wait()
    assert wait_for(lambda: not alive(int(note.read_text()))) < 2
