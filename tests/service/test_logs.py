import json
import subprocess
import sys

SAY = """
import logging, structlog
from service.logs import configure
configure({!r})
structlog.get_logger("room").info("job_widened", layer="conv1")
logging.getLogger("library").warning("said so")
"""


def said(log_format: str) -> list[str]:
    command = [sys.executable, "-c", SAY.format(log_format)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout == ""
    return ended.stderr.splitlines()


def test_json_logs_are_one_object_a_line_ours_and_the_libraries_alike() -> None:
    ours, theirs = map(json.loads, said("json"))
    assert ours["event"] == "job_widened"
    assert ours["layer"] == "conv1"
    assert (ours["level"], ours["logger"]) == ("info", "room")
    assert theirs["event"] == "said so"
    assert (theirs["level"], theirs["logger"]) == ("warning", "library")
    assert ours["timestamp"].endswith("Z")


def test_console_logs_name_event_and_fields() -> None:
    ours, theirs = said("console")
    assert "job_widened" in ours
    assert "layer=conv1" in ours
    assert "said so" in theirs
