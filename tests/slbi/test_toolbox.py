"""Defects of the reference's toolbox, each mended here; docs/migrating.md lists them."""

import copy
import io

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, max_pool2d, relu

from slbi.nets import backbones
from slbi.pruning.slice import slice_filters
from slbi.structure.order import NEVER
from slbi.toolbox import SLBI_ToolBox, Toolbox


class Net(nn.Module):
    """Two convolutions and two linear layers, as the reference names them, for (N, 1, 8, 8).

    Its weights are large and uneven, so that a few steps select some filters and entries of each.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3)
        self.bn1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 6, 2)
        self.fc1 = nn.Linear(24, 5)
        self.fc2 = nn.Linear(5, 3)
        with torch.no_grad():
            for conv in (self.conv1, self.conv2):
                conv.weight.mul_(torch.linspace(0.5, 8, len(conv.weight)).view(-1, 1, 1, 1))
            for linear in (self.fc1, self.fc2):
                linear.weight.mul_(8.0)

    def forward(self, images: Tensor) -> Tensor:
        maps = max_pool2d(relu(self.bn1(self.conv1(images))), 2)
        maps = relu(self.conv2(maps)).flatten(1)
        logits: Tensor = self.fc2(relu(self.fc1(maps)))
        return logits


TWINS = ["conv1.weight", "conv2.weight", "fc1.weight", "fc2.weight"]


def started(net: nn.Module) -> Toolbox:
    """The start that the reference's README shows, for a network as it is."""
    layer_list, name_list = [], []
    for name, p in net.named_parameters():
        name_list.append(name)
        if len(p.data.size()) == 4 or len(p.data.size()) == 2:
            layer_list.append(name)
    optimizer = SLBI_ToolBox(net.parameters(), lr=0.1, kappa=1, mu=1, weight_decay=0)
    optimizer.assign_name(name_list)
    optimizer.initialize_slbi(layer_list)
    return optimizer


def train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        images = torch.randn(8, 1, 8, 8, generator=generator)
        labels = torch.randint(3, (8,), generator=generator)
        optimizer.zero_grad()
        torch.autograd.backward(cross_entropy(net(images), labels))
        optimizer.step()


def made(steps: int = 15) -> tuple[Net, Toolbox]:
    """A trained network, on which the order was updated after every five steps."""
    torch.manual_seed(0)
    net = Net()
    optimizer = started(net)
    for epoch in range(steps // 5):
        train(net, optimizer, range(5 * epoch, 5 * epoch + 5))
        optimizer.update_prune_order(epoch)
    return net, optimizer


def values(net: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in net.named_parameters()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_the_first_batch_runs_on_this_torch_and_selects_something() -> None:
    _, optimizer = made()
    assert 0 < optimizer.calculate_proportion("fc1.weight") < 1


def test_it_works_on_the_cpu_and_follows_the_device_of_the_network() -> None:
    net, optimizer = made()
    devices = {optimizer.prune_order(name).device for name in TWINS}
    assert devices == {next(net.parameters()).device} == {torch.device("cpu")}


def test_step_returns_the_loss_of_the_closure_frozen_or_not() -> None:
    net, optimizer = made()
    images = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))

    def closure() -> float:
        optimizer.zero_grad()
        loss = net(images).square().mean()
        torch.autograd.backward(loss)
        return float(loss.detach())

    expected = net(images).square().mean().item()
    assert optimizer.step(closure) == pytest.approx(expected)
    assert optimizer.step_with_freeze(True, closure) < expected
    assert optimizer.step_with_freeze() is None


def test_the_proportion_of_a_linear_layer_counts_negative_entries_over_all_entries() -> None:
    net, optimizer = made()
    gamma = optimizer.gamma(net.fc1.weight)
    assert (gamma < 0).any()
    share = (gamma != 0).sum().item() / gamma.numel()
    assert optimizer.calculate_proportion("fc1.weight") == pytest.approx(share)


