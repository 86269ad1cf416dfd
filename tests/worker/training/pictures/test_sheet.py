import io
import subprocess
import sys
from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from worker.training.pictures.sheet import png, sheet, text_width

Decode = Callable[[bytes], npt.NDArray[np.uint8]]


def drawn() -> bytes:
    with sheet(300, 120) as figure:
        figure.text(0.1, 0.5, "conv1 $ 50 %")
        return png(figure)


def test_a_sheet_is_as_large_as_asked(pixels: Decode) -> None:
    assert pixels(drawn()).shape == (120, 300, 3)


def test_the_file_names_no_program_and_no_time() -> None:
    with Image.open(io.BytesIO(drawn())) as image:
        assert set(image.info) == {"dpi"}


def test_what_a_user_set_changes_nothing_and_is_as_before() -> None:
    plain = drawn()
    with mpl.rc_context({"font.size": 30, "figure.facecolor": "red"}):
        assert drawn() == plain
        assert mpl.rcParams["font.size"] == 30


def test_the_width_of_text_is_what_is_drawn(pixels: Decode) -> None:
    text = "stages.stage1.block1.conv1, stages.stage1.block1.conv2"
    with sheet(400, 60) as figure:
        figure.text(0, 0.5, text, size=9)
        dark = np.nonzero((pixels(png(figure)) < 128).any(axis=(0, 2)))[0]
    assert dark.max() - dark.min() == pytest.approx(text_width(text, 9), abs=4)  # and its margins


def test_no_picture_needs_pyplot_or_a_display() -> None:
    names = ("filters", "shares", "epochs", "order")
    lines = [f"import worker.training.pictures.{name}" for name in names]
    lines += ["import sys", "assert 'matplotlib.pyplot' not in sys.modules"]
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, timeout=60)
