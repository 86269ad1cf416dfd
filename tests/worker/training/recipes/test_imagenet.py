"""Runs on images that stay on disk, in ImageNet's layout."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from worker.training.checkpoint import load
from worker.training.config import ComputeConfig, GrowConfig, GrowthConfig, OptimConfig, TuneConfig
from worker.training.epoch import Stopped
from worker.training.keeper import FileLedger, Keeper
from worker.training.plans import TrainConfig, TrainingConfig
from worker.training.recipes.conduct import Surroundings
from worker.training.recipes.grow import grow
from worker.training.recipes.train import train
from worker.training.recorder import RunList
from worker.training.suit import suited

CPU = ComputeConfig(device="cpu", threads=1)
DATA = {"image_size": 32, "validation": 0.25, "workers": 0}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of images, each of its own hue."""
    top = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for part, count in (("train", 16), ("val", 4)):
        for label, name in enumerate(("n01440764", "n01443537", "n01484850")):
            folder = top / "imagenet" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                width, height = random.integers(40, 70, 2)
                pixels = random.integers(0, 120, (height, width, 3))
                pixels[..., label] += 120
                image = Image.fromarray(pixels.astype(np.uint8))
                image.save(folder / f"{name}_{number}.JPEG")
    return top


def _config(**train: Any) -> TrainConfig:  # noqa: ANN401 -- passed on
    asked = {"data": DATA, "optim": {"batch": 8}, "train": {"epochs": 4, **train}}
    config: TrainConfig = suited("imagenet", "lenet5", asked, "train")
    return replace(config, compute=CPU)


def test_the_settings_of_imagenet_are_those_of_the_flow() -> None:
    config: TrainConfig = suited("imagenet", "vgg11", {}, "train")
    assert (config.optim.batch, config.optim.learning_rate, config.optim.mu) == (256, 0.1, 1000)
    assert (config.optim.kappa, config.optim.momentum, config.optim.weight_decay) == (1, 0.9, 1e-4)
    assert config.train == TrainingConfig(epochs=100, drops=(30, 60, 90), factor=0.1)
    assert config.twin.scaling == "none"
    grown: GrowConfig = suited("imagenet", "vgg11", {})
    assert (grown.optim.batch, grown.growth.multiple) == (256, 8)


def test_a_run_learns_from_disk_and_its_model_knows_what_it_was_shown(
    directory: Path, tmp_path: Path
) -> None:
    path = RunList()
    config = replace(_config(epochs=15), optim=OptimConfig(batch=8, learning_rate=0.02, mu=1000.0))
    result = train(config, Surroundings(directories=[directory], output=tmp_path, recorder=path))
    assert path.test_records[0].accuracy > 0.9
    _, about = load(result.members[0].checkpoint)
    assert (about.dataset, about.size, about.in_channels) == ("imagenet", 32, 3)
    assert about.class_names == ("n01440764", "n01443537", "n01484850")
    assert about.normalisation.mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize("stops_at", [2, 7])
def test_a_run_on_disk_goes_on_from_any_step_bit_for_bit(
    directory: Path, tmp_path: Path, stops_at: int
) -> None:
    def attempt(home: Path, stop: Callable[[], bool]) -> Path:
        home.mkdir(parents=True, exist_ok=True)
        output = home / str(len(list(home.iterdir())))
        keeper = Keeper(output, FileLedger(home / "ledger.json"), every=1000)
        around = Surroundings(
            directories=[directory], output=output, recorder=RunList(),
            stop=stop, keeper=keeper, state=keeper.last().state,
        )  # fmt: skip
        return train(_config(), around).members[0].checkpoint

    unbroken = load_file(attempt(tmp_path / "unbroken", lambda: False))
    asked = iter([False] * stops_at + [True])
    with pytest.raises(Stopped):
        attempt(tmp_path / "stopped", lambda: next(asked))
    resumed = load_file(attempt(tmp_path / "stopped", lambda: False))
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)


def test_a_network_grows_on_images_on_disk(directory: Path, tmp_path: Path) -> None:
    asked = {
        "data": {**DATA, "image_size": 16},
        "optim": {"batch": 12, "learning_rate": 0.05, "mu": 0.01},
    }
    config: GrowConfig = suited("imagenet", "vgg11", asked)
    config = replace(
        config,
        compute=CPU,
        growth=GrowthConfig(
            start=4, round_epochs=1, max_rounds=2, threshold=0.01, seed="gradmax", multiple=8
        ),
        tune=TuneConfig(epochs=1, pruned_epochs=0),
    )
    path = RunList()
    grow(config, Surroundings(directories=[directory], output=tmp_path, recorder=path))
    assert {growth.after for growth in path.growth_records} == {16}
    assert len(path.test_records) == len(path.model_records)
