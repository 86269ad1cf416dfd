import json
import socket
from pathlib import Path

import pytest

from service.client.client import Client
from service.client.problem import ClientError, Problem, UnreachableError
from service.client.retry import Backoff
from tests.service.client.prepared import Answer, Prepared


def _json(value: object, status: int = 200, **headers: str) -> Answer:
    return Answer(status=status, headers=headers, body=json.dumps(value).encode())


def _events(*ids: int, final: bool = False) -> bytes:
    lines = [f"event: progress\nid: {number}\ndata: {{}}\n\n" for number in ids]
    if final:
        lines.append(f"event: succeeded\nid: {ids[-1] + 1}\ndata: {{}}\n\n")
    return "".join(lines).encode()


def test_a_submit_tried_again_carries_the_same_idempotency_key(prepared: Prepared) -> None:
    prepared.answers = [Answer(status=503), _json({"id": "7"}, 202)]
    job = prepared.client().submit({"dataset": "digits", "backbone": "vgg11"})
    keys = {asked.headers["idempotency-key"] for asked in prepared.asked}
    assert job == {"id": "7"}
    assert len(prepared.asked) == 2
    assert len(keys) == 1


def test_two_submits_carry_different_idempotency_keys(prepared: Prepared) -> None:
    prepared.answers = [_json({}), _json({})]
    for _ in range(2):
        prepared.client().submit({})
    assert len({asked.headers["idempotency-key"] for asked in prepared.asked}) == 2


def test_the_key_is_sent_as_a_bearer_token_and_only_if_there_is_one(prepared: Prepared) -> None:
    prepared.answers = [_json({}), _json({})]
    prepared.client("slbi_secret").job("7")
    prepared.client().job("7")
    assert prepared.asked[0].headers["authorization"] == "Bearer slbi_secret"
    assert "authorization" not in prepared.asked[1].headers


def test_a_busy_service_is_asked_again_after_the_time_it_names(prepared: Prepared) -> None:
    prepared.answers = [Answer(status=503, headers={"Retry-After": "2"}), _json({"id": "7"})]
    assert prepared.client().job("7") == {"id": "7"}
    assert prepared.waited == [2.0]


def test_a_retry_after_of_an_hour_is_not_slept_through(prepared: Prepared) -> None:
    prepared.answers = [Answer(status=503, headers={"Retry-After": "3600"}), _json({})]
    prepared.client().job("7")
    assert prepared.waited == [Backoff().longest_seconds]


def test_a_refusal_is_a_problem_with_its_fields_and_is_not_tried_again(prepared: Prepared) -> None:
    body = {
        "title": "The request is not valid",
        "detail": "1 field is not valid.",
        "code": "invalid",
        "errors": [{"pointer": "/backbone", "code": "unknown_backbone", "message": "known: lenet"}],
    }
    prepared.answers = [_json(body, 422)]
    with pytest.raises(Problem, match=r"(?s)1 field.*/backbone: known: lenet") as caught:
        prepared.client().submit({})
    assert (caught.value.status, caught.value.code) == (422, "invalid")
    assert len(prepared.asked) == 1


def test_an_error_page_of_a_proxy_is_a_problem_of_its_status(prepared: Prepared) -> None:
    prepared.answers = [Answer(status=502, body=b"<html>Bad gateway</html>")]
    with pytest.raises(Problem, match="502 Bad Gateway") as caught:
        prepared.client().job("7")
    assert caught.value.status == 502


def test_an_answer_that_is_no_json_names_what_was_expected(prepared: Prepared) -> None:
    prepared.answers = [Answer(body=b"<html>hello</html>")]
    with pytest.raises(ClientError, match="must answer a JSON object"):
        prepared.client().job("7")


def test_a_service_that_is_not_there_is_unreachable_and_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    waited: list[float] = []
    backoff = Backoff(sleep=waited.append)
    with (
        Client(f"http://127.0.0.1:{port}", backoff=backoff) as client,
        pytest.raises(UnreachableError, match=rf"127\.0\.0\.1:{port}"),
    ):
        client.job("7")
    assert waited == [0.25, 0.5]


def test_an_address_without_a_scheme_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="must begin with http"):
        Client("localhost:8000")


