"""Files in the reference's format, written here entry by entry."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, max_pool2d, relu

from slbi.convert.lenet import convert_lenet
from slbi.structure.order import NEVER
from tests.reference import Structure, prox

KAPPA = 2.0

OURS = ("conv1", "conv2", "conv3", "fc1", "classifier")


def layers() -> list[nn.Conv2d | nn.Linear]:
    """The reference's LeNet-5 for 28 px, narrower, so that the tests are quick."""
    torch.manual_seed(0)
    return [
        nn.Conv2d(1, 3, 5, padding=2),
        nn.Conv2d(3, 4, 5),
        nn.Conv2d(4, 7, 5),
        nn.Linear(7, 6),
        nn.Linear(6, 10),
    ]


def state_of(name: str, weight: Tensor, structure: Structure) -> dict[str, Any]:
    """What the reference keeps of one weight; Gamma comes from the slow reference's prox."""
    z = torch.randn(weight.shape, generator=torch.Generator().manual_seed(len(name)))
    if structure == "filter":  # About half of the filters pass the threshold.
        z = (
            z
            / z.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
            * torch.linspace(0.3, 2, len(z)).view(-1, 1, 1, 1)
        )
    gamma = torch.from_numpy(KAPPA * prox(z.double().numpy(), structure, 1.0)).float()
    return {
        "name": name,
        "momentum_buffer": torch.randn(weight.shape),
        "z_buffer": z,
        "gamma_buffer": gamma,
        "w_star": weight.detach() * (gamma != 0),
        "epoch_record": torch.where(gamma != 0, 3.0, 2000.0),
        "original_params": torch.zeros_like(weight),
    }


def module_of(size: int, *, parallel: bool) -> nn.Module:
    """The layers under the names of the reference's training example, 28 px, or plots, 32 px."""
    if size == 28:
        names = ("conv1", "conv2", "conv3", "fc1", "fc2")
        net: nn.Module = nn.ModuleDict(dict(zip(names, layers(), strict=True)))
    else:
        c1, c3, c5, f6, f7 = layers()
        convolutions, linears = {"c1": c1, "c3": c3, "c5": c5}, {"f6": f6, "f7": f7}
        net = nn.ModuleDict({"convnet": nn.ModuleDict(convolutions), "fc": nn.ModuleDict(linears)})
    return nn.ModuleDict({"module": net}) if parallel else net


def stored(size: int = 28, *, conv: Structure = "filter", parallel: bool = False) -> dict[str, Any]:
    """What the reference's training example writes."""
    net, states = module_of(size, parallel=parallel), {}
    for index, (name, parameter) in enumerate(net.named_parameters()):
        if parameter.ndim == 1:
            velocity = torch.randn(parameter.shape)
            states[index] = {"name": name, "momentum_buffer": velocity}
        else:
            states[index] = state_of(name, parameter, conv if parameter.ndim == 4 else "element")
    numbers = {
        "lr": 0.1, "kappa": KAPPA, "mu": 20, "weight_decay": 0, "momentum": 0.9, "dampening": 0,
    }  # fmt: skip
    optimizer = {"state": states, "param_groups": [{**numbers, "params": list(states)}]}
    return {"model": net.state_dict(), "optimizer": optimizer}


def written(saved: object, folder: Path, **options: Any) -> Path:  # noqa: ANN401 -- torch.save's own
    path = folder / "lenet.pth"
    torch.save(saved, path, **options)
    return path


@pytest.mark.parametrize("modern", [True, False])
def test_the_network_computes_what_the_references_does(tmp_path: Path, modern: bool) -> None:
    path = written(stored(), tmp_path, _use_new_zipfile_serialization=modern)
    net = convert_lenet(path).net
    conv1, conv2, conv3, fc1, fc2 = layers()
    images = torch.randn(3, 1, 28, 28)
    x = max_pool2d(relu(conv1(images)), 2)
    x = relu(conv3(max_pool2d(relu(conv2(x)), 2))).view(-1, 7)
    theirs = log_softmax(fc2(relu(fc1(x))), dim=1)
    torch.testing.assert_close(log_softmax(net(images), dim=1), theirs)
    assert dict(net.widths) == {"conv1": 3, "conv2": 4, "conv3": 7, "fc1": 6}


