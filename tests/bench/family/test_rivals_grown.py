import torch

from bench.family.data import images
from bench.family.ledger import DOUBLE
from bench.family.networks import Standard
from bench.family.rivals_grown import by_sgd, felt, restarted
from bench.family.task import Run, Task
from bench.family.trunk import Means, Trunk


def begun() -> tuple[Trunk, Means]:
    data = images("digits")
    standard = Standard("small-vgg", 1, 8, 10)
    task = Task(standard=standard, images=300, data=data, compute=10**10, seed=0)
    widths = standard.uniform(task.limits[1])
    net = standard.fresh(widths, torch.Generator().manual_seed(0))
    found = standard.found().resized(widths)
    optimizer = by_sgd(net, found, task, 1.0)
    net(torch.ones(4, 1, 8, 8)).square().mean().backward()
    optimizer.step()
    means = Means(
        task=task, stream=task.stream(), run=Run(task), generator=torch.Generator().manual_seed(1)
    )
    return Trunk(standard=standard, net=net, found=found, optimizer=optimizer), means


def test_a_restart_keeps_old_tensors_and_forgets_the_optimizers_state() -> None:
    trunk, means = begun()
    widths = trunk.standard.raised(trunk.found.widths, means.task.limits[2])
    wider, optimizer = restarted(trunk, widths, means)
    old, new = trunk.net.get_parameter("conv2.weight"), wider.get_parameter("conv2.weight")
    assert torch.equal(new[: old.shape[0], : old.shape[1]], old)
    assert new[: old.shape[0], old.shape[1] :].abs().min() > 0  # new filters are read at once
    assert not optimizer.state


def test_gradmax_pays_for_its_passes_and_leaves_the_function() -> None:
    trunk, means = begun()
    widths = trunk.standard.raised(trunk.found.widths, means.task.limits[2])
    wider, optimizer = felt(trunk, widths, means)
    macs = trunk.standard.cost(widths)[1]
    assert means.run.ledger.spent == 5 * DOUBLE * macs * means.task.batch
    image = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(wider.eval()(image), trunk.net.eval()(image), atol=1e-5)
    assert optimizer.state
