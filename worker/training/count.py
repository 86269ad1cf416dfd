"""How long a network takes for one image. Its parameters and MACs are `Backbone.cost()`."""

import statistics
import time

import torch

from slbi.nets.backbone import Backbone
from worker.training.device import Compute, convolutions

_WARM = 3  # forwards before the clock starts: the first ones allocate and choose kernels
_TIMED = 15  # odd, so that the median is a measurement; 15 make it steady to a few percent


@torch.no_grad()
def latency_ms(net: Backbone, compute: Compute) -> float:
    """Return the median time of one image's forward pass on torch's current threads, ms."""
    training = net.training
    net.eval()
    blank = torch.zeros(1, net.in_channels, net.size, net.size, device=compute.device)
    image = compute.arrange(blank)
    elapsed = []
    with convolutions(net, compute), compute.autocast():
        for turn in range(_WARM + _TIMED):
            begun = time.perf_counter()
            net(image)
            if compute.device.type == "cuda":
                torch.cuda.synchronize(compute.device)
            if turn >= _WARM:
                elapsed.append(time.perf_counter() - begun)
    net.train(training)
    return statistics.median(elapsed) * 1e3
