from collections.abc import Callable

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from tests.slbi.course.own import Digits, Own


@pytest.fixture(scope="session")
def digits() -> Digits:
    told = load_digits()
    images = torch.tensor(told.images, dtype=torch.float32)[:, None] / 16 - 0.3
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return Digits(images[order], torch.tensor(told.target)[order], held=397)


@pytest.fixture
def own() -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        torch.manual_seed(0)
        return Own()

    return make
