import pytest

from service.catalogue import Catalogue
from service.estimate import cost, rate, training_macs
from slbi.nets import backbones
from slbi.nets.widths import Widths


@pytest.mark.parametrize("name", backbones.names())
def test_a_networks_cost_is_what_the_network_itself_says(name: str, catalogue: Catalogue) -> None:
    backbone = catalogue.backbones[name]
    sizes = backbone.only or [backbone.smallest, 9, 28, 33]
    for size in sizes:
        widths = {group: 3 + number % 5 for number, group in enumerate(backbone.standard_widths)}
        net = backbones.build(
            name, Widths(widths), in_channels=3, size=size, classes=7, device="meta"
        )
        found = cost(backbone.layers, widths, channels=3, size=size, classes=7)
        assert (found.params, found.macs) == net.cost()
        assert found.params == sum(parameter.numel() for parameter in net.parameters())


def test_memory_grows_with_the_batch(catalogue: Catalogue) -> None:
    backbone = catalogue.backbones["vgg11"]
    found = cost(backbone.layers, backbone.standard_widths, channels=3, size=32, classes=10)
    assert found.memory_bytes(1) > 4 * found.params
    step = found.memory_bytes(2) - found.memory_bytes(1)
    assert found.memory_bytes(128) == found.memory_bytes(1) + 127 * step


def test_the_rate_is_the_median_so_that_one_slow_epoch_does_not_count() -> None:
    assert rate([]) is None
    assert rate([(100, 1.0), (100, 1.0), (100, 1000.0)]) == 100


def test_training_costs_three_times_the_forward_pass() -> None:
    assert training_macs(1000, 60) == 180_000