def test_gamma_from_the_stored_z_is_the_stored_gamma(tmp_path: Path) -> None:
    saved = stored()
    optimizer = convert_lenet(written(saved, tmp_path)).optimizer
    assert optimizer is not None
    assert list(optimizer.twins()) == [f"{layer}.weight" for layer in OURS]
    for index, name in enumerate(f"{layer}.weight" for layer in OURS):
        theirs, weight = saved["optimizer"]["state"][2 * index], optimizer.twin(name)
        torch.testing.assert_close(optimizer.gamma(weight), theirs["gamma_buffer"])
        assert torch.equal(optimizer.gamma(weight) != 0, theirs["gamma_buffer"] != 0)
        assert torch.equal(optimizer.z(weight), theirs["z_buffer"])
        velocity = optimizer.state[weight]["momentum_buffer"]
        assert torch.equal(velocity, theirs["momentum_buffer"])
        assert 0 < optimizer.calculate_proportion(name) < 1


def test_training_and_pruning_go_on_where_the_file_ends(tmp_path: Path) -> None:
    converted = convert_lenet(written(stored(), tmp_path))
    net, optimizer = converted.net, converted.optimizer
    assert optimizer is not None
    assert optimizer.param_groups[0]["mu"] == 20
    entry = optimizer.entry("conv3.weight")
    assert torch.equal(entry == NEVER, ~optimizer.support(optimizer.twin("conv3.weight")))
    assert set(entry.tolist()) == {3, NEVER}
    before = net.get_parameter("conv3.weight").detach().clone()
    optimizer.prune_layer_by_order_by_list(80, ["conv3.weight", "fc1.weight"], True)
    left = net.get_parameter("conv3.weight").detach().flatten(1).any(dim=1)
    assert left.sum() == 2
    assert not net.get_parameter("conv3.bias").detach()[~left].any()
    optimizer.recover()
    assert torch.equal(net.get_parameter("conv3.weight"), before)
    torch.autograd.backward(net(torch.randn(2, 1, 28, 28)).square().mean())
    optimizer.step()
    optimizer.update_prune_order(4)


def test_the_plot_examples_names_make_a_network_for_32_px(tmp_path: Path) -> None:
    saved = stored(32)
    net = convert_lenet(written({"net": saved["model"], "acc": 98.75}, tmp_path))
    assert net.optimizer is None
    assert net.net(torch.randn(2, 1, 32, 32)).shape == (2, 10)
    assert torch.equal(net.net.get_parameter("fc1.weight"), saved["model"]["fc.f6.weight"])


def test_elementwise_convolutions_are_told_by_their_gamma(tmp_path: Path) -> None:
    optimizer = convert_lenet(written(stored(conv="element"), tmp_path)).optimizer
    assert optimizer is not None
    assert list(optimizer.twins("element")) == [f"{layer}.weight" for layer in OURS]


def test_prefixes_of_data_parallelism_and_keys_of_old_torch_are_understood(tmp_path: Path) -> None:
    saved = stored(parallel=True)
    group = saved["optimizer"]["param_groups"][0]
    states = saved["optimizer"]["state"]
    saved["optimizer"]["state"] = {140_000 + index: state for index, state in states.items()}
    group["params"] = [140_000 + index for index in group["params"]]
    optimizer = convert_lenet(written(saved, tmp_path)).optimizer
    assert optimizer is not None
    z = states[6]["z_buffer"]
    assert torch.equal(optimizer.z(optimizer.twin("fc1.weight")), z)


