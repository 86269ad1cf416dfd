from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from slbi.pruning.recalibrate import recalibrate

Trained = Callable[..., Any]


def test_statistics_are_the_mean_over_the_batches() -> None:
    net = nn.Sequential(nn.BatchNorm2d(2)).double()
    batches = [torch.randn(4, 2, 3, 3, dtype=torch.float64) * k for k in (1, 2, 5)]
    recalibrate(net, iter(batches))
    norm = net[0]
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    means = torch.stack([batch.mean(dim=(0, 2, 3)) for batch in batches])
    variances = torch.stack([batch.var(dim=(0, 2, 3)) for batch in batches])
    torch.testing.assert_close(norm.running_mean, means.mean(dim=0))
    torch.testing.assert_close(norm.running_var, variances.mean(dim=0))


@pytest.mark.parametrize("training", [True, False])
def test_weights_flags_and_momentum_stay(trained: Trained, training: bool) -> None:
    net, _, images = trained("resnet20")
    net.train(training)
    net.get_submodule("stem_norm").eval()
    flags = {name: module.training for name, module in net.named_modules()}
    weights = {name: parameter.clone() for name, parameter in net.named_parameters()}
    recalibrate(net, [images, 3 * images])
    assert {name: module.training for name, module in net.named_modules()} == flags
    assert all(torch.equal(parameter, weights[name]) for name, parameter in net.named_parameters())
    momenta = {m.momentum for m in net.modules() if isinstance(m, nn.BatchNorm2d)}
    assert momenta == {0.1}


def test_no_batch_is_refused_before_anything_is_lost(trained: Trained) -> None:
    net, _, _ = trained("vgg11")
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    with pytest.raises(ValueError, match="at least one batch, got none"):
        recalibrate(net, [])
    assert all(torch.equal(buffer, before[name]) for name, buffer in net.named_buffers())
