import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.runs import Alone, alone
from worker.training.checkpoint import CheckpointError
from worker.training.config import ComputeConfig, DataConfig, OptimConfig
from worker.training.epoch import Stopped
from worker.training.kinds import run
from worker.training.plans import (
    PicturesConfig,
    Source,
    TrainConfig,
    TrainingConfig,
    TwinConfig,
    VisualiseConfig,
)
from worker.training.recipes.conduct import Surroundings
from worker.training.recorder import RunList

FIRST = "features.conv1.conv"
QUICK = PicturesConfig(layers=[FIRST, "classifier"], steps=2, filters=4)


@pytest.fixture(scope="module", params=["mixed", "element"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Alone:
    config = TrainConfig(
        backbone="vgg11",
        data=DataConfig(dataset="digits"),
        widths=6,
        optim=OptimConfig(batch=128, mu=0.5),
        twin=TwinConfig(structure=request.param),
        train=TrainingConfig(epochs=2),
        compute=ComputeConfig(device="cpu", threads=1),
    )
    return alone(config, tmp_path_factory.mktemp(request.param))


def _config(
    source: Alone, pictures: PicturesConfig = QUICK, *, path: bool = True
) -> VisualiseConfig:
    return VisualiseConfig(
        source=Source(checkpoint=source.member("W").checkpoint, path=source.path if path else None),
        backbone="vgg11",
        data=source.config.data,
        pictures=pictures,
        compute=source.config.compute,
    )


def _titles(made: Alone) -> list[str]:
    for record in made.path.file_records:
        assert (record.kind, record.format, record.step) == ("picture", "png", 0)
        with Image.open(io.BytesIO(record.path.read_bytes())) as image:
            assert image.format == "PNG"
            assert min(image.size) > 50
            image.load()
    return [record.title for record in made.path.file_records]


def test_every_picture_that_the_source_allows_is_drawn_and_decodes(
    tmp_path: Path, source: Alone
) -> None:
    made = alone(_config(source), tmp_path)
    of_path = ["kept.png", "support.png"]
    if source.config.twin.structure == "mixed":
        of_path.append("order.png")
    expected = [
        *(
            f"{layer}-{what}.png"
            for layer in (FIRST, "classifier")
            for what in ("weights", "activation")
        ),
        *of_path,
    ]
    assert _titles(made) == expected
    assert made.path.found is not None
    assert made.path.found["pictures"] == expected
    assert set(made.path.found["dead_filters"]) <= {FIRST, "classifier"}


def test_progress_tells_how_many_pictures_are_left(tmp_path: Path, source: Alone) -> None:
    made = alone(_config(source, replace(QUICK, show=["weights", "kept"])), tmp_path)
    told = [(p.epoch, p.epochs, p.phase) for p in made.path.progress_records]
    assert told == [(1, 3, "visualise"), (2, 3, "visualise"), (3, 3, "visualise")]
    assert made.path.progress_records[-1].eta_seconds == 0
    assert made.path.progress_records[0].widths == source.member("W").widths


def test_all_convolutions_are_drawn_unless_layers_are_named_and_each_once(
    tmp_path: Path, source: Alone
) -> None:
    show = ["weights"]
    made = alone(_config(source, PicturesConfig(show=show)), tmp_path / "all")
    assert _titles(made) == [f"features.conv{n}.conv-weights.png" for n in range(1, 9)]
    twice = PicturesConfig(show=show, layers=[FIRST, FIRST])
    assert _titles(alone(_config(source, twice), tmp_path / "twice")) == [f"{FIRST}-weights.png"]


def test_the_same_seed_draws_the_same_pictures(tmp_path: Path, source: Alone) -> None:
    drawn = [alone(_config(source), tmp_path / name).path.file_records for name in "ab"]
    for one, other in zip(*drawn, strict=True):
        assert one.path.read_bytes() == other.path.read_bytes()


def test_a_file_of_tensors_alone_is_drawn_without_a_path(tmp_path: Path, source: Alone) -> None:
    bare = tmp_path / "bare.safetensors"
    save_file(load_file(source.member("W").checkpoint), bare)
    config = replace(_config(source), source=Source(checkpoint=bare))
    assert len(_titles(alone(config, tmp_path / "family"))) == 4


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ({"pictures": PicturesConfig(layers=["conv9"])}, ValueError, "got 'conv9'"),
        ({"pictures": PicturesConfig(layers=["features"])}, ValueError, "got 'features', a Seq"),
        ({"backbone": "vgg13"}, CheckpointError, "the source must be a vgg13, it is a vgg11"),
    ],
)
def test_what_the_network_does_not_have_is_refused_before_anything_is_drawn(
    tmp_path: Path, source: Alone, change: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        alone(replace(_config(source), **change), tmp_path / "family")
    assert not (tmp_path / "family").exists()


@pytest.mark.parametrize("show", ["kept", "support", "order"])
def test_a_picture_that_the_source_cannot_give_is_refused_by_its_name(
    tmp_path: Path, source: Alone, show: str
) -> None:
    config = _config(source, PicturesConfig(show=["weights", show]), path=False)
    with pytest.raises(ValueError, match=f"the picture '{show}' needs a path of the run"):
        alone(config, tmp_path / "family")
    assert not (tmp_path / "family").exists()


def test_the_order_of_single_weights_is_not_on_a_path(tmp_path: Path, source: Alone) -> None:
    config = _config(source, PicturesConfig(show=["order"]))
    if source.config.twin.structure == "element":
        with pytest.raises(ValueError, match="the picture 'order' needs a path of filters"):
            alone(config, tmp_path)
    else:
        assert "order.png" in _titles(alone(config, tmp_path))


def test_asked_to_stop_it_stops_between_two_pictures(tmp_path: Path, source: Alone) -> None:
    asked = iter([False, False, True])
    recorder = RunList()
    around = Surroundings(
        directories=[], output=tmp_path, recorder=recorder, stop=lambda: next(asked)
    )
    with pytest.raises(Stopped):
        run(_config(source), around)
    assert [record.title for record in recorder.file_records] == [
        f"{FIRST}-weights.png", f"{FIRST}-activation.png",
    ]  # fmt: skip
    assert recorder.found is None
