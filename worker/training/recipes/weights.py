"""The recipe `weights`: single weights are selected; what is left is tuned, or trained anew."""

from functools import partial

from worker.training.device import generator
from worker.training.plans import WeightsConfig
from worker.training.recipes.conduct import Surroundings, Workplace, conduct
from worker.training.recipes.family import Family
from worker.training.recipes.files import add_masks, add_order, add_table
from worker.training.recipes.fresh import fresh
from worker.training.recipes.lesson import coupled, learn
from worker.training.recipes.masks import impose, lasting, support_masks
from worker.training.recipes.remember import recall, recall_support, remember, remember_support
from worker.training.recipes.result import Result
from worker.training.recipes.run import Run
from worker.training.recipes.train import kept_shares
from worker.training.recipes.twin import plain, twin_layers


def weights(config: WeightsConfig, around: Surroundings) -> Result:
    """Select single weights with SLBI and train what is left, or go on with it.

    Raises:
        as `conduct`.
    """

    def body(run: Run, family: Family) -> None:
        _select(config, run, family)
        _finetune(config, run, family)
        _retrain(config, run, family)

    return conduct(config, around, partial(_begin, config), body)


def _begin(config: WeightsConfig, place: Workplace) -> Run:
    net = fresh(config, place.data, place.compute, generator(place.seed, "weights"))
    run = place.run(
        net,
        coupled(net, config.optim, config.twin, config.train, len(place.batches)),
        twin_layers(net, config.twin),
        phase="train",
        epochs=config.train.epochs + config.finetune.epochs + config.retrain.epochs,
    )
    run.watches_support = True
    remember(run, "initial")
    return run


def _select(config: WeightsConfig, run: Run, family: Family) -> None:
    """Train with SLBI, then put the network under the mask of its support, in place."""
    if run.phase != "train":
        return
    learn(run, config.train, config.optim.learning_rate, run.selected)
    family.add(run, run.net, "trained", "W", run.accuracy)
    stays = lasting(run, run.selected())
    shares = kept_shares(run, stays)
    add_order(run, family.output, mark=family.mark)
    add_table(
        run, family.output, "kept.csv", ("layer", "total", "kept"),
        [(row["layer"], row["total"], row["kept"]) for row in shares], mark=family.mark,
    )  # fmt: skip
    remember_support(run, stays)
    impose(run, support_masks(run, stays))
    add_masks(run, family.output, run.masks, mark=family.mark)
    run.optimizer = plain(run.net, config.optim)
    masked = family.settled(run)
    family.add(run, masked, "masked", "support", run.validate(masked))
    run.recorder.findings({"layers": shares})
    run.enter("finetune")


def _finetune(config: WeightsConfig, run: Run, family: Family) -> None:
    """Train the selected weights further, in place; the next phase begins with the initial ones."""
    if run.phase != "finetune":
        return
    if config.finetune.epochs:
        base = config.optim.learning_rate
        learn(run, config.finetune, base, lambda: recall_support(run))
        family.add(run, run.net, "tuned", "support, tuned", run.accuracy)
    recall(run, "initial")
    impose(run, run.masks)
    run.optimizer = plain(run.net, config.optim)
    run.enter("retrain")


def _retrain(config: WeightsConfig, run: Run, family: Family) -> None:
    """Train the initial weights under the mask, in place."""
    if config.retrain.epochs:
        base = config.optim.learning_rate
        learn(run, config.retrain, base, lambda: recall_support(run))
        family.add(run, run.net, "ticket", "support, from the initial weights", run.accuracy)
