import json
import secrets
import socket
import time
from collections.abc import Iterator

import pytest
from celery import Celery
from structlog.testing import capture_logs

from service.contract import QUEUE, WAKE_TASK
from service.queue import CeleryQueue
from service.settings import Settings

REDIS = "redis://127.0.0.1:6379/13"


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield listener.getsockname()[1]


@pytest.mark.stack
def test_a_wake_up_is_a_message_by_name_that_carries_nothing() -> None:
    with Celery(broker=REDIS, set_as_current=False).connection_for_read() as connection:
        simple = connection.SimpleQueue(QUEUE)
        simple.clear()
        queue = CeleryQueue(REDIS)
        assert queue.ping()
        queue.wake()
        message = simple.get(timeout=5)
        message.ack()
        simple.close()
    assert message.headers["task"] == WAKE_TASK
    assert json.loads(message.body)[:2] == [[], {}]
    assert message.content_type == "application/json"


def test_in_memory_a_wake_up_reaches_whoever_listens_in_this_process() -> None:
    queue = CeleryQueue("memory://")
    queue.wake()
    with Celery(broker="memory://", set_as_current=False).connection_for_read() as connection:
        simple = connection.SimpleQueue(QUEUE)
        message = simple.get(timeout=1)
        message.ack()
        simple.close()
    assert message.headers["task"] == WAKE_TASK


def test_the_default_broker_says_all_that_kombu_asks_of_an_address(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert CeleryQueue(Settings.model_fields["broker_url"].default).ping()
    assert caplog.messages == []


@pytest.mark.parametrize("broker", ["redis://127.0.0.1:9/0", "redis://silent"])
def test_a_broker_that_is_down_is_logged_and_costs_little_time(
    broker: str, silent_port: int
) -> None:
    queue = CeleryQueue(broker.replace("silent", f"127.0.0.1:{silent_port}/0"))
    began = time.monotonic()
    with capture_logs() as logs:
        queue.wake()
    assert time.monotonic() - began < 4
    assert [log["event"] for log in logs] == ["broker_unreachable"]
    assert queue.ping() is False


def test_making_a_queue_connects_to_nothing() -> None:
    began = time.monotonic()
    CeleryQueue(f"redis://{secrets.token_hex(4)}.invalid:6379/0")
    assert time.monotonic() - began < 0.1
