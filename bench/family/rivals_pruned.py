"""Rival 3: the standard network, trained, then pruned to each budget by Torch-Pruning and tuned."""

import copy
import math
import warnings
from collections.abc import Callable, Iterable

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bench.family.ledger import SHARE_SCORED, learned, steps
from bench.family.task import Made, Outcome, Run, Task
from bench.family.training import Stream, cosine, finish, plain, train
from slbi.nets.count import count
from slbi.nets.initial import deviation, draw
from slbi.nets.shortcut import Shortcut
from slbi.nets.suited import suited

SCORED = 10
"""Batches whose gradients make the Taylor scores; they are paid for."""

_HALVINGS = 12
"""Halvings of the search for the share of filters to prune."""


def by_norm(task: Task) -> Outcome:
    """Prune by the L2 norm of the filters, in each layer alike."""
    return _pruned(
        task, lambda _net, _stream, _run: {}, tp.importance.MagnitudeImportance, local=True
    )


def by_taylor(task: Task) -> Outcome:
    """Prune by first-order Taylor scores, over all layers together."""

    def scored(net: nn.Module, stream: Stream, run: Run) -> dict[str, Tensor]:
        net.eval()  # the statistics of the norms stay what training left
        net.zero_grad()
        macs = count(net, task.standard.shape)[1]
        number = max(1, min(SCORED, steps(run.ledger.left // SHARE_SCORED, macs, task.batch)))
        batches = [next(stream) for _ in range(number)]
        run.ledger.pay(learned(macs, sum(len(labels) for _, labels in batches)))
        with suited(net):
            for images, labels in batches:
                torch.autograd.backward(cross_entropy(net(images), labels) / number)
        return {
            name: parameter.grad.clone()
            for name, parameter in net.named_parameters()
            if parameter.grad is not None
        }

    return _pruned(task, scored, tp.importance.TaylorImportance, local=False)


def projected(net: nn.Module, generator: torch.Generator) -> nn.Module:
    """Return a network whose padding shortcuts are convolutions of 1 px, changed in place.

    Torch-Pruning cannot follow a padding shortcut (it prunes what is added to less than what it is
    added to); its own ResNets for small images have these. They cost 0.7 % of ResNet-20.
    """
    for module in net.modules():
        match getattr(module, "shortcut", None):
            case Shortcut() as shortcut:
                shape = (len(shortcut.source), shortcut.reads, 1, 1)
                conv = nn.Conv2d(shape[1], shape[0], 1, stride=shortcut.stride, bias=False)
                conv.weight.data = draw(shape, conv.weight, generator) * deviation(shape[1])
                module.shortcut = nn.Sequential(conv, nn.BatchNorm2d(shape[0]))
    return net.to(memory_format=torch.channels_last)


Scored = Callable[[nn.Module, Stream, Run], dict[str, Tensor]]
"""Returns the gradients by which a trained network is pruned, none at all if it needs none."""


def _pruned(
    task: Task, scored: Scored, importance: Callable[[], object], *, local: bool
) -> Outcome:
    """Train with half of the compute; prune; tune each member with an equal part of the rest.

    It is pruned from budget to budget, large to small, each time from what was not yet tuned: to
    2 % at one go, global scores take a layer whole, which Torch-Pruning then leaves whole.
    """
    run, batches = Run(task), task.stream()
    standard = task.standard
    net = projected(standard.fresh(standard.widths, task.weights()), task.weights())
    macs = count(net, standard.shape)[1]
    train(
        net,
        plain(net, task.settings),
        batches,
        steps(task.compute // 2, macs, task.batch),
        macs=macs,
        ledger=run.ledger,
        schedule=cosine(task.settings.lr),
    )
    pairs = list(zip(task.budgets, task.limits, strict=True))
    members: list[Made] = []
    small = net
    for index, (budget, limit) in enumerate(reversed(pairs)):
        gradients = scored(small, batches, run)
        small = cut(small, gradients, importance, limit, standard.shape, local=local)
        macs = count(small, standard.shape)[1]
        tuned = copy.deepcopy(small)
        share = run.ledger.left // (len(pairs) - index)
        finish(
            tuned,
            plain(tuned, task.settings),
            batches,
            steps(share, macs, task.batch),
            macs=macs,
            ledger=run.ledger,
            schedule=cosine(task.settings.tune_lr),
        )
        members.insert(0, run.made(budget, limit, tuned, standard.shape))
    return Outcome(members=members, runs=[run.ledger.spent])


def cut(
    net: nn.Module,
    gradients: dict[str, Tensor],
    importance: Callable[[], object],
    limit: int,
    shape: tuple[int, ...],
    *,
    local: bool,
) -> nn.Module:
    """Return the network pruned by the smallest share of its filters that meets a limit.

    Args:
        net: left as it is.
        gradients: of its parameters, for scores that want them.
        importance: makes Torch-Pruning's scores.
        limit: most multiply-accumulates of one image.
        shape: of one image.
        local: the same share of every layer, instead of the lowest scores of all.

    Raises:
        ValueError: no share meets the limit.
    """
    low, high = 0.0, 1.0
    best, best_macs = None, -1
    for _ in range(_HALVINGS):
        ratio = (low + high) / 2
        small = _at(net, gradients, importance(), ratio, shape, local=local)
        macs = math.inf if small is None else count(small, shape)[1]
        if small is not None and best_macs < macs <= limit:
            best, best_macs = small, int(macs)
        low, high = (ratio, high) if small is not None and macs > limit else (low, ratio)
    if best is None:
        raise ValueError(f"a share of the filters must meet {limit} multiply-accumulates, got none")
    return best.to(memory_format=torch.channels_last)


def _at(
    net: nn.Module,
    gradients: dict[str, Tensor],
    importance: object,
    ratio: float,
    shape: tuple[int, ...],
    *,
    local: bool,
) -> nn.Module | None:
    """Return the network pruned by a share of its filters, or None where nothing works of it."""
    small = copy.deepcopy(net).eval()
    for name, gradient in gradients.items():
        small.get_parameter(name).grad = gradient.clone()
    image = torch.zeros(1, *shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of parameters that no layer owns
        pruner = tp.pruner.BasePruner(
            small,
            image,
            importance=importance,
            global_pruning=not local,
            pruning_ratio=ratio,
            ignored_layers=_classifiers(small.modules()),
        )
        pruner.step()
    small.zero_grad()
    smallest = min(parameter.numel() for parameter in small.parameters())
    return small if smallest else None


def _classifiers(modules: Iterable[nn.Module]) -> list[nn.Module]:
    layers: list[nn.Module] = [module for module in modules if isinstance(module, nn.Linear)]
    return layers[-1:]
