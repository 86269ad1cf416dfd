from torch import nn

from slbi.structure.channels import channels


def test_every_layer_says_what_it_reads_and_makes() -> None:
    net = nn.ModuleDict(
        {"conv1": nn.Conv2d(3, 8, 3), "bn": nn.BatchNorm2d(8), "fc": nn.Linear(8, 2)}
    )
    assert channels(dict(net.named_parameters())) == {
        "conv1.in": 3, "conv1.out": 8, "fc.in": 8, "fc.out": 2,
    }  # fmt: skip


def test_only_the_prefix_of_data_parallelism_is_left_out() -> None:
    weight = nn.Linear(2, 3).weight
    found = channels({"module.fc.weight": weight, "submodule.fc.weight": weight})
    assert list(found) == ["fc.in", "fc.out", "submodule.fc.in", "submodule.fc.out"]
