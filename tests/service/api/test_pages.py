"""Every spec that a page shows is one that the service takes."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.service.origins import Origin, send, store_origin
from tests.service.running import Service

DOCS = Path(__file__).parents[3] / "docs"
FLOWS = re.findall(r"```json\n(\{.*?\})\n```", (DOCS / "flows.md").read_text(), re.DOTALL)
ASKED = re.findall(r"^ask '(.*)'$", (DOCS / "api.md").read_text(), re.MULTILINE)


def _spec(text: str, origin: Origin, client: TestClient) -> dict[str, Any]:
    if '"UPLOAD"' in text:
        text = text.replace("UPLOAD", send(client))
    text = text.replace("'$JOB'", "JOB").replace('"JOB"', f'"{origin.job}"')
    spec: dict[str, Any] = json.loads(text)
    return spec


@pytest.fixture
def everything(local: Service) -> Service:
    """A service whose data directory seems to hold every data set."""
    directory = local.settings.datasets[0]
    for row in local.client.get("/v1/datasets").json()["items"]:
        for file in layouts(row["name"]):
            (directory / file).parent.mkdir(parents=True, exist_ok=True)
            (directory / file).touch()
    return local


def layouts(name: str) -> list[str]:
    facts = json.loads((DOCS.parent / "service" / "catalogue.json").read_bytes())
    files: list[list[str]] = facts["datasets"][name]["files"]
    return files[0] if files else []


def test_the_pages_show_every_kind() -> None:
    kinds = ["grow", "train", "weights", "ticket", "prune", "visualise", "export"]
    for texts in (FLOWS, ASKED):
        assert {kind for kind in kinds if any(f'"{kind}"' in text for text in texts)} == set(kinds)


@pytest.mark.parametrize("text", [*FLOWS, *ASKED])
def test_a_spec_that_a_page_shows_is_taken(everything: Service, text: str) -> None:
    lenet = '"conv3"' in text
    # The flow's own source: its single weights had twins too, so their order is known.
    trained = {
        "kind": "train",
        "dataset": "mnist",
        "backbone": "lenet5",
        "twin": {"structure": "mixed"},
    }
    spec = trained if lenet else {"dataset": "digits", "backbone": "vgg11"}
    groups = ("conv1", "conv2", "conv3", "fc1") if lenet else None
    origin = store_origin(everything, spec=spec, groups=groups)
    answer = everything.client.post(
        "/v1/jobs?dry_run=true", json=_spec(text, origin, everything.client)
    )
    assert answer.status_code == 200, answer.text
