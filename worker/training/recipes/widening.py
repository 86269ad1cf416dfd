"""What every growth does to a run: widen it, tell the path, see what its support would leave."""

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from torch import Tensor
from torch.nn.functional import pad

from slbi.growth.choice import BEST, gains
from slbi.growth.plan import Change, Plan
from slbi.growth.rates import new_rate
from slbi.growth.widen import restart, widen
from slbi.nets.widths import Widths
from slbi.pruning.rank import filter_norms, rank
from slbi.pruning.refill import refilled
from slbi.structure.order import NEVER
from slbi.structure.path import GrowthRecord
from worker.training.config import GrowConfig
from worker.training.device import convolutions
from worker.training.recipes.begin import closed, least_widths
from worker.training.recipes.family import everywhere
from worker.training.recipes.planting import planting
from worker.training.recipes.run import Run, Support

BEFORE: Final = "widths_before"
"""Note of a run: what the groups had before the last widening."""


def widen_run(config: GrowConfig, run: Run, wider: Plan) -> None:
    """Widen the network of a run and its optimizer, in place of the run."""
    run.notes[BEFORE] = dict(run.net.widths)
    draw = run.draws["growth"]
    with convolutions(run.net, run.compute):
        if config.growth.mode == "restart":
            pair = restart(run.net, run.optimizer, wider.widths, generator=draw)
        else:
            planted = planting(config.growth.settled_seed, run.data, run.compute, draw)
            pair = widen(run.net, run.optimizer, wider.widths, seed=planted, generator=draw)
    run.net, run.optimizer = pair
    run.compute.place(run.net)


def settle(run: Run) -> None:
    """Let what is new count as old from now on, in place of the run."""
    run.notes.pop(BEFORE, None)


def at_new_rate(config: GrowConfig, run: Run) -> AbstractContextManager[None]:
    """Return a context in which the new filters of a run learn at the rate that they are to have.

    It holds for the network as it is on entering, and is nothing where no filter is new.
    """
    factor = config.growth.new_rate
    if factor == 1 or BEFORE not in run.notes:
        return nullcontext()
    return new_rate(run.net, Widths(run.notes[BEFORE]), factor)


def records(
    run: Run,
    wider: Plan,
    filled: Mapping[str, float],
    levels: Mapping[str, float],
    reason: Callable[[Change], str],
) -> list[GrowthRecord]:
    """Return what the path keeps of one widening.

    Args:
        run: before it is widened.
        wider: the plan.
        filled: group -> share of its filters selected.
        levels: group -> fill at which it is full.
        reason: why a group is widened, for people.
    """
    indices = {layer.name: layer.index for layer in run.layers}
    found = []
    for change in wider.changes:
        cut = f"; the caps leave {change.after} of {change.wanted} filters"
        found.append(
            GrowthRecord(
                step=run.step,
                round=run.round,
                layer=indices[change.group],
                before=change.before,
                after=change.after,
                fill=filled[change.group],
                threshold=levels[change.group],
                reason=reason(change) + (cut if change.after < change.wanted else ""),
            )
        )
    return found


def most_gaining(run: Run, groups: Collection[str]) -> tuple[str, ...]:
    """Return of some groups those that promise most for what a filter costs, the best first."""
    promised = gains(run.optimizer, run.net, cost=run.net.cost)
    order = sorted(groups, key=lambda group: -promised[group])
    return tuple(order[:BEST])


def left(config: GrowConfig, run: Run) -> Support:
    """Return what the cut to the support leaves: the support, and what its widths need beside it.

    Source: docs/method.md, "Widths that suit".
    """
    growth, net = config.growth, run.net
    never = closed(growth, net)
    stays = {group: chosen.cpu() for group, chosen in run.selected().items() if group not in never}
    norms = {group: norm.cpu() for group, norm in filter_norms(net).items()}
    entered = run.order.state_dict()
    ranks = {
        group: rank(norms[group], _entered(entered[group].cpu(), norms[group]), "lexicographic")
        if group in entered
        else norms[group]
        for group in stays
    }
    least = least_widths(growth, net.widths)
    return everywhere(net) | refilled(net, stays, ranks, multiple=growth.multiple, min_width=least)


def _entered(entry: Tensor, norms: Tensor) -> Tensor:
    """Return the entry epochs with those of filters that no epoch has seen yet, (O,)."""
    return pad(entry, (0, len(norms) - len(entry)), value=NEVER)
