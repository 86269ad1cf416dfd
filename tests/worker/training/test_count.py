import torch
from torch.utils.flop_counter import FlopCounterMode

from slbi.nets.backbone import Backbone
from worker.training.count import latency
from worker.training.device import Compute


def test_latency_is_measured_and_the_network_left_as_it_was(
    net: Backbone, compute: Compute
) -> None:
    net.train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert 0 < latency(net, compute).ms < 1000
    assert net.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_the_macs_reported_are_half_of_what_torch_counts(net: Backbone) -> None:
    with FlopCounterMode(display=False) as counter:
        net.eval()(torch.zeros(1, 1, 8, 8))
    assert net.cost()[1] * 2 == counter.get_total_flops()
