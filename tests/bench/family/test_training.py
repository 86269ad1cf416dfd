"""How every member of every method ends."""

import torch
from torch import Tensor, nn

from bench.family.ledger import Ledger, ending, learned
from bench.family.training import Settings, constant, finish, plain

NUMBER, MACS, IMAGES = 20, 5, 6


def batches() -> list[tuple[Tensor, Tensor]]:
    source = torch.Generator().manual_seed(0)
    return [
        (torch.randn(IMAGES, 3, 4, 4, generator=source) + 5, torch.randint(0, 4, (IMAGES,)))
        for _ in range(2 * NUMBER)
    ]


def test_norms_are_measured_behind_the_last_step_and_paid_for() -> None:
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(48, 4))
    ledger, fed = Ledger(learned(MACS, IMAGES) * NUMBER), batches()
    stream = iter(fed)
    finish(
        net,
        plain(net, Settings()),
        stream,
        NUMBER,
        macs=MACS,
        ledger=ledger,
        schedule=constant(0.01),
    )
    taken, measured = ending(NUMBER)
    assert measured > 0
    assert len(list(stream)) == len(fed) - taken - measured
    assert ledger.spent == learned(MACS, IMAGES) * taken + MACS * IMAGES * measured
    images = torch.stack([images for images, _ in fed[taken : taken + measured]])
    means = images.mean(dim=(0, 1, 3, 4))
    assert torch.allclose(net.get_buffer("0.running_mean"), means, atol=1e-5)