def test_a_second_prune_keeps_the_originals() -> None:
    net, optimizer = made()
    before = values(net)
    optimizer.prune_layer_by_order_by_list(50, TWINS, True)
    optimizer.prune_layer_by_order_by_name(90, "fc1.weight")
    optimizer.use_w_star()
    assert not equal(before, values(net))
    optimizer.recover()
    assert equal(before, values(net))


def test_recovering_a_second_time_does_not_revert_what_was_trained_since() -> None:
    net, optimizer = made()
    optimizer.prune_layer_by_order_by_list(50, TWINS, True)
    optimizer.recover()
    train(net, optimizer, range(20, 25))
    after = values(net)
    optimizer.recover()
    assert equal(after, values(net))


def test_recovering_does_not_revert_what_was_trained_on_the_pruned_network() -> None:
    net, optimizer = made()
    optimizer.prune_layer_by_order_by_list(50, TWINS, True)
    train(net, optimizer, range(20, 25))
    after = values(net)
    optimizer.recover()
    assert equal(after, values(net))


def test_recovering_after_a_load_does_not_revert_the_loaded_weights() -> None:
    net, optimizer = made()
    trained, state = copy.deepcopy(net.state_dict()), copy.deepcopy(optimizer.state_dict())
    for order in ("network", "optimizer"):
        optimizer.prune_layer_by_order_by_list(90, TWINS, True)
        if order == "network":
            net.load_state_dict(trained)
        else:
            optimizer.load_state_dict(state)
        loaded = values(net)
        optimizer.recover()
        assert equal(loaded, values(net))


def test_originals_are_not_saved() -> None:
    net, optimizer = made()
    optimizer.prune_layer_by_order_by_list(90, TWINS, True)
    second_net = copy.deepcopy(net)
    second = started(second_net)
    second.load_state_dict(optimizer.state_dict())
    pruned = values(second_net)
    second.recover()
    assert equal(pruned, values(second_net))


def test_weights_of_a_name_with_bn_are_decayed_and_vectors_never() -> None:
    matrix, vector = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
    optimizer = SLBI_ToolBox([matrix, vector], lr=0.5, weight_decay=0.1)
    optimizer.assign_name(["subnet.weight", "bn1.weight"])
    for parameter in (matrix, vector):
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(matrix.detach(), torch.full((2, 2), 0.95))
    assert torch.equal(vector, torch.ones(2))


def test_names_are_never_matched_as_substrings() -> None:
    net, optimizer = made()
    before = values(net)
    with pytest.raises(ValueError, match=r"must be one of conv1\.weight, .*, got 'conv1'"):
        optimizer.prune_layer_by_order_by_name(50, "conv1")
    with pytest.raises(ValueError, match=r"list of names, got the one string 'xconv1\.weighty'"):
        optimizer.prune_layer_by_order_by_list(50, "xconv1.weighty")
    assert equal(before, values(net))
    optimizer.prune_layer_by_order_by_list(50, ["conv1.weight"])
    changed = {name for name, value in values(net).items() if not torch.equal(value, before[name])}
    assert changed == {"conv1.weight"}


def test_nothing_is_printed_but_by_print_network(capsys: pytest.CaptureFixture[str]) -> None:
    _, optimizer = made()
    optimizer.use_w_star()
    optimizer.recover()
    optimizer.calculate_all_residue()
    assert capsys.readouterr().out == ""
    optimizer.print_network()
    assert capsys.readouterr().out.splitlines()[0] == "conv1.weight (4, 1, 3, 3)"


def test_initialising_after_a_load_keeps_the_twins_that_were_loaded() -> None:
    net, optimizer = made()
    file = io.BytesIO()
    torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    second_net = Net()
    second_net.load_state_dict(saved["model"])
    second = SLBI_ToolBox(second_net.parameters(), lr=9.0)
    second.load_state_dict(saved["optimizer"])
    second.assign_name([name for name, _ in second_net.named_parameters()])
    second.initialize_slbi(TWINS)
    for name in TWINS:
        assert torch.equal(second.z(second.named()[name]), optimizer.z(optimizer.named()[name]))
        assert torch.equal(second.prune_order(name), optimizer.prune_order(name))
        assert torch.equal(second.entry(name), optimizer.entry(name))
    train(net, optimizer, range(20, 25))
    train(second_net, second, range(20, 25))
    assert equal(values(net), values(second_net))


