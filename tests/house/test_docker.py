"""The Dockerfile and the compose file, checked by tools that need no engine."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    compose: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    found: dict[str, Any] = compose["services"]
    return found


def _stage(name: str) -> str:
    """Return the instructions of one stage."""
    stages = re.split(r"^(?=FROM )", DOCKERFILE, flags=re.MULTILINE)
    (found,) = [stage for stage in stages if re.match(rf"FROM \S+ AS {name}\n", stage)]
    return found


def test_hadolint_finds_nothing() -> None:
    subprocess.run([BIN / "hadolint", ROOT / "Dockerfile"], check=True)


def test_the_compose_file_fits_the_compose_specification() -> None:
    command = (BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec")
    subprocess.run((*command, ROOT / "docker-compose.yml"), check=True)


@pytest.mark.parametrize("target", ["service", "worker"])
def test_an_image_ends_as_a_user_without_rights_and_holds_no_build_stage(target: str) -> None:
    stage = _stage(target)
    assert "USER 10001:10001" in stage
    assert "RUN" not in stage
    assert f"COPY --from=build-{target} " in stage


def test_the_service_image_is_built_from_a_lock_without_torch() -> None:
    stage = _stage("build-service")
    assert "locks/service.txt" in stage
    assert "COPY worker" not in stage
    assert "COPY slbi" not in stage


def test_everything_that_the_dockerfile_copies_is_let_through() -> None:
    through = set(re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    copied = {
        source
        for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for source in sources.split()
    }
    assert copied == through
    assert all((ROOT / source).exists() for source in copied)


@pytest.mark.parametrize("name", ["migrate", "api", "worker", "worker-cpu"])
def test_our_containers_can_change_nothing_and_gain_nothing(
    services: dict[str, Any], name: str
) -> None:
    assert services[name]["read_only"] is True
    assert services[name]["cap_drop"] == ["ALL"]
    assert services[name]["security_opt"] == ["no-new-privileges:true"]


def test_redis_keeps_what_it_was_given(services: dict[str, Any]) -> None:
    command = services["redis"]["command"]
    assert command[command.index("--appendonly") + 1] == "yes"
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"


def test_api_and_workers_start_only_on_a_migrated_database(services: dict[str, Any]) -> None:
    for name in ("api", "worker", "worker-cpu"):
        wanted = services[name]["depends_on"]["migrate"]["condition"]
        assert wanted == "service_completed_successfully"


def test_api_and_workers_share_the_checkpoints(services: dict[str, Any]) -> None:
    for name in ("api", "worker", "worker-cpu"):
        directory = services[name]["environment"]["SLBI_ARTIFACT_DIR"]
        assert f"artifacts:{directory}" in services[name]["volumes"]


def test_every_variable_that_compose_asks_for_is_explained() -> None:
    asked = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    explained = set(re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert asked == explained