class Malice:
    """An object whose unpickling makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("modern", [True, False])
def test_a_file_that_would_run_something_is_refused_and_runs_nothing(
    tmp_path: Path, modern: bool
) -> None:
    trap = tmp_path / "made_by_the_file"
    saved = stored() | {"epoch": Malice(trap)}
    path = written(saved, tmp_path, _use_new_zipfile_serialization=modern)
    with pytest.raises(ValueError, match=r"lenet\.pth must hold nothing but tensors.*mkdir"):
        convert_lenet(path)
    assert not trap.exists()
    torch.load(path, weights_only=False)
    assert trap.exists()


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lenet.pth"
    for content in (b"", b"not a network", b"PK\x03\x04 torn"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"lenet\.pth must hold nothing but tensors"):
            convert_lenet(path)


def broken(path: str, value: object) -> dict[str, Any]:
    """A stored file with one entry, by its keys, replaced, or gone where the value is None."""
    saved = stored()
    *keys, last = (int(key) if key.isdigit() else key for key in path.split("/"))
    inner: Any = saved
    for key in keys:
        inner = inner[key]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return saved


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("model", None, r"one of 'model', 'net', 'state_dict', got 'optimizer'"),
        ("model", [1], "the network must be a dict, got list"),
        ("model/conv3.bias", None, "the network must hold 'conv3.bias', got 'conv1.weight'"),
        ("model/bn1.weight", torch.ones(3), "must be a LeNet-5, got 'bn1.weight' in it"),
        ("model/fc1.weight", 3, "fc1.weight must be a floating-point tensor of rank 2, got int"),
        ("model/conv2.weight", torch.ones(4, 3), r"tensor of rank 4, got torch.float32 of shape"),
        (
            "model/fc1.weight",
            torch.ones(6, 8),
            r"fc1.weight must be of shape \(6, 7\), got \(6, 8\)",
        ),
        ("optimizer", 7, "'optimizer' must be a dict, got int"),
        ("optimizer/state", None, "'optimizer' must hold 'state', got 'param_groups'"),
        ("optimizer/param_groups/0/params", [0], "must hold 10 parameters, got 1"),
        ("optimizer/param_groups/0/mu", None, "'param_groups' must hold 'mu', got 'lr'"),
        ("optimizer/param_groups/0/mu", 0, "mu must be a finite number > 0, got 0"),
        ("optimizer/state/6/name", "fc9.weight", "one of the network's, got 'fc9.weight'"),
        ("optimizer/state/6/gamma_buffer", None, "must hold gamma_buffer of fc1.weight, got"),
        (
            "optimizer/state/6/z_buffer",
            torch.ones(2, 2),
            r"z_buffer of fc1.weight must be of shape \(6, 7\), got \(2, 2\)",
        ),
        (
            "optimizer/state/4/gamma_buffer",
            torch.ones(7, 4, 5, 5),
            r"gamma_buffer of conv3.weight must be kappa prox\(z_buffer\)",
        ),
    ],
)
def test_what_is_wrong_is_named(path: str, value: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        convert_lenet(written(broken(path, value), tmp_path))


def test_the_slow_reference_selects_some_filters_here() -> None:
    states = stored()["optimizer"]["state"]
    shares = [np.mean(states[index]["gamma_buffer"].numpy() != 0) for index in (0, 2, 4, 6, 8)]
    assert all(0 < share < 1 for share in shares)


@pytest.mark.filterwarnings("ignore")  # torch warns of some of them before it refuses them
@pytest.mark.parametrize("modern", [True, False])
def test_a_torn_file_is_read_or_refused_and_nothing_else(tmp_path: Path, modern: bool) -> None:
    path = written(stored(), tmp_path, _use_new_zipfile_serialization=modern)
    whole = path.read_bytes()
    names = whole.find(b"conv1")
    generator = torch.Generator().manual_seed(0)
    refused = 0
    for _ in range(100):
        torn = bytearray(whole)
        place, value = torch.randint(names - 100, names + 5000, (2,), generator=generator).tolist()
        torn[place] = value % 256
        path.write_bytes(torn)
        try:
            convert_lenet(path)
        except ValueError:
            refused += 1
    assert refused > 10
