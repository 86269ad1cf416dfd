"""The recipe `export`: a finished network in the formats that other programs read, and its card."""

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor
from torch.export import ExportedProgram

from slbi.export.program import exported
from slbi.nets.backbone import Backbone
from worker.training.checkpoint import Description
from worker.training.count import latency
from worker.training.data.load import Data
from worker.training.data.normalise import Normalisation
from worker.training.device import Compute, convolutions, generator, resolve, threads
from worker.training.epoch import Stopped
from worker.training.export.card import TITLE, Exported, Facts, card, device_name
from worker.training.export.check import SEVERAL, check_difference, largest_difference
from worker.training.export.formats import FORMATS, Format
from worker.training.files import write_whole
from worker.training.plans import EXPORTS, ExportConfig
from worker.training.recipes.conduct import Surroundings, workplace
from worker.training.recipes.result import Result
from worker.training.recipes.source import own_network, start_from
from worker.training.recorder import FileFormat, FileKind, FileRecord, ProgressRecord

_CPU = Compute(device=torch.device("cpu"), precision="float32")
"""On which files are checked: every machine has it, and its sums are exact to float32."""


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """The network that is exported."""

    net: Backbone
    """In eval mode, on the CPU."""
    about: Description | None
    normalisation: Normalisation
    images: Tensor | None
    """To check by, (N, C, H, W) normalised; None: nothing is checked."""


def export(config: ExportConfig, around: Surroundings) -> Result:
    """Write a finished network in every format asked for, each checked before it is reported.

    An attempt that is lost makes all of it again.

    Raises:
        CheckpointError: the file is no network of the backbone.
        DatasetError: the images to check by are absent or cannot be used.
        ValueError: a format cannot say the network, or a file predicts something else.
        NoSpaceError: there is no room for a file.
        Stopped: `stop` said so.
    """
    begun = around.clock()
    with threads(config.compute.threads), torch.no_grad():
        subject = _subject(config, around)
        around.output.mkdir(parents=True, exist_ok=True)
        files = _files(config, around, subject, begun)
        _add_card(config, around, subject, files)
    around.recorder.findings({"exports": [asdict(file) for file in files]})
    return Result(
        end="",
        members=(),
        tests=(),
        epochs=0,
        steps=0,
        training_macs=0,
        seconds=around.clock() - begun,
    )


def _subject(config: ExportConfig, around: Surroundings) -> _Subject:
    own = own_network(config.source, config.backbone)
    about = None if own is None else own[1]
    if own is not None and not config.export.check:
        net, told = own
        return _Subject(net=net, about=told, normalisation=told.normalisation, images=None)
    compute = replace(config.compute, device="cpu")
    place = workplace(around, data=config.data, compute=compute, batch=SEVERAL, begun=0.0)
    draw = generator(place.seed, "weights")
    started = start_from(
        config.source, config.backbone, place.data, stem=config.stem, generator=draw
    )
    net = started.net.eval()
    normalisation = place.data.normalisation if about is None else about.normalisation
    images = _test_images(place.data, normalisation) if config.export.check else None
    return _Subject(net=net, about=about, normalisation=normalisation, images=images)


def _test_images(data: Data, normalisation: Normalisation) -> Tensor:
    """Return a few images of the test split; their labels are not looked at."""
    images, _ = next(data.test.read().batches(SEVERAL))
    return normalisation.apply(images)


def _files(
    config: ExportConfig, around: Surroundings, subject: _Subject, begun: float
) -> list[Exported]:
    """Write, check and report a file of every format."""
    asked = dict.fromkeys(config.export.formats or EXPORTS)
    formats = {name: FORMATS[name] for name in asked if name in FORMATS}
    net = subject.net
    files: list[Exported] = []
    if formats:
        program = exported(net, (net.in_channels, net.size, net.size))
    for name, form in formats.items():
        if around.stop():
            raise Stopped
        files.append(_file(name, form, program, subject, around))
        elapsed_s = around.clock() - begun
        around.recorder.progress(
            ProgressRecord(
                epoch=len(files),
                epochs=len(formats),
                round=0,
                phase="export",
                validation_accuracy=_accuracy(subject),
                widths=dict(net.widths),
                eta_seconds=elapsed_s / len(files) * (len(formats) - len(files)),
            )
        )
    return files


def _file(
    name: str, form: Format, program: ExportedProgram, subject: _Subject, around: Surroundings
) -> Exported:
    """Write the file of one format, run it, and report it if it predicts what it must."""
    runner = difference = None
    with TemporaryDirectory(prefix="slbi-") as folder:
        path = Path(folder, form.title)
        form.write(program, path)
        if subject.images is not None:
            with convolutions(subject.net, _CPU):
                runner, predict = form.run(path)
                difference = largest_difference(predict, subject.net, subject.images)
            check_difference(form.title, difference)
        content = path.read_bytes()
    _report(around, form.title, content, kind="export", form=form.form)
    return Exported(
        format=name,
        title=form.title,
        bytes=len(content),
        checked_by=runner,
        difference=difference,
    )


def _add_card(
    config: ExportConfig, around: Surroundings, subject: _Subject, files: Sequence[Exported]
) -> None:
    """Write the card, last: it tells of all that came before."""
    compute = resolve(config.compute)
    placed = copy.deepcopy(subject.net)
    compute.place(placed)
    text = card(
        Facts(
            net=subject.net,
            dataset=config.data.dataset,
            normalisation=subject.normalisation,
            about=subject.about,
            test_accuracy=config.source.test_accuracy,
            path=config.source.path,
            latency_ms=latency(placed, compute).ms,
            device=device_name(compute.device),
            threads=torch.get_num_threads(),
            files=files,
        )
    )
    _report(around, TITLE, text.encode(), kind="card", form="md")


def _report(
    around: Surroundings, title: str, content: bytes, *, kind: FileKind, form: FileFormat
) -> None:
    """Write a file under the name that the card calls it by, then report it."""
    path = around.output / title
    write_whole(path, content, flow="attach", mark=around.mark)
    around.recorder.file(FileRecord(title=title, kind=kind, format=form, step=0, path=path))


def _accuracy(subject: _Subject) -> float:
    """Return the accuracy on the validation split, as the checkpoint says; 0 if it does not."""
    about = subject.about
    return 0.0 if about is None else about.metrics["validation_accuracy"]
