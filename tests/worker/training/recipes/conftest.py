"""What the tests of the recipes share: a folder of images that looks like the digits."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with "stripes": grey images of 8 px, in three classes."""
    home = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for kind in range(3):
        folder = home / "stripes" / "abc"[kind]
        folder.mkdir(parents=True)
        for number in range(80):
            pixels = random.integers(0, 120, (8, 8))
            pixels[kind::3] += 100
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return home