def test_jobs_of_all_pages_come_in_order_and_pages_are_fetched_as_they_are_needed(
    prepared: Prepared,
) -> None:
    prepared.answers = [
        _json({"items": [{"id": 3}, {"id": 2}], "next_cursor": "abc"}),
        _json({"items": [{"id": 1}], "next_cursor": None}),
    ]
    jobs = prepared.client().jobs(state="queued", sweep="s")
    assert next(jobs)["id"] == 3
    assert len(prepared.asked) == 1
    assert [job["id"] for job in jobs] == [2, 1]
    assert "cursor" not in prepared.asked[0].path
    assert "cursor=abc" in prepared.asked[1].path
    assert "state=queued&sweep=s" in prepared.asked[1].path


def test_a_broken_stream_is_taken_up_behind_the_last_event(prepared: Prepared) -> None:
    whole = _events(1, 2)
    prepared.answers = [
        Answer(body=whole + b"event: progress\nid: 3\n", cut=len(whole) + 5),
        Answer(status=503),
        Answer(body=_events(3, final=True)),
        Answer(status=204, body=b""),
    ]
    assert [event.id for event in prepared.client().events("7")] == [1, 2, 3, 4]
    asked = [request.headers.get("last-event-id") for request in prepared.asked]
    assert asked == [None, "2", "2", "4"]


def test_events_of_a_retried_job_go_on_behind_its_first_end(prepared: Prepared) -> None:
    prepared.answers = [
        Answer(body=_events(1, final=True)),
        Answer(body=_events(3, final=True) + _events(5, final=True)),
        Answer(status=204, body=b""),
    ]
    assert [event.id for event in prepared.client().events("7")] == [1, 2, 3, 4, 5, 6]
    assert [request.headers.get("last-event-id") for request in prepared.asked] == [None, "2", "6"]
    assert prepared.waited == [0.0, 0.0]


def test_a_service_that_is_gone_after_the_end_of_a_job_is_not_asked_for_ever(
    prepared: Prepared,
) -> None:
    prepared.answers = [Answer(body=_events(1, final=True)), *[Answer(status=503)] * 9]
    with pytest.raises(UnreachableError):
        list(prepared.client(tries=3).events("7"))
    assert len(prepared.asked) == 4


def test_a_stream_is_asked_for_again_after_the_time_the_service_names(prepared: Prepared) -> None:
    prepared.answers = [
        Answer(status=503, headers={"Retry-After": "5"}),
        Answer(body=_events(1, final=True)),
        Answer(status=204, body=b""),
    ]
    assert [event.id for event in prepared.client().events("7")] == [1, 2]
    assert prepared.waited == [5.0, 0.0]


@pytest.mark.parametrize("call", ["cancel", "pause", "resume", "retry"])
def test_a_job_is_steered_by_a_post_to_its_own_route(prepared: Prepared, call: str) -> None:
    prepared.answers = [_json({"id": "7", "state": "queued"}, 202)]
    assert getattr(prepared.client(), call)("7") == {"id": "7", "state": "queued"}
    assert [(each.method, each.path) for each in prepared.asked] == [("POST", f"/v1/jobs/7/{call}")]


def test_a_conflict_is_a_problem_that_says_what_would_be_possible(prepared: Prepared) -> None:
    prepared.answers = [_json({"code": "conflict", "detail": "A job must be paused."}, 409)]
    with pytest.raises(Problem, match="must be paused") as caught:
        prepared.client().resume("7")
    assert (caught.value.status, caught.value.code) == (409, "conflict")


def test_attempts_come_as_a_list(prepared: Prepared) -> None:
    prepared.answers = [_json({"items": [{"number": 1}, {"number": 2}]})]
    assert prepared.client().attempts("7") == [{"number": 1}, {"number": 2}]
    assert prepared.asked[0].path == "/v1/jobs/7/attempts"


def test_files_come_as_a_list(prepared: Prepared) -> None:
    prepared.answers = [_json({"items": [{"id": "1"}, {"id": "2"}]})]
    assert prepared.client().artifacts("7") == [{"id": "1"}, {"id": "2"}]
    assert prepared.asked[0].path == "/v1/jobs/7/artifacts"


