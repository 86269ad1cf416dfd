"""Commands on what a service offers: backbones, datasets, workers."""

from collections.abc import Mapping
from typing import Any

from service.cli.options import AsJson, Server, connect
from service.cli.output import MISSING, count, print_json, print_table


def backbones(*, server: Server = None, as_json: AsJson = False) -> None:
    """List the backbones, with what they cost as published."""
    with connect(server) as client:
        found = client.backbones()
    if as_json:
        print_json(found)
        return
    print_table(
        ["backbone", "groups", "parameters", "MACs", "at", "stems"],
        [
            [
                row["name"],
                str(row["group_count"]),
                count(row["published"]["params"]),
                count(row["published"]["macs"]),
                f"{row['published']['size']} px",
                ", ".join(stem["name"] for stem in row["stems"]),
            ]
            for row in found
        ],
        right=["groups", "parameters", "MACs", "at"],
    )


def datasets(*, server: Server = None, as_json: AsJson = False) -> None:
    """List the data sets, and of those that are not there how to get them."""
    with connect(server) as client:
        found = client.datasets()
    if as_json:
        print_json(found)
        return
    print_table(
        ["data set", "there", "images", "size", "classes", "how to get it"],
        [
            [
                row["name"],
                "yes" if row["present"] else "no",
                count(row["train"]),
                _shape(row),
                str(row["classes"]),
                "" if row["present"] else row["how_to_get"],
            ]
            for row in found
        ],
        right=["images", "classes"],
    )


def workers(*, server: Server = None, as_json: AsJson = False) -> None:
    """List the workers: who is alive, and which attempt at which of your jobs is whose."""
    with connect(server) as client:
        found = client.workers()
    if as_json:
        print_json(found)
        return
    print_table(
        ["worker", "host", "device", "state", "job", "label", "attempt", "last heard of"],
        [
            [
                row["id"],
                row["host"],
                row["device"] or MISSING,
                row["state"],
                row["job_id"] or MISSING,
                row["label"] or MISSING,
                str(row["attempt"] or MISSING),
                row["heartbeat_at"][:19].replace("T", " "),
            ]
            for row in found
        ],
        right=["attempt"],
    )


def _shape(dataset: Mapping[str, Any]) -> str:
    """Return channels and sides of the images, where they are known before they are read."""
    size = dataset["size"]
    return MISSING if size is None else f"{dataset['channels']} x {size} x {size}"
