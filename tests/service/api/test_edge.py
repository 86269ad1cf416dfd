from collections.abc import Callable, Iterator

import pytest

from service.settings import Settings
from tests.service.running import SPEC, Service


def test_every_answer_bears_an_id_and_forbids_guessing(local: Service) -> None:
    for url in ("/healthz", "/v1/jobs", "/nothing", "/v1/jobs?limit=0"):
        headers = local.client.get(url).headers
        assert len(headers["X-Request-Id"]) == 32
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cache-Control"] == "private, no-cache"


def test_an_id_that_the_client_sends_comes_back_also_in_problems(local: Service) -> None:
    answer = local.client.get("/nothing", headers={"X-Request-Id": "mine-1.2_3"})
    assert answer.headers["X-Request-Id"] == "mine-1.2_3" == answer.json()["request_id"]


@pytest.mark.parametrize("sent", ["", "a b", "x" * 129, "a\tb", "<script>"])
def test_an_unusable_id_is_replaced(local: Service, sent: str) -> None:
    answer = local.client.get("/healthz", headers={"X-Request-Id": sent})
    assert answer.headers["X-Request-Id"] not in {sent, ""}


@pytest.fixture
def narrow(make_service: Callable[[Settings], Service], settings: Settings) -> Service:
    return make_service(settings.model_copy(update={"max_body_bytes": 1024}))


def test_a_body_that_is_announced_too_large_is_refused(narrow: Service) -> None:
    answer = narrow.client.post("/v1/jobs", json={**SPEC, "label": "x" * 2000})
    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"
    assert "1024 bytes" in answer.json()["detail"]


def test_a_body_that_turns_out_too_large_is_refused(narrow: Service) -> None:
    def parts() -> Iterator[bytes]:
        yield b'{"label": "'
        for _ in range(20):
            yield b"x" * 100

    answer = narrow.client.post(
        "/v1/jobs", content=parts(), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"


def test_a_body_of_the_largest_size_is_taken(narrow: Service) -> None:
    body = b'{"dataset": "digits", "backbone": "vgg11"}'.ljust(1024)
    answer = narrow.client.post(
        "/v1/jobs", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 202
