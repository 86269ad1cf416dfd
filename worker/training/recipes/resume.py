"""A run as a checkpoint, and back: the restored run goes on bit for bit as the other would have."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from worker.training.data.load import Data
from worker.training.keeper import Point
from worker.training.recipes.run import Cut, Run
from worker.training.recorder import ModelRecord
from worker.training.state import (
    State,
    StateError,
    describe_optimizer,
    draws,
    net_like,
    optimizer_like,
    optimizer_tensors,
    prefixed,
    restore_draws,
)

_COUNTERS = (
    *("step", "epoch", "epochs", "growth_epochs", "round", "training_macs", "accuracy"),
    *("phase", "phase_epoch", "end", "spent_s", "transferred", "begun_at"),
)
"""Fields of a run that JSON says as they are."""


def point(run: Run) -> Point:
    """Return where a run stands."""
    return Point(
        step=run.steps,
        epoch=run.epoch,
        round=run.round,
        recorded_step=run.step,
        models=len(run.members),
    )


def capture(run: Run, *, config: Mapping[str, Any], output: Path) -> State:
    """Return everything that a run is made of.

    Args:
        run: between two steps.
        config: the whole config of the run.
        output: folder of this attempt's files, beside those of other attempts.
    """
    tensors = {
        **prefixed("net", run.net.state_dict()),
        **prefixed("optimizer", optimizer_tensors(run.optimizer, run.net)),
        **prefixed("draw", draws(run.draws)),
        **prefixed("batches", run.batches.state()),
        **prefixed("mask", run.masks),
        **prefixed("memory", run.memory),
        **prefixed("order", _short(run.order.state_dict())),
        "tally.loss": run.tally.loss,
        "tally.right": run.tally.right,
    }
    about: dict[str, Any] = {
        "config": config,
        "data": _fingerprint(run.data),
        "counters": {name: getattr(run, name) for name in _COUNTERS},
        "losses": list(run.losses),
        "recent_s": list(run.recent_s),
        "elapsed_s": run.clock() - run.begun,
        "position": run.batches.position,
        "tally_count": run.tally.count,
        "widths": dict(run.net.widths),
        "optimizer": describe_optimizer(run.optimizer, run.net),
        "members": [_told(member, output) for member in run.members],
        "notes": run.notes,
        "cut": None,
    }
    if run.cut is not None and run.phase != "grow":  # in growth, that of a round before
        tensors |= prefixed("kept", run.cut.kept)
        if run.phase == "tune":  # later it is the network of the run itself
            about["cut"] = dict(run.cut.net.widths)
            tensors |= prefixed("cut", run.cut.net.state_dict())
    return State(tensors=tensors, about=about)


def restore(run: Run, state: State, *, config: Mapping[str, Any], output: Path) -> None:
    """Let a fresh run go on from a state, in place.

    Args:
        run: before its first step.
        state: of a run of the same config on the same data.
        config: the whole config of the run.
        output: folder of this attempt's files, beside those of the attempts before.

    Raises:
        StateError: the state is of another config, other data or another network.
    """
    about = state.about
    _check("config", _as_json(about["config"]), _as_json(config))
    _check("data", about["data"], _fingerprint(run.data))
    net = net_like(run.net, about["widths"], state.below("net"))
    run.optimizer = optimizer_like(about["optimizer"], state.below("optimizer"), net)
    kept: dict[str, Tensor] = state.below("kept")
    if kept:
        cut = net
        if about["cut"] is not None:
            cut = net_like(run.net, about["cut"], state.below("cut"))
        run.cut = Cut(net=cut, kept={group: kept[group] for group in kept})
    run.net = net
    for name, value in about["counters"].items():
        setattr(run, name, value)
    run.losses.extend(about.get("losses", []))
    run.recent_s.extend(about["recent_s"])
    run.begun = run.clock() - about["elapsed_s"]
    run.members = [_read(member, output) for member in about["members"]]
    if run.team.leads:
        run.tally.loss.copy_(state.tensors["tally.loss"])
        run.tally.right.copy_(state.tensors["tally.right"])
        run.tally.count = about["tally_count"]
    run.masks = state.below("mask")
    run.memory = state.below("memory")
    run.notes = dict(about["notes"])
    run.order.load_state_dict(
        {name: entry.to(torch.int64) for name, entry in state.below("order").items()}
    )
    run.batches.restore(state.below("batches"), about["position"])
    restore_draws(run.draws, state.below("draw"))
    run.kept_at = (run.steps, run.round, run.phase)


def _short(entries: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return entry epochs in four bytes each: where single weights enter, there are millions."""
    return {name: entry.to(torch.int32) for name, entry in entries.items()}


def members_there(state: State, output: Path) -> bool:
    """Return whether the file of every member that a state names is still there."""
    return all(_read(member, output).checkpoint.is_file() for member in state.about["members"])


def _fingerprint(data: Data) -> list[int]:
    return [*data.train.fingerprint(), *data.validation.fingerprint()]


def _as_json(config: Mapping[str, Any]) -> object:
    """Return a config as it comes back from a file: JSON makes lists of tuples."""
    return json.loads(json.dumps(config))


def _check(what: str, then: object, now: object) -> None:
    if _differ(then, now):
        raise StateError(f"a run must go on with the {what} that it began with; it is another one")


def _differ(then: object, now: object) -> bool:
    """Compare settings; one that only a newer version of this code knows does not count."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        return any(_differ(then[name], now[name]) for name in then.keys() & now.keys())
    if isinstance(then, list | tuple) and isinstance(now, list | tuple):
        return list(then) != list(now)  # JSON knows lists only
    return then != now


def _told(member: ModelRecord, output: Path) -> dict[str, Any]:
    return {**asdict(member), "checkpoint": str(member.checkpoint.relative_to(output.parent))}


def _read(member: Mapping[str, Any], output: Path) -> ModelRecord:
    return ModelRecord(**{**member, "checkpoint": output.parent / member["checkpoint"]})
