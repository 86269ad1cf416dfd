from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.knobs import FILE, WAYS, Row, main, rows, subset, table
from worker.training.config import GrowthConfig
from worker.training.data.formats import read
from worker.training.data.locate import find_files
from worker.training.data.sources import SOURCES

ROOT = Path(__file__).parents[2]


def _row(way: str, seed: int, tuned: float, **more: Any) -> Row:  # noqa: ANN401 -- fields
    told = {
        "way": way,
        "dataset": "fashion-mnist",
        "backbone": "vgg11",
        "images": 100,
        "seed": seed,
        "settings": {},
        "grown": 0.5,
        "tuned": tuned,
        "macs": 1000,
        "training_macs": 2_000_000_000,
        "rounds": [2, 3],
        "end": "max_rounds",
        "cpu_seconds": 1.0,
    }
    return Row(**{**told, **more})


def test_gains_are_over_the_default_of_the_same_seed() -> None:
    found = [
        _row("default", 0, 0.50),
        _row("default", 1, 0.60),
        _row("new_rate 2", 0, 0.52),
        _row("new_rate 2", 1, 0.62),
    ]
    lines = table(found).splitlines()
    assert len(lines) == 4
    assert "| default | 50.0 ± 0.0 | 55.0 ± 7.1 |  | 1 | 2 | 2 3; 2 3 |" in lines
    assert "| new_rate 2 | 50.0 ± 0.0 | 57.0 ± 7.1 | +2.0 ± 0.0 | 1 | 2 | 2 3; 2 3 |" in lines


@pytest.mark.parametrize("way", WAYS)
def test_every_way_is_a_setting_of_growth(way: str) -> None:
    GrowthConfig(**WAYS[way])


def test_the_table_of_the_decision_is_the_one_of_the_rows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    kept = ROOT / FILE
    assert {row.way for row in rows(kept)} == set(WAYS)
    assert main(["--report", "--into", str(kept)]) == 0
    (note,) = (ROOT / "docs/decisions").glob("0047-*.md")
    assert capsys.readouterr().out in note.read_text(encoding="utf-8")


def test_some_images_of_a_data_set_are_a_data_set(tmp_path: Path) -> None:
    source, lies = SOURCES["fashion-mnist"], tmp_path / "whole"
    (lies / "fashion-mnist").mkdir(parents=True)
    # Every image is of one value, which tells its label.
    for count, names in ((300, source.layouts[1][:2]), (200, source.layouts[1][2:])):
        values = np.arange(count, dtype=np.uint8) % 10
        images = np.broadcast_to(values[:, None, None], (count, 28, 28))
        for name, array in zip(names, (images, values), strict=True):
            lengths = np.array(array.shape, dtype=">u4").tobytes()
            (lies / name).write_bytes(bytes([0, 0, 8, array.ndim]) + lengths + array.tobytes())
    subset("fashion-mnist", 70, tmp_path / "some", [lies])
    files = find_files(source, [tmp_path / "some"])
    train, test = (read("fashion-mnist", files, which) for which in ("train", "test"))
    for part, count in ((train, 70), (test, 200)):
        assert part.images.shape == (count, 1, 28, 28)
        assert torch.equal(part.images[:, 0, 5, 5].long(), part.labels)
    assert set(train.labels.tolist()) == set(range(10))
    with pytest.raises(ValueError, match="images must be 1 to 300 for fashion-mnist, got 301"):
        subset("fashion-mnist", 301, tmp_path / "more", [lies])
