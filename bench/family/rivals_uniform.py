"""Rival 2: networks that are narrow from the start, all layers alike, trained from scratch."""

from bench.family.ledger import learned, steps
from bench.family.task import Made, Outcome, Run, Task
from bench.family.training import cosine, finish, plain


def evenly(task: Task) -> Outcome:
    """Train one network a budget, each with the same part of the compute."""
    share = task.compute // len(task.budgets)
    number = [steps(share, _macs(task, limit), task.batch) for limit in task.limits]
    return _together(task, number)


def by_epochs(task: Task) -> Outcome:
    """Train one network a budget, each for the same number of steps."""
    together = sum(learned(_macs(task, limit), task.batch) for limit in task.limits)
    return _together(task, [task.compute // together] * len(task.budgets))


def alone(task: Task) -> Outcome:
    """Train one network a budget, each in a run of its own with all of the compute."""
    outcome = Outcome()
    for budget, limit in zip(task.budgets, task.limits, strict=True):
        run = Run(task)
        number = steps(task.compute, _macs(task, limit), task.batch)
        outcome.members.append(_trained(task, run, budget, limit, number))
        outcome.runs.append(run.ledger.spent)
    return outcome


def _together(task: Task, number: list[int]) -> Outcome:
    run = Run(task)
    members = [
        _trained(task, run, budget, limit, each)
        for budget, limit, each in zip(task.budgets, task.limits, number, strict=True)
    ]
    return Outcome(members=members, runs=[run.ledger.spent])


def _macs(task: Task, limit: int) -> int:
    return task.standard.cost(task.standard.uniform(limit))[1]


def _trained(task: Task, run: Run, budget: float, limit: int, number: int) -> Made:
    widths = task.standard.uniform(limit)
    net = task.standard.fresh(widths, task.weights())
    finish(
        net,
        plain(net, task.settings),
        task.stream(),
        number,
        macs=task.standard.cost(widths)[1],
        ledger=run.ledger,
        schedule=cosine(task.settings.lr),
    )
    return run.made(budget, limit, net, task.standard.shape)