def test_a_file_is_sent_whole_with_every_try(prepared: Prepared, tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"
    file.write_bytes(bytes(range(256)) * 4000)
    prepared.answers = [Answer(status=503), _json({"id": "7"}, 201)]
    assert prepared.client().upload(file) == {"id": "7"}
    assert [asked.body for asked in prepared.asked] == [file.read_bytes()] * 2
    assert prepared.asked[0].path == "/v1/uploads?name=net.safetensors"
    assert prepared.asked[0].headers["content-type"] == "application/octet-stream"
    assert "transfer-encoding" not in prepared.asked[0].headers


def test_an_upload_has_the_name_that_is_given(prepared: Prepared, tmp_path: Path) -> None:
    (tmp_path / "net").write_bytes(b"")
    prepared.answers = [_json({"id": "7"}, 201)]
    prepared.client().upload(tmp_path / "net", "a b")
    assert prepared.asked[0].path == "/v1/uploads?name=a+b"


def test_a_stream_that_brings_nothing_is_given_up(prepared: Prepared) -> None:
    prepared.answers = [Answer(body=b": nothing\n\n") for _ in range(3)]
    with pytest.raises(UnreachableError, match="ended before the job did"):
        list(prepared.client(tries=3).events("7"))


def test_events_of_an_unknown_job_are_a_problem(prepared: Prepared) -> None:
    prepared.answers = [_json({"detail": "No job has id 7."}, 404)]
    with pytest.raises(Problem, match="No job has id 7"):
        next(prepared.client().events("7"))


def test_bounds_that_are_not_given_are_not_sent(prepared: Prepared) -> None:
    prepared.answers = [_json({"items": []})]
    prepared.client().models("7", max_macs=1000)
    assert prepared.asked[0].path == "/v1/jobs/7/models?max_macs=1000"


def test_a_family_is_asked_for_with_every_bound_and_its_front(prepared: Prepared) -> None:
    prepared.answers = [_json({"items": [], "chosen": None})]
    family = prepared.client().family(
        "7", pareto="params,latency", max_bytes=9, max_latency_ms=2.5, kind="tuned"
    )
    assert family["chosen"] is None
    asked = "max_bytes=9&max_latency_ms=2.5&kind=tuned&pareto=params%2Clatency"
    assert prepared.asked[0].path == f"/v1/jobs/7/models?{asked}"


def test_a_budget_that_none_fits_is_a_problem_that_holds_the_nearest(
    prepared: Prepared, tmp_path: Path
) -> None:
    prepared.answers = [_json({"detail": "No model fits.", "nearest": {"model": "8"}}, 404)]
    with pytest.raises(Problem, match="No model fits") as caught:
        prepared.client().download("7", tmp_path / "net", max_bytes=1)
    assert caught.value.nearest == {"model": "8"}


def test_what_a_download_would_fetch_is_asked_for_without_fetching_it(prepared: Prepared) -> None:
    told = {"Slbi-Model": "8", "Slbi-Export": "9"}
    prepared.answers = [Answer(status=304, headers=told, body=b""), _json({"code": "gone"}, 410)]
    client = prepared.client()
    assert client.located("7", format="onnx", max_macs=5) == {"model": "8", "export": "9"}
    assert prepared.asked[0].path == "/v1/jobs/7/checkpoint?max_macs=5&format=onnx"
    assert prepared.asked[0].headers["if-none-match"] == "*"
    with pytest.raises(Problem):
        client.located("7")


def test_a_file_that_names_no_model_is_of_no_service_of_this_kind(prepared: Prepared) -> None:
    prepared.answers = [_json({})]
    with pytest.raises(ClientError, match="must name its model"):
        prepared.client().located("7")


def test_again_is_sent_only_where_it_is_wanted(prepared: Prepared) -> None:
    prepared.answers = [_json({"id": "7"}, 202), _json({"id": "7"}, 202)]
    prepared.client().submit({"kind": "export"})
    prepared.client().submit({"kind": "export"}, again=True)
    assert [asked.path for asked in prepared.asked] == ["/v1/jobs", "/v1/jobs?again=true"]


def test_a_sweep_is_started_with_a_key_of_its_own_and_can_be_tried_dry(prepared: Prepared) -> None:
    prepared.answers = [_json({"id": "7"}, 202), _json({"total": {}}), _json({"id": "7"})]
    client = prepared.client()
    client.start_sweep({"specs": []})
    client.start_sweep({"specs": []}, dry_run=True)
    client.sweep("7", pareto="params,bytes", max_macs=9)
    first, dry, shown = prepared.asked
    assert (first.path, len(first.headers["idempotency-key"])) == ("/v1/sweeps", 32)
    assert dry.path == "/v1/sweeps?dry_run=true"
    assert shown.path == "/v1/sweeps/7?pareto=params%2Cbytes&max_macs=9"


def test_sweeps_are_listed_page_by_page(prepared: Prepared) -> None:
    prepared.answers = [
        _json({"items": [{"id": "2"}], "next": "/v1/sweeps?cursor=x"}),
        _json({"items": [{"id": "1"}], "next": None}),
    ]
    assert [each["id"] for each in prepared.client().sweeps()] == ["2", "1"]
    assert prepared.asked[1].path == "/v1/sweeps?cursor=x"
