"""The command as people run it: processes, against one real service."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime
import pytest

from bench.service import served
from service.client.client import Client
from tests.service.tensor_files import sound

QUICK = (
    "--set",
    "growth.max_rounds=1",
    "--set",
    "growth.round_epochs=1",
    "--set",
    "tune.epochs=0",
    "--set",
    "tune.pruned_epochs=0",
    "--set",
    "compute.threads=1",
)
STOPPED_WITHIN = 20  # seconds: the grace of a training process, and some for a busy machine
NOBODY = "00000000-0000-7000-8000-000000000000"


def _slbi(*arguments: str, server: str = "", key: str = "") -> "subprocess.CompletedProcess[str]":
    """Run the command; without a server it looks at a port where nobody listens."""
    environment = {"SLBI_SERVER": server or "http://127.0.0.1:9", "SLBI_KEY": key}
    return subprocess.run(
        [sys.executable, "-m", "service.cli.main", *arguments],
        env={**os.environ, **{name: value for name, value in environment.items() if value}},
        capture_output=True,
        text=True,
        check=False,
    )


def _read(ended: "subprocess.CompletedProcess[str]") -> Any:  # noqa: ANN401 - JSON
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("home")) as address:
        yield address


@pytest.fixture(scope="module")
def finished(server: str) -> str:
    """Id of a job that the command submitted and followed to its success."""
    ended = _slbi("submit", "digits", "vgg11", *QUICK, "--watch", server=server)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    with Client(server) as client:
        return str(next(client.jobs())["id"])


def test_the_help_names_every_command_and_the_exit_codes() -> None:
    shown = _slbi("--help").stdout
    for name in (
        "serve",
        "submit",
        "watch",
        "pause",
        "attempts",
        "pull",
        "files",
        "upload",
        "keys",
        "grow",
        "4 service not reached",
    ):
        assert name in shown


def test_a_service_that_is_not_there_exits_with_4_and_says_where_it_was_looked_for() -> None:
    ended = _slbi("jobs")
    assert ended.returncode == 4
    assert "http://127.0.0.1:9 must answer" in ended.stderr


def test_a_wrong_option_exits_with_2() -> None:
    assert _slbi("jobs", "--state", "sleeping").returncode == 2


def test_a_setting_out_of_range_is_named_as_it_is_set(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "service.cli.main", "serve", "--home", str(tmp_path)],
        env={**os.environ, "SLBI_LEASE_SECONDS": "-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "SLBI_LEASE_SECONDS" in ended.stderr


def test_an_unknown_job_exits_with_3(server: str) -> None:
    assert _slbi("show", NOBODY, server=server).returncode == 3


@pytest.mark.parametrize("job", ["", "../workers", "7"])
def test_what_is_no_id_of_a_job_exits_with_2_and_asks_no_other_route(server: str, job: str) -> None:
    ended = _slbi("show", job, server=server)
    assert ended.returncode == 2
    assert "UUID" in ended.stderr


def test_an_unknown_backbone_exits_with_2_and_the_known_ones_are_listed(server: str) -> None:
    ended = _slbi("submit", "digits", "vgg12", server=server)
    assert ended.returncode == 2
    assert "vgg11" in ended.stderr


def test_an_unknown_key_exits_with_5(server: str) -> None:
    assert _slbi("jobs", server=server, key="slbi_nobody").returncode == 5


def test_a_dry_run_makes_no_job(server: str) -> None:
    before = _read(_slbi("jobs", "--json", server=server))
    forecast = _read(_slbi("submit", "digits", "vgg11", "--dry-run", server=server))
    assert forecast["now"]["macs"] < forecast["at_most"]["macs"]
    assert _read(_slbi("jobs", "--json", server=server)) == before


def test_a_taken_port_is_told_in_one_line(server: str, tmp_path: Path) -> None:
    port = server.rpartition(":")[2]
    ended = _slbi("serve", "--home", str(tmp_path), "--port", port)
    assert ended.returncode == 1
    assert "must be free to listen on" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_followed_job_shows_where_it_stands(server: str, finished: str) -> None:
    shown = _slbi("watch", finished, server=server).stdout
    assert "epoch 1/1" in shown
    assert "succeeded" in shown


def test_watching_as_json_gives_one_event_a_line_in_order(server: str, finished: str) -> None:
    lines = _slbi("watch", finished, "--json", server=server).stdout.splitlines()
    events = [json.loads(line) for line in lines]
    assert events[0]["type"] == "submitted"
    assert events[-1]["type"] == "succeeded"
    assert [event["id"] for event in events] == sorted({event["id"] for event in events})


def test_every_listing_speaks_json(server: str, finished: str) -> None:
    for name in ("jobs", "backbones", "datasets", "workers"):
        assert len(_read(_slbi(name, "--json", server=server))) > 0
    for name in ("models", "path", "show", "attempts", "files"):
        assert len(_read(_slbi(name, finished, "--json", server=server))) > 0


def test_every_listing_has_a_table(server: str, finished: str) -> None:
    assert "vgg11" in _slbi("backbones", server=server).stdout
    assert "fashion-mnist" in _slbi("datasets", server=server).stdout
    assert "alive" in _slbi("workers", server=server).stdout
    assert "succeeded" in _slbi("jobs", server=server).stdout
    assert "succeeded" in _slbi("show", finished, server=server).stdout
    assert "round 0" in _slbi("models", finished, server=server).stdout
    assert "accuracy" in _slbi("path", finished, server=server).stdout


def test_a_pulled_model_has_its_description_beside_it(
    server: str, finished: str, tmp_path: Path
) -> None:
    target = tmp_path / "net.safetensors"
    pulled = _read(_slbi("pull", finished, "-o", str(target), "--json", server=server))
    beside = json.loads((tmp_path / "net.json").read_text())
    assert beside == pulled["description"]
    assert beside["backbone"] == "vgg11"
    assert target.stat().st_size > 1000


def test_a_model_is_exported_when_it_is_first_pulled_in_a_format(
    server: str, finished: str, tmp_path: Path
) -> None:
    target = tmp_path / "net.onnx"
    pulled = _slbi("pull", finished, "--format", "onnx", "-o", str(target), server=server)
    assert pulled.returncode == 0, pulled.stderr
    assert pulled.stdout.startswith("Export ")
    card = (tmp_path / "net.md").read_text()
    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": np.zeros((3, 1, 8, 8), "float32")})
    assert logits.shape == (3, 10)
    assert "| model.onnx | onnx |" in card

    again = _read(
        _slbi("pull", finished, "--format", "onnx", "-o", str(target), "--json", server=server)
    )
    assert again["beside"] == str(tmp_path / "net.md")
    exports = _read(_slbi("jobs", "--kind", "export", "--json", server=server))
    assert len(exports) == 1
    assert again["export"] == exports[0]["id"]
    shown = _slbi("show", exports[0]["id"], server=server).stdout
    assert "onnxruntime" in shown

    asked = ("submit", "--kind", "export", "--source", finished, "--set", 'export.formats=["onnx"]')
    assert _read(_slbi(*asked, "--json", server=server))["id"] == exports[0]["id"]
    assert _read(_slbi(*asked, "--again", "--json", server=server))["id"] != exports[0]["id"]


def test_two_pulls_at_once_share_one_export(server: str, finished: str, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        asked = [
            ("pull", finished, "--format", "torch", "-o", str(tmp_path / f"{number}.zip"), "--json")
            for number in range(2)
        ]
        pulled = [
            _read(ended) for ended in pool.map(lambda each: _slbi(*each, server=server), asked)
        ]
    assert pulled[0]["export"] == pulled[1]["export"]
    assert (tmp_path / "0.zip").read_bytes() == (tmp_path / "1.zip").read_bytes()
    assert (tmp_path / "0.md").read_text() == (tmp_path / "1.md").read_text()

    again = _read(_slbi(*asked[0], "--again", server=server))
    assert again["export"] != pulled[0]["export"]
    refused = _slbi("pull", finished, "--again", server=server)
    assert refused.returncode == 2
    assert "--again must go with a --format" in refused.stderr


def test_the_files_of_a_job_are_listed_and_fetched(
    server: str, finished: str, tmp_path: Path
) -> None:
    folder = tmp_path / "new" / "folder"
    shown = _slbi("files", finished, "--download", str(folder), server=server)
    assert shown.returncode == 0, shown.stderr
    found = _read(_slbi("files", finished, "--json", server=server))
    assert {path.name for path in folder.iterdir()} == {f"{row['id']}.safetensors" for row in found}
    assert all(row["id"] in shown.stdout for row in found)
    sizes = [(folder / f"{row['id']}.safetensors").stat().st_size for row in found]
    assert sizes == [row["bytes"] for row in found]


def test_a_file_is_sent_to_the_service_and_told(server: str, tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"
    file.write_bytes(sound(2**21))
    sent = _read(_slbi("upload", str(file), "--json", server=server))
    assert (sent["name"], sent["bytes"]) == (file.name, file.stat().st_size)
    assert sent["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    shown = _slbi("upload", str(file), "--name", "mine", server=server).stdout
    assert shown.startswith("Upload ")
    assert "2.1 MB  kept until " in shown


def test_a_file_that_the_service_does_not_take_exits_with_2(server: str, tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(b"PK\x03\x04" + bytes(100))
    ended = _slbi("upload", str(tmp_path / "net.pt"), server=server)
    assert ended.returncode == 2
    assert "must be a sound safetensors file" in ended.stderr
    assert _slbi("upload", str(tmp_path / "none"), server=server).returncode == 2


def test_a_description_never_replaces_the_model(finished: str, server: str, tmp_path: Path) -> None:
    target = tmp_path / "net.json"
    ended = _slbi("pull", finished, "-o", str(target), server=server)
    assert ended.returncode == 2
    assert not target.exists()


def test_a_budget_that_no_model_fits_exits_with_3_and_leaves_no_file(
    server: str, finished: str, tmp_path: Path
) -> None:
    target = tmp_path / "net.safetensors"
    ended = _slbi("pull", finished, "--max-macs", "1", "-o", str(target), server=server)
    assert ended.returncode == 3
    assert "nearest" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_models_that_fit_are_listed_with_the_one_to_take_and_why(
    server: str, finished: str
) -> None:
    every = _read(_slbi("models", finished, "--json", server=server))
    cheapest = every["items"][0]
    bounds = ("--max-bytes", str(cheapest["artifact"]["bytes"]), "--max-latency-ms", "1e6")
    fitting = _read(_slbi("models", finished, *bounds, "--json", server=server))
    assert cheapest["id"] in {item["id"] for item in fitting["items"]}
    shown = _slbi("models", finished, *bounds, "--pareto", "params,latency", server=server).stdout
    assert fitting["chosen"]["reason"] in shown
    none = _slbi("models", finished, "--max-macs", "1", server=server)
    assert none.returncode == 0
    assert none.stdout.startswith("No model fits max_macs 1; the nearest is")
    assert _slbi("models", finished, "--pareto", "macs", server=server).returncode == 2


def test_the_attempts_of_a_job_are_listed_with_how_they_ended(server: str, finished: str) -> None:
    (attempt,) = _read(_slbi("attempts", finished, "--json", server=server))
    assert (attempt["number"], attempt["outcome"], attempt["resumed_from"]) == (
        1, "succeeded", None,
    )  # fmt: skip
    head, row = _slbi("attempts", finished, server=server).stdout.splitlines()
    assert head.startswith("attempt  host")
    assert row.split()[0] == "1"
    assert "the start" in row
    assert "succeeded" in row
    assert "attempts  1" in _slbi("show", finished, server=server).stdout


@pytest.mark.parametrize("call", ["pause", "resume", "retry", "cancel"])
def test_a_job_that_has_succeeded_cannot_be_steered_any_more(
    server: str, finished: str, call: str
) -> None:
    ended = _slbi(call, finished, server=server)
    assert ended.returncode == 2
    assert "got succeeded" in ended.stderr


def test_a_job_that_was_cancelled_exits_with_1_where_it_is_followed(server: str) -> None:
    job = _read(_slbi("submit", "digits", "vgg11", "--json", server=server))
    assert _slbi("cancel", job["id"], server=server).returncode == 0
    assert _slbi("watch", job["id"], server=server).returncode == 1


def test_a_job_that_waits_is_paused_resumed_cancelled_and_retried(server: str) -> None:
    with Client(server) as client:
        # A backbone that trains for minutes keeps the one worker from the job behind it.
        first = client.submit({"dataset": "digits", "backbone": "vgg19", "priority": 1})["id"]
        behind = client.submit({"dataset": "digits", "backbone": "vgg11"})["id"]
        paused = _slbi("pause", behind, server=server).stdout
        resumed = _slbi("resume", behind, server=server).stdout
        again = _read(_slbi("pause", behind, "--json", server=server))
        listed = _slbi("attempts", behind, server=server).stdout
        cancelled = _slbi("cancel", behind, server=server).stdout
        retried = _slbi("retry", behind, server=server).stdout
        for job_id in (behind, first):
            client.cancel(job_id)
    assert paused == f"Job {behind} is paused. Have it go on: slbi resume {behind}\n"
    assert resumed == f"Job {behind} is queued. Follow it: slbi watch {behind}\n"
    assert again["state"] == "paused"
    assert listed == "No worker has begun with it yet.\n"
    assert cancelled == f"Job {behind} is cancelled.\n"
    assert retried == f"Job {behind} is queued. Follow it: slbi watch {behind}\n"


def test_what_the_worker_offers_gets_its_own_arguments() -> None:
    assert "--data-dir" in _slbi("grow", "--help").stdout
    assert _slbi("worker", "--nonsense").returncode == 2


def test_an_api_without_a_database_address_is_refused() -> None:
    ended = _slbi("api")
    assert ended.returncode == 2
    assert "SLBI_DATABASE_URL" in ended.stderr


def test_a_service_that_is_stopped_ends_the_streams_that_are_open(tmp_path: Path) -> None:
    with served(tmp_path) as address, Client(address) as client:
        # A backbone that trains for minutes: its stream is open when the service is stopped.
        job = client.submit({"dataset": "digits", "backbone": "vgg19"})
        watching = httpx.Client(base_url=address, timeout=30)
        request = watching.build_request("GET", f"/v1/jobs/{job['id']}/events")
        lines = watching.send(request, stream=True).iter_lines()
        assert next(lines) == "event: submitted"
        stopping = time.monotonic()
    list(lines)
    watching.close()
    assert time.monotonic() - stopping < STOPPED_WITHIN
    assert "Traceback" not in (tmp_path / "serve.log").read_text()


def test_a_start_and_a_migration_speak_json(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "service.cli.main", "serve", "--json", "--port", "0"]
    with subprocess.Popen(
        [*command, "--home", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        key = json.loads(process.stdout.readline())["key"]
        address = json.loads(process.stdout.readline())["ready"]
        process.terminate()
        _, logged = process.communicate()
    assert key.startswith("slbi_")
    assert address.startswith("http://127.0.0.1:")
    events = [json.loads(line)["event"] for line in logged.decode().splitlines()]
    assert events == ["worker_started", "worker_stopped"]
    url = {"SLBI_DATABASE_URL": f"sqlite:///{tmp_path / 'other.sqlite3'}"}
    ended = subprocess.run(
        [sys.executable, "-m", "service.cli.main", "migrate", "--json"],
        env=os.environ | url,
        capture_output=True,
        check=True,
    )
    told = json.loads(ended.stdout)
    assert told["before"] is None
    assert told["after"] is not None
