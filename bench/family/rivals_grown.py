"""Rivals 4 and 5: other rules of growth, on the same trunk and forks.

GroMo, which offers variance transfer and GradMax in layers of its own, fixes the widths of residual
streams and of a stage's output, so its networks cannot have these budgets; the published rules
stand here on this project's surgery instead. Why, and what differs: docs/decisions/0044.
"""

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from bench.family.ledger import DOUBLE, SHARE_SCORED
from bench.family.ours import THRESHOLD, by_slbi, choose_uniform
from bench.family.task import Outcome, Task
from bench.family.training import plain
from bench.family.transferred import in_loud_pairs
from bench.family.trunk import Means, Room, Trunk, Way, grown
from slbi.growth.plan import plan
from slbi.growth.rule import due, fills
from slbi.growth.seed import GradMaxSeed
from slbi.growth.widen import widen
from slbi.nets.graph.find import Found
from slbi.nets.transfer import appended, carried_optimizer, carry_net
from slbi.nets.widths import Widths

RATIO = 1.1
"""Factor by which the reference widens a full layer. Source: docs/method.md, "Growth"."""

MINIMUM = {"small-vgg": 8, "resnet20": 4}
"""Filters that it adds at least. Source: the same."""


def by_reference(task: Task) -> Outcome:
    """Widen full layers by the reference's amounts, into a fresh network that is read at once."""
    return grown(task, Way(choose=choose_reference, widen=restarted, drive=by_slbi))


def by_variance_transfer(task: Task) -> Outcome:
    """Widen all layers alike, in pairs of filters that cancel."""
    return grown(task, Way(choose=choose_uniform, widen=in_loud_pairs, drive=by_sgd))


def by_gradmax(task: Task) -> Outcome:
    """Widen all layers alike, with the filters whose readers feel the largest gradient."""
    return grown(task, Way(choose=choose_uniform, widen=felt, drive=by_sgd))


def choose_reference(trunk: Trunk, room: Room) -> Widths:
    """Return wider full groups; none where none is full. The budget alone is a cap, no round's."""
    filled = fills(trunk.optimizer, trunk.net, found=trunk.found)  # type: ignore[arg-type] # SLBI
    return plan(
        trunk.found.widths,
        due(filled, THRESHOLD),
        ratio=RATIO,
        minimum=MINIMUM[trunk.standard.name],
        cost=trunk.standard.cost,
        max_macs=room.limit,
    ).widths


def restarted(trunk: Trunk, widths: Widths, means: Means) -> tuple[nn.Module, Optimizer]:
    """Return a fresh network with the old tensors in its leading corner; no state is carried."""
    sources = appended(trunk.found.widths, widths)
    wider = trunk.standard.fresh(widths, means.generator)
    carry_net(trunk.net, wider, trunk.found, sources)
    optimizer = carried_optimizer(
        trunk.optimizer, trunk.net, wider, trunk.found, sources, keep_state=False
    )
    return wider, optimizer


def felt(trunk: Trunk, widths: Widths, means: Means) -> tuple[nn.Module, Optimizer]:
    """Return a network widened by GradMax's filters on one batch; the passes are paid for.

    They take one in `SHARE_SCORED` of what is left at most: of a small compute fewer images are
    looked at, and where it pays for none the filters are random.
    """
    images, labels = next(means.stream)
    seed = GradMaxSeed(loss=lambda net: cross_entropy(net(images), labels))
    each = DOUBLE * trunk.standard.cost(widths)[1] * (seed.steps + 1)
    number = min(len(labels), means.run.ledger.left // SHARE_SCORED // each)
    images, labels = images[:number], labels[:number]
    means.run.ledger.pay(each * number)
    return widen(
        trunk.net,
        trunk.optimizer,
        widths,
        found=trunk.found,
        seed=seed if number > 1 else None,
        generator=means.generator,
    )


def by_sgd(net: nn.Module, _found: Found, task: Task, _coupling: float) -> torch.optim.Optimizer:
    """Return SGD."""
    return plain(net, task.settings)
