"""What a local run reported, and how it is shown at the end."""

from pathlib import Path
from typing import Any

from service.cli.chart import print_path
from service.cli.family import print_family
from service.cli.findings import print_findings
from service.contract import EventType


class Notes:
    """Records of a run, kept for what is shown at its end."""

    def __init__(self) -> None:
        self.models: list[dict[str, Any]] = []
        self.path: dict[str, list[dict[str, Any]]] = {"layers": [], "steps": [], "growth": []}
        """Shaped like the answer of GET /v1/jobs/{id}/path; a layer goes by its name."""
        self.files: dict[str, str] = {}
        """Title -> where it lies."""
        self.findings: dict[str, Any] = {}
        self.end = ""

    def take(self, kind: str, data: Any) -> None:  # noqa: ANN401 - each kind has data of its own
        """Keep what one record says."""
        match kind:
            case "layers" | "step" | EventType.GREW:
                self._follow(kind, data)
            case EventType.MODEL:
                self.models.append(data)
            case EventType.TESTED:
                for row in data["models"]:
                    self.models[row["model"]]["test_accuracy"] = row["test_accuracy"]
            case EventType.FILE:
                self.files[data["title"]] = data["path"]
            case EventType.FINDINGS:
                self.findings = data
            case EventType.SUCCEEDED:
                self.end = data["end"]

    def _follow(self, kind: str, data: Any) -> None:  # noqa: ANN401 - see `take`
        """Keep what a record says of the path."""
        if kind == "layers":
            names = [row["name"] for row in data]
            self.path["layers"] = [
                {"layer": name, "name": name, "n_filters": [], "n_active": []} for name in names
            ]
        elif kind == "step":
            self.path["steps"].append(data)
            for layer, support in zip(self.path["layers"], data["support"], strict=True):
                layer["n_filters"].append(support["n_filters"])
                layer["n_active"].append(support["n_active"])
        else:
            self.path["growth"] += [{**row, "step": data["step"]} for row in data["layers"]]

    def print(self, output: Path) -> None:
        """Print what there is: why the run ended, family, findings, path, where the files lie."""
        if self.end:
            print(f"Growth ended: {self.end}\n")
        if self.models:
            print_family(self.models)
            print()
        if self.findings:
            print_findings(self.findings)
            print()
        if self.path["steps"]:
            print_path(self.path)
            print()
        for title, place in self.files.items():
            print(f"{title}: {place}")
        if self.models:
            print(f"The checkpoints lie in {output}.")