def test_the_state_of_another_optimizer_is_refused() -> None:
    net, optimizer = made()
    with pytest.raises(ValueError, match=r"hold 'ranking'.*got state, param_groups"):
        optimizer.load_state_dict(torch.optim.SGD(net.parameters(), lr=0.1).state_dict())


def test_a_deep_copy_has_its_order_and_its_originals() -> None:
    net, optimizer = made()
    before = values(net)
    optimizer.prune_layer_by_order_by_list(50, TWINS)
    twin_net, twin = copy.deepcopy((net, optimizer))
    assert torch.equal(twin.prune_order("fc1.weight"), optimizer.prune_order("fc1.weight"))
    twin.recover()
    assert equal(before, values(twin_net))
    assert not equal(before, values(net))


def test_pruning_before_any_order_is_refused() -> None:
    optimizer = started(Net())
    with pytest.raises(ValueError, match=r"has an order yet \(none\), got 'fc1\.weight'"):
        optimizer.prune_layer_by_order_by_list(50, ["fc1.weight"])


def test_what_has_no_twin_is_named() -> None:
    _, optimizer = made()
    with pytest.raises(ValueError, match=r"'fc1\.bias' must have a twin"):
        optimizer.calculate_proportion("fc1.bias")


def test_thresholds_norms_and_sizes_are_returned() -> None:
    net, optimizer = made()
    order = optimizer.prune_order("conv2.weight")
    assert optimizer.cal_prune_thre(0, "conv2.weight") == pytest.approx(order.min().item())
    norms = optimizer.calculate_norm("conv2.weight")
    torch.testing.assert_close(norms, net.conv2.weight.detach().flatten(1).norm(dim=1))
    torch.testing.assert_close(optimizer.calculate_norm("fc1.bias"), net.fc1.bias.detach().abs())
    assert optimizer.get_size("conv2.weight") == (6, 4, 2, 2)
    assert optimizer.generate_dict()["conv2.in"] == 4


def test_the_residue_takes_the_mu_of_each_weight() -> None:
    _, optimizer = made()
    whole = optimizer.calculate_all_residue()
    layers = [optimizer.calculate_layer_residue(name) for name in TWINS]
    assert whole == pytest.approx(sum(layers))
    optimizer.param_groups[0]["mu"] = 2.0
    assert optimizer.calculate_all_residue() == pytest.approx(whole - layers[0] / 2)


def test_freezing_holds_selected_filters_and_lets_the_rest_and_matrices_learn() -> None:
    net, optimizer = made(5)
    support = optimizer.support(net.conv2.weight)
    assert support.any()
    assert not support.all()
    before, z = values(net), optimizer.z(net.conv2.weight)
    torch.autograd.backward(net(torch.randn(4, 1, 8, 8)).square().mean())
    optimizer.step_with_freeze()
    moved = (net.conv2.weight.detach() != before["conv2.weight"]).flatten(1).any(dim=1)
    assert torch.equal(moved, ~support)
    assert torch.equal(optimizer.z(net.conv2.weight)[support], z[support])
    assert not torch.equal(optimizer.z(net.conv2.weight)[~support], z[~support])
    assert not torch.equal(net.fc1.weight, before["fc1.weight"])


def test_not_freezing_is_a_plain_step() -> None:
    (net, optimizer), (other, plain) = made(), made()
    for each in (net, other):
        torch.autograd.backward(each(torch.ones(4, 1, 8, 8)).square().mean())
    optimizer.step_with_freeze(freeze=False)
    plain.step()
    assert equal(values(net), values(other))


