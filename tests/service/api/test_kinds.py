"""Specs of every kind over HTTP: taken, completed, refused in the right place, foreseen."""

from typing import Any

import jsonschema
import pytest

from service.spec.jobs import KIND_NAMES
from tests.service.origins import Origin, send, store_origin
from tests.service.running import SPEC, Service, store_job

FRESH = ("grow", "train", "weights", "ticket")


def _spec(kind: str, origin: Origin, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return the shortest spec of a kind."""
    if kind in FRESH:
        return {"kind": kind, **SPEC, **changes}
    own: dict[str, Any] = {"pruning": {"percent": 50}} if kind == "prune" else {}
    return {"kind": kind, "source": {"job": str(origin.job)}, **own, **changes}


@pytest.fixture
def origin(local: Service) -> Origin:
    return store_origin(local)


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_the_shortest_spec_of_a_kind_is_taken_and_completed(
    local: Service, origin: Origin, kind: str
) -> None:
    answer = local.client.post("/v1/jobs", json=_spec(kind, origin))
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert (job["kind"], job["dataset"], job["backbone"]) == (kind, "digits", "vgg11")
    known = {each["name"]: each for each in local.client.get("/v1/datasets").json()["items"]}
    for section, values in known["digits"]["defaults"][kind].items():
        for name, value in values.items():
            assert job["spec"][section][name] == value
    event = local.client.get(f"/v1/jobs/{job['id']}/events?after=0").json()["items"][0]
    assert event["data"]["kind"] == kind


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_a_schema_holds_every_kind_and_nothing_else(
    local: Service, origin: Origin, kind: str
) -> None:
    offered = local.client.get("/v1/backbones").json()["settings"]
    assert len(offered["oneOf"]) == len(KIND_NAMES)
    document = local.client.get("/openapi.json").json()
    asked = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]
    taken = {**asked["schema"], "components": document["components"]}
    assert len(taken["oneOf"]) == len(KIND_NAMES)
    spec = _spec(kind, origin)
    for schema in (offered, taken):
        jsonschema.validate(spec, schema)
        for wrong in ({**spec, "kind": "none"}, {**spec, "colour": 1}):
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate(wrong, schema)


@pytest.mark.parametrize("kind", ["shrink", None, 5, [], {"a": 1}, "kind=grow"])
def test_a_kind_that_there_is_not_is_refused_and_the_others_are_listed(
    local: Service, kind: object
) -> None:
    answer = local.client.post("/v1/jobs", json={**SPEC, "kind": kind})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert (error["pointer"], error["code"]) == ("/kind", "unknown_kind")
    assert error["message"] == f"kind must be one of {', '.join(KIND_NAMES)}, got {kind!r}"


BAD: list[tuple[str, dict[str, Any], str, str, str]] = [
    # kind, what is changed, pointer, code, told
    *(
        (kind, {"colour": 1}, "/colour", "extra_forbidden", "colour must be left out")
        for kind in KIND_NAMES
    ),
    *(
        (kind, {"compute": {"seed": -1}}, "/compute/seed", "greater_than_equal", "compute.seed")
        for kind in KIND_NAMES
    ),
    *((kind, {"classes": 3}, "/classes", "wrong_classes", "must be 10") for kind in KIND_NAMES),
    *((kind, {"dataset": "x"}, "/dataset", "unknown_dataset", "known: ") for kind in KIND_NAMES),
    *(
        (kind, {"dataset": "cifar10"}, "/dataset", "absent_dataset", "looked in")
        for kind in KIND_NAMES
    ),
    *((kind, {"backbone": "x"}, "/backbone", "unknown_backbone", "vgg11") for kind in FRESH),
    *(
        (kind, {"backbone": "vgg13"}, "/backbone", "other_backbone", "that of the source, vgg11")
        for kind in ("prune", "visualise", "export")
    ),
    *(
        (kind, {"backbone": "lenet5"}, "/data/image_size", "unsuitable_size", "28 or 32 px")
        for kind in FRESH
    ),
    *(
        (
            kind,
            {"optim": {"momentum": 0, "nesterov": True}},
            "/optim/nesterov",
            "needs_momentum",
            "above 0",
        )
        for kind in (*FRESH, "prune")
    ),
    *(
        (kind, {"compute": {"processes": 2}}, "/compute/processes", "trains_nothing", "got 2")
        for kind in ("visualise", "export")
    ),
    *(
        change
        for kind in ("train", "weights", "ticket")
        for change in (
            (kind, {kind: 1, "train": {"colour": 1}}, "/train/colour", "extra_forbidden", "left"),
            (kind, {"train": {"epochs": 0}}, "/train/epochs", "too_few", "at least 1, got 0"),
            (
                kind,
                {"train": {"drops": [5, 0]}},
                "/train/drops/1",
                "greater_than_equal",
                "train.drops.1 must be greater than or equal to 1, got 0",
            ),
            (kind, {"widths": {"conv9": 1}}, "/widths/conv9", "unknown_group", "conv1"),
            (kind, {"widths": {"conv1": 1}}, "/widths", "missing_group", "conv2"),
            (kind, {"widths": 0}, "/widths", "greater_than_equal", "got 0"),
            (kind, {"widths": {"conv1": 0}}, "/widths/conv1", "greater_than_equal", "got 0"),
            (
                kind,
                {"twin": {"structure": "filter", "normalised": True}},
                "/twin/normalised",
                "needs_element",
                "'filter'",
            ),
        )
    ),
    ("weights", {"twin": {"structure": "mixed"}}, "/twin/structure", "needs_element", "'mixed'"),
    ("weights", {"finetune": {"epochs": -1}}, "/finetune/epochs", "greater_than_equal", "got -1"),
    ("ticket", {"retrain": {"epochs": 0}}, "/retrain/epochs", "too_few", "got 0"),
    ("ticket", {"mask": {"epoch": 21}}, "/mask/epoch", "too_late", "20 epochs of train, got 21"),
    ("ticket", {"mask": {"rewind": 21}}, "/mask/rewind", "too_late", "at most 20"),
    ("ticket", {"mask": {"epoch": 2, "rewind": 3}}, "/mask/rewind", "too_late", "at most 2"),
    ("ticket", {"mask": {"epoch": "soon"}}, "/mask/epoch", "int_parsing", "'auto'"),
    ("ticket", {"rivals": ["sparse"]}, "/rivals/0", "literal_error", "'random' or 'dense'"),
    ("ticket", {"transfer_to": "x"}, "/transfer_to", "unknown_dataset", "known: "),
    ("ticket", {"transfer_to": "cifar10"}, "/transfer_to", "absent_dataset", "looked in"),
    ("ticket", {"transfer_to": "mnist"}, "/transfer_to", "other_shape", "8 px like digits"),
    ("ticket", {"source": {}}, "/source", "value_error", "source must name either a job or"),
    ("ticket", {"start": "source"}, "/start", "needs_source", "start needs a source"),
    ("ticket", {"start": "end"}, "/start", "literal_error", "'source' or 'initial'"),
    ("prune", {"source": {}}, "/source", "value_error", "source must name either a job or"),
    ("prune", {"source": None}, "/source", "model_attributes_type", "source"),
    ("prune", {"source": {"job": "7"}}, "/source/job", "uuid_parsing", "source.job must be a"),
    ("prune", {"pruning": {}}, "/pruning", "value_error", "pruning must name either percent"),
    (
        "prune",
        {"pruning": {"percent": 50, "max_macs": 10}},
        "/pruning",
        "value_error",
        "pruning must name either percent",
    ),
    (
        "prune",
        {"pruning": {"percent": {"conv1": 101}}},
        "/pruning/percent/conv1",
        "less_than_equal",
        "got 101",
    ),
    (
        "prune",
        {"pruning": {"percent": {"conv1": 50, "fc/1": 50}}},
        "/pruning/percent/fc~11",
        "unknown_group",
        "classifier.weight; got 'fc/1'",
    ),
    (
        "prune",
        {"pruning": {"max_macs": 9, "max_latency_ms": 1}},
        "/pruning",
        "value_error",
        "or max_latency_ms",
    ),
    (
        "prune",
        {"pruning": {"max_latency_ms": 1, "slice": False}},
        "/pruning",
        "value_error",
        "must slice",
    ),
    (
        "prune",
        {"pruning": {"percent": 5, "exclude": ["conv9"]}},
        "/pruning/exclude/0",
        "unknown_group",
        "conv7, conv8; got 'conv9'",
    ),
    (
        "prune",
        {"pruning": {"stages": {"fc*": {"percent": 5}}}},
        "/pruning/stages/fc*",
        "unknown_group",
        "conv8; got 'fc*'",
    ),
    (
        "prune",
        {"pruning": {"percent": 5, "min_width": {"fc": 1}}},
        "/pruning/min_width/fc",
        "unknown_group",
        "conv8; got 'fc'",
    ),
    ("prune", {"finetune": {"factor": 1}}, "/finetune/factor", "less_than_equal", "got 1"),
    (
        "visualise",
        {"pictures": {"layers": ["features.conv1.conv", "conv1"]}},
        "/pictures/layers/1",
        "unknown_layer",
        "features.conv1.conv",
    ),
    ("visualise", {"pictures": {"layers": []}}, "/pictures/layers", "too_short", "at least 1"),
    ("visualise", {"pictures": {"show": ["x"]}}, "/pictures/show/0", "literal_error", "'weights'"),
    ("visualise", {"optim": {}}, "/optim", "extra_forbidden", "no such field"),
    ("export", {"export": {"formats": []}}, "/export/formats", "too_short", "at least 1"),
    ("export", {"export": {"formats": ["tf"]}}, "/export/formats/0", "literal_error", "'onnx'"),
    ("export", {"export": {"check": "maybe"}}, "/export/check", "bool_parsing", "a valid boolean"),
    ("export", {"pictures": {}}, "/pictures", "extra_forbidden", "no such field"),
    ("train", {"growth": {}}, "/growth", "extra_forbidden", "no such field"),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: f"{bad[0]}{bad[2]}-{bad[3]}")
def test_a_bad_spec_of_a_kind_is_refused_where_it_is_bad(
    local: Service, origin: Origin, bad: tuple[str, dict[str, Any], str, str, str]
) -> None:
    kind, change, pointer, code, told = bad
    answer = local.client.post("/v1/jobs", json=_spec(kind, origin, **change))
    assert answer.status_code == 422, answer.text
    errors = {(each["pointer"], each["code"]): each for each in answer.json()["errors"]}
    assert (pointer, code) in errors, errors
    assert told in errors[pointer, code]["message"]
    assert "kind=" not in answer.text
    assert local.queue.wakes == 0


@pytest.mark.parametrize(
    ("kind", "left_out"),
    [
        *((kind, ["/dataset", "/backbone"]) for kind in FRESH),
        ("prune", ["/source", "/pruning"]),
        ("visualise", ["/source"]),
        ("export", ["/source"]),
    ],
)
def test_what_a_kind_needs_is_named(local: Service, kind: str, left_out: list[str]) -> None:
    answer = local.client.post("/v1/jobs", json={"kind": kind})
    errors = answer.json()["errors"]
    assert [each["pointer"] for each in errors] == left_out
    assert {each["code"] for each in errors} == {"missing"}


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_a_dry_run_of_a_kind_says_what_it_would_take(
    local: Service, origin: Origin, kind: str
) -> None:
    spec = _spec(kind, origin, **({"widths": 8} if kind in FRESH[1:] else {}))
    answer = local.client.post("/v1/jobs?dry_run=true", json=spec)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["spec"]["kind"] == kind
    assert told["now"]["widths"] == dict.fromkeys(told["layers"], 8)
    assert (told["now"] == told["at_most"]) == (kind != "grow")
    assert told["now"]["memory_bytes"] > 0
    assert told["time"]["reason"] == "No finished job tells yet how fast the workers are."


def test_a_dry_run_of_a_file_that_tells_no_widths_says_so(local: Service) -> None:
    source = {"upload": send(local.client)}
    spec = {"kind": "prune", **SPEC, "source": source, "pruning": {"percent": 5, "order": "norm"}}
    told = local.client.post("/v1/jobs?dry_run=true", json=spec).json()
    assert told["now"] == {"widths": None, "params": None, "macs": None, "memory_bytes": None}
    assert "uploaded file" in told["time"]["reason"]


def test_jobs_are_listed_by_kind(local: Service, origin: Origin) -> None:
    for kind in KIND_NAMES:
        assert local.client.post("/v1/jobs", json=_spec(kind, origin)).status_code == 202

    def kinds(query: str) -> list[str]:
        return [each["kind"] for each in local.client.get(f"/v1/jobs?{query}").json()["items"]]

    assert kinds("kind=prune") == ["prune"]
    assert kinds("kind=train&kind=ticket") == ["ticket", "train"]
    assert kinds("kind=grow&state=queued") == ["grow"]
    page = local.client.get("/v1/jobs?kind=grow&limit=1").json()
    assert "kind=grow" in page["next"]
    answer = local.client.get("/v1/jobs?kind=shrink")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "?kind.0"


def test_models_tell_their_kind_and_whose_classes_they_know(local: Service) -> None:
    origin = store_origin(local, datasets=("mnist", None))
    models = local.client.get(f"/v1/jobs/{origin.job}/models").json()["items"]
    assert [model["dataset"] for model in models] == ["mnist", None]
    kinds = ("grown", "trained", "pruned", "masked", "tuned", "ticket", "random", "dense")
    for kind in kinds:
        for path in ("models", "checkpoint"):
            answer = local.client.get(f"/v1/jobs/{origin.job}/{path}?kind={kind}")
            assert answer.status_code == (200 if kind == "grown" or path == "models" else 404)
    assert local.client.get(f"/v1/jobs/{origin.job}/models?kind=wild").status_code == 422


def test_a_job_without_a_model_is_no_error(local: Service) -> None:
    job_id = store_job(local.database, kind="visualise")
    assert local.client.get(f"/v1/jobs/{job_id}/models").json()["items"] == []
    assert local.client.get(f"/v1/jobs/{job_id}/checkpoint").status_code == 404
