import torch

from slbi.growth.rule import supports
from slbi.growth.twins import ENTRY
from slbi.nets.backbone import Backbone
from slbi.optim.optimizer import SLBI
from worker.training.config import OptimConfig
from worker.training.recipes.twin import couple, plain


def test_all_but_the_classifier_biases_and_norms_have_a_twin(net: Backbone) -> None:
    optimizer = couple(net, OptimConfig(), steps=100)
    twins = {id(p) for p in optimizer.param_groups[0]["params"]}
    named = {name for name, p in net.named_parameters() if id(p) in twins}
    expected = {n for n, p in net.named_parameters() if p.ndim > 1 and "classifier" not in n}
    assert named == expected
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(
        list(net.parameters())
    )


def _idle_round(net: Backbone, optimizer: SLBI, steps: int, *, held: bool) -> float:
    """Return the share selected after a round in which the loss says nothing, or holds weights."""
    weights = [p.detach().clone() for p in net.parameters()]
    for _ in range(steps):
        for parameter in net.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        if held:
            with torch.no_grad():
                for parameter, weight in zip(net.parameters(), weights, strict=True):
                    parameter.copy_(weight)
    found = supports(optimizer, net).values()
    return sum(float(s.double().sum()) for s in found) / sum(len(s) for s in found)


def test_auto_mu_selects_in_a_round_what_the_loss_holds_up_and_not_what_idles(
    net: Backbone,
) -> None:
    steps = 60
    config = OptimConfig(momentum=0.0)
    assert _idle_round(net, couple(net, config, steps=steps), steps, held=False) < 0.25
    assert _idle_round(net, couple(net, config, steps=steps), steps, held=True) > 0.95
    early = round(ENTRY * steps * 0.6)
    assert _idle_round(net, couple(net, config, steps=steps), early, held=True) < 0.2


def test_a_given_mu_is_taken_as_it_is(net: Backbone) -> None:
    assert couple(net, OptimConfig(mu=7.0), steps=1).param_groups[0]["mu"] == 7.0


def test_the_plain_optimizer_has_no_twin(net: Backbone) -> None:
    assert supports(plain(net, OptimConfig()), net) == {}
