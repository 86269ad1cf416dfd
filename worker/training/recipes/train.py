"""The recipe `train`: a network of fixed widths, whose structure SLBI finds while it learns."""

from functools import partial

from slbi.structure.on_support import on_support
from worker.training.device import generator
from worker.training.plans import TrainConfig
from worker.training.recipes.conduct import Surroundings, Workplace, conduct
from worker.training.recipes.family import Family, everywhere
from worker.training.recipes.files import add_order
from worker.training.recipes.fresh import fresh
from worker.training.recipes.lesson import coupled, learn
from worker.training.recipes.masks import filters_of
from worker.training.recipes.result import Result
from worker.training.recipes.run import Run, Support
from worker.training.recipes.twin import twin_layers
from worker.training.recorder import ModelKind


def train(config: TrainConfig, around: Surroundings) -> Result:
    """Train a network of fixed widths with SLBI, or go on with it.

    Raises:
        as `conduct`.
    """

    def body(run: Run, family: Family) -> None:
        learn(run, config.train, config.optim.learning_rate, run.selected)
        add_trained(run, family)

    return conduct(config, around, partial(_begin, config), body)


def add_trained(run: Run, family: Family) -> None:
    """Add a trained network to the family, what its support makes of it, and its entry order."""
    family.add(run, run.net, "trained", "W", run.accuracy)
    selected = run.selected()
    if any(not bool(support.all()) for support in selected.values()):
        filters = filters_of(run, selected)
        with on_support(run.optimizer, "element"):  # single weights cannot be removed
            cut = family.cut(run, {**everywhere(run.net), **filters})
        kind: ModelKind = "pruned" if filters else "masked"
        family.add(run, cut.net, kind, "support", run.validate(cut.net), kept=cut.kept)
    add_order(run, family.output, mark=family.mark)
    run.recorder.findings({"layers": kept_shares(run, selected)})


def kept_shares(run: Run, support: Support) -> list[dict[str, object]]:
    """Return for every layer, as JSON can say it, how much of it is in a support."""
    return [
        {
            "layer": layer.name,
            "structure": layer.structure,
            "total": support[layer.name].numel(),
            "kept": int(support[layer.name].sum()),
        }
        for layer in run.layers
    ]


def _begin(config: TrainConfig, place: Workplace) -> Run:
    """Return the run before its first step."""
    net = fresh(config, place.data, place.compute, generator(place.seed, "weights"))
    run = place.run(
        net,
        coupled(net, config.optim, config.twin, config.train, len(place.batches)),
        twin_layers(net, config.twin),
        phase="train",
        epochs=config.train.epochs,
    )
    run.watches_support = True
    return run
