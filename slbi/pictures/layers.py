"""The layers of any network by name, and what is said when there is none of that name."""

from torch import Tensor, nn

_WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Linear)


def layer_names(net: nn.Module) -> tuple[str, ...]:
    """Return the names of the convolutions and linear layers, in the order they are declared."""
    return tuple(name for name, module in net.named_modules() if isinstance(module, _WEIGHTED))


def find_module(net: nn.Module, name: str) -> nn.Module:
    """Return the module of that name; it may be any part of the network, e.g. a norm.

    Raises:
        ValueError: there is none.
    """
    modules = dict(net.named_modules())
    if not name or name not in modules:
        raise ValueError(f"layer must be one of {_known(net)}, got {name!r}")
    module: nn.Module = modules[name]
    return module


def find_weight(net: nn.Module, name: str) -> Tensor:
    """Return the weight of a convolution or linear layer, (O, I, ...), without its gradient.

    Raises:
        ValueError: there is no such layer, or it is of another kind.
    """
    module = find_module(net, name)
    if not isinstance(module, _WEIGHTED):
        raise ValueError(  # noqa: TRY004 -- the name is wrong, not a type
            f"layer must be a convolution or linear layer ({_known(net)}), "
            f"got {name!r}, a {type(module).__name__}"
        )
    return module.weight.detach()


def _known(net: nn.Module) -> str:
    return ", ".join(layer_names(net)) or "none"
