import os

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError


@pytest.fixture
def redis_answers() -> None:
    """Redis answers on this machine; without it the test is skipped, or fails where CI=true."""
    with Redis(socket_connect_timeout=2) as redis:
        try:
            redis.ping()
        except RedisConnectionError as error:
            if os.environ.get("CI") == "true":
                pytest.fail(f"Redis must answer on 127.0.0.1:6379: {error}")
            pytest.skip(f"Redis must answer on 127.0.0.1:6379: {error}")