def test_the_best_filters_come_with_the_columns_that_read_them() -> None:
    net, optimizer = made()
    chosen = optimizer.prune_order("conv2.weight").argsort(descending=True)[:2]
    filters, columns = optimizer.extract_conv_and_fc_weights("conv2.weight", 2)
    assert torch.equal(filters, optimizer.extract_layer_weights("conv2.weight", 2))
    assert torch.equal(filters, net.conv2.weight.detach()[chosen])
    blocks = net.fc1.weight.detach().view(5, 6, 4)
    assert torch.equal(columns, blocks[:, chosen].flatten(1))


def test_a_convolution_that_reads_is_found_too() -> None:
    net, optimizer = made()
    chosen = optimizer.prune_order("conv1.weight").argsort(descending=True)[:3]
    _, columns = optimizer.extract_conv_and_fc_weights("conv1.weight", 3)
    assert torch.equal(columns, net.conv2.weight.detach()[:, chosen])
    _, named = optimizer.extract_conv_and_fc_weights("conv1.weight", 3, reader="conv2.weight")
    assert torch.equal(named, columns)


def test_reinitialising_starts_the_worst_filters_outside_the_span_of_the_rest() -> None:
    net, optimizer = made(20)
    name, weight = "conv2.weight", net.conv2.weight
    worst = optimizer.prune_order(name).argsort(descending=True)[3:]
    rest = optimizer.prune_order(name).argsort(descending=True)[:3]
    before = values(net)
    optimizer.reinitialize(TWINS, 50, 0.0, torch.Generator().manual_seed(0))
    rows = weight.detach().flatten(1)
    assert torch.equal(rows[rest], before[name].flatten(1)[rest])
    overlap = rows[worst].double() @ torch.linalg.qr(rows[rest].double().T).Q
    assert overlap.norm() < 1e-6 * rows[worst].norm()
    assert not optimizer.z(weight)[worst].any()
    assert not optimizer.named()["conv2.bias"].detach()[worst].any()
    assert (optimizer.entry(name)[worst] == NEVER).all()
    assert (optimizer.prune_order(name)[worst] == -2000).all()
    assert torch.equal(net.fc1.weight, before["fc1.weight"])


def test_a_layer_that_is_not_fuller_than_the_threshold_is_not_reinitialised() -> None:
    net, optimizer = made(20)
    before = values(net)
    optimizer.reinitialize(TWINS, 50, 1.0)
    assert equal(before, values(net))


def test_under_the_lexicographic_order_no_norm_beats_an_epoch() -> None:
    torch.manual_seed(0)
    net = Net()
    optimizer = Toolbox(net.named_parameters(), lr=0.1, mu=1.0, ordering="lexicographic")
    optimizer.initialize_slbi(TWINS)
    for epoch in range(4):
        train(net, optimizer, range(5 * epoch, 5 * epoch + 5))
        optimizer.update_prune_order(epoch)
    order, entry = optimizer.prune_order("fc1.weight"), optimizer.entry("fc1.weight")
    first, never = entry == entry[entry != NEVER].min(), entry == NEVER
    assert first.any()
    assert never.any()
    assert order[first].min() > order[never].max()
    optimizer.prune_layer_by_order_by_list(100 * float(never.float().mean()), ["fc1.weight"])
    assert not net.fc1.weight.detach()[never].any()
    assert net.fc1.weight.detach()[first].all()


def test_slicing_carries_z_and_momentum_of_a_toolbox() -> None:
    net = backbones.build("lenet5", in_channels=1, size=28, classes=3)
    optimizer = Toolbox(net.named_parameters(), lr=0.1, mu=5.0)
    optimizer.initialize_slbi(["conv3.weight"])
    torch.autograd.backward(net(torch.randn(4, 1, 28, 28)).square().mean())
    optimizer.step()
    keep = torch.arange(120) % 3 == 0
    sliced = slice_filters(net, optimizer, {"conv3": keep})
    weight = sliced.optimizer.twin("conv3.weight")
    assert weight is sliced.net.get_parameter("conv3.weight")
    assert torch.equal(
        sliced.optimizer.z(weight), optimizer.z(optimizer.twin("conv3.weight"))[keep]
    )
