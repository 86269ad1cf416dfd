"""A stem for small images: of any network's reduction the first factor of four is taken out.

What reduces the map first is given a stride of 1: a ResNet then begins with a 3x3 convolution and
no max-pool, as on CIFAR, a MobileNet v2 with two convolutions of stride 1, and a vision transformer
with patches of a quarter of the side.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

MOST = 4
"""How much of the reduction goes. Networks for ImageNet reduce 224 px by 32, to 7. Those for CIFAR
reduce 32 px by 4 (ResNet-20, He et al. 2016, arXiv 1512.03385) or by 8 (ResNet-18): a quarter."""

_KERNEL = 3  # px; what is left of a larger one, as in the networks for CIFAR

_Pool = nn.MaxPool2d | nn.AvgPool2d


@dataclass(frozen=True, kw_only=True, slots=True)
class Reduction:
    """What is taken out of a network."""

    strides: Mapping[str, int]
    """Name of a convolution or pool -> what its stride is divided by, 2 or more."""
    factor: int
    """What they make together."""


def reduction(net: nn.Module, shape: tuple[int, int, int]) -> Reduction:
    """Return what a small stem leaves out: the first strides that make four together, or less.

    Branches that lie beside each other lose the same, for each goes by the side of its map.

    Args:
        net: with or without data; it is run on the meta device, and left as it is.
        shape: C, H, W of an image of the size that the network was published for.
    """
    strides: dict[str, int] = {}
    factors = [1]

    def looking(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            before, stride = round(shape[-1] / inputs[0].shape[-1]), _stride(module)
            fitting = (f for f in range(1, MOST + 1) if stride % f == 0 and before * f <= MOST)
            factor = max(fitting, default=1)
            if factor > 1:
                strides[name] = factor
                factors.append(before * factor)

        return look

    hooks = [
        module.register_forward_pre_hook(looking(name))
        for name, module in net.named_modules()
        if isinstance(module, nn.Conv2d | _Pool)
    ]
    with torch.no_grad():
        net(torch.empty(2, *shape, device="meta"))
    for hook in hooks:
        hook.remove()
    return Reduction(strides=strides, factor=max(factors))


def take_out(net: nn.Module, found: Reduction) -> None:
    """Divide the strides, in place.

    Kernels larger than 3 px become 3, or the stride that is left where that is more; a pool that
    is left without a stride goes.
    """
    for name, factor in found.strides.items():
        module = net.get_submodule(name)
        left = _stride(module) // factor
        if isinstance(module, nn.Conv2d):
            _set_stride(module, left)
            continue
        owner, _, attribute = name.rpartition(".")
        if left > 1:
            module.stride = left  # type: ignore[assignment]  # of a pool it is a number
        else:
            setattr(net.get_submodule(owner), attribute, nn.Identity())


def _set_stride(conv: nn.Conv2d, stride: int) -> None:
    """Give a convolution a stride and what else then changes, in place; its map keeps its side."""
    kernel = conv.kernel_size[0]
    if kernel > _KERNEL or (stride == 1 and kernel % 2 == 0):
        kernel = max(_KERNEL, stride)
        shape = (*conv.weight.shape[:2], kernel, kernel)
        conv.weight = nn.Parameter(conv.weight.new_empty(shape))
        conv.kernel_size = (kernel, kernel)
    conv.stride = (stride, stride)
    conv.padding = ((kernel - stride + 1) // 2,) * 2


def _stride(module: nn.Module) -> int:
    stride = module.stride
    return int(stride[0] if isinstance(stride, tuple) else stride)  # type: ignore[arg-type]  # a module's attributes are of any type
