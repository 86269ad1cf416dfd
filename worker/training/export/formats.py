"""Each format that a network is exported in: how its file is written, and how it is run."""

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import torch
from torch import Tensor
from torch.export import ExportedProgram

from slbi.export.load import load
from slbi.export.network import write_network
from slbi.export.onnx import INPUT, OUTPUT, write_onnx
from slbi.export.pt2 import write_pt2
from worker.training.recorder import FileFormat

Predict = Callable[[Tensor], Tensor]
"""From (N, C, H, W) images, normalised, to (N, classes) logits, both float32 on the CPU."""

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time of every member of an archive: the same network makes the same file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """A format."""

    title: str
    """Name of the file."""
    form: FileFormat
    """In which `title` ends."""
    write: Callable[[ExportedProgram, Path], None]
    """Writes what was traced to a path. ValueError: the format cannot say it."""
    run: Callable[[Path], tuple[str, Predict]]
    """Returns what runs the written file, by its name, and a function that does."""


def _write_archive(program: ExportedProgram, path: Path) -> None:
    """Write a network as data, its three files in one archive."""
    with TemporaryDirectory(prefix="slbi-") as folder, zipfile.ZipFile(path, "w") as archive:
        write_network(program, Path(folder))
        for file in sorted(Path(folder).iterdir()):
            archive.writestr(zipfile.ZipInfo(file.name, _EPOCH), file.read_bytes())


def _run_archive(path: Path) -> tuple[str, Predict]:
    with TemporaryDirectory(prefix="slbi-") as folder, zipfile.ZipFile(path) as archive:
        archive.extractall(folder)  # written by this process a moment ago
        return f"load.py, torch {torch.__version__}", load(folder)


def _run_pt2(path: Path) -> tuple[str, Predict]:
    module: Predict = torch.export.load(path).module()
    return f"torch {torch.__version__}", module


def _run_onnx(path: Path) -> tuple[str, Predict]:
    """Run by onnxruntime where it is installed, else by the slow evaluator that onnx brings."""
    try:
        import onnxruntime  # noqa: PLC0415 -- a worker may do without it
    except ModuleNotFoundError:
        return run_by_reference(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def predict(images: Tensor) -> Tensor:
        (logits,) = session.run([OUTPUT], {INPUT: images.numpy()})
        return torch.from_numpy(logits)

    return f"onnxruntime {onnxruntime.__version__}", predict


def run_by_reference(path: Path) -> tuple[str, Predict]:
    """Return what runs an ONNX file without onnxruntime: the evaluator that defines ONNX."""
    import onnx  # noqa: PLC0415 -- slow to load, and of no use to other kinds of runs
    from onnx.reference import ReferenceEvaluator  # noqa: PLC0415 -- likewise

    evaluator = ReferenceEvaluator(onnx.load(path))

    def predict(images: Tensor) -> Tensor:
        (logits,) = evaluator.run([OUTPUT], {INPUT: images.numpy()})
        return torch.from_numpy(logits)

    return f"the reference evaluator of onnx {onnx.__version__}", predict


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "onnx": Format(title="model.onnx", form="onnx", write=write_onnx, run=_run_onnx),
        "pt2": Format(title="model.pt2", form="pt2", write=write_pt2, run=_run_pt2),
        "torch": Format(title="model.zip", form="zip", write=_write_archive, run=_run_archive),
    }
)
"""Every format of a network, by the name that people ask for it by."""
