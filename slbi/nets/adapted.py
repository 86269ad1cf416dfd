"""A network of another library as a backbone: its coupling is found, not declared."""

from abc import abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from slbi.nets.backbone import Backbone
from slbi.nets.counted import CountedLayerNorm
from slbi.nets.graph.find import Found
from slbi.nets.graph.resize import rebuilt
from slbi.nets.initial import RELU_GAIN, deviation, draw
from slbi.nets.outlining import outline_of
from slbi.nets.published import Kind, pass_of, published, shape_of, usual_shape
from slbi.nets.sketch import Outline
from slbi.nets.widths import Widths

_INNER = "net."

_Layers = nn.Conv2d | nn.Linear
_Norms = nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm

_SEEDS = 2**62  # of tables that are drawn: any number that a generator takes


class Adapted(Backbone):
    """A network of another library behind a backbone's interface. See `Backbone`.

    Its tensors are named as there, behind "net."; its groups as there.
    """

    def __init__(
        self, name: str, widths: Widths, *, in_channels: int, size: int, classes: int
    ) -> None:
        super().__init__(name, widths, in_channels=in_channels, size=size, classes=classes)
        shape = shape_of((type(self), name, in_channels, size, classes))
        self._classifier = shape.classifier
        with torch.device("cpu"):  # tables of filters are computed with; the network has no data
            self.net, self._found = rebuilt(shape.net, shape.found, self.widths)

    @classmethod
    @abstractmethod
    def standard(cls, name: str, *, in_channels: int, size: int, classes: int) -> nn.Module:
        """Return the published network for such images and classes.

        Of what its layers hold only the shapes count. What else it holds, such as embeddings, it
        holds as published; what is random of that it draws from torch's own generator.
        """

    @classmethod
    def usual(cls, name: str) -> int:  # noqa: ARG003 -- one size for all that there are
        """Return the side of the images that the network was published for, px."""
        return 224

    @classmethod
    def sided(cls, name: str) -> bool:  # noqa: ARG003 -- likewise
        """Return whether the network is another one for images of another side."""
        return True

    @classmethod
    def check_size(cls, name: str, size: int) -> None:
        """Refuse sizes that the network does not take, by letting it try."""
        if name not in cls.names():
            raise ValueError(f"backbone must be one of {', '.join(cls.names())}, got {name!r}")
        try:
            pass_of(cls, name, size)
        except ValueError as error:
            raise ValueError(
                f"size must suit {name} with its {cls.stem} stem, got {size} px: {error}"
            ) from error

    @classmethod
    def standard_widths(cls, name: str) -> Widths:
        """Return the published widths, by the names that tracing gives the groups."""
        return usual_shape(cls, name).found.widths

    @property
    def classifier(self) -> nn.Conv2d | nn.Linear:  # type: ignore[override]  # there it is set once
        """Return the layer that tells the classes apart."""
        layer = self.net.get_submodule(self._classifier)
        if not isinstance(layer, _Layers):
            raise TypeError(f"classes must be told by a layer, got {type(layer).__name__}")
        return layer

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None, *, zero: bool = False) -> None:
        """Set every parameter and buffer to its initial value, in place, as `Backbone` does.

        Weights of attention are drawn like those of other layers. Whatever is neither layer nor
        norm, as position embeddings, is as published, drawn anew where it is random.

        Raises:
            ValueError: a layer holds parameters for which no initial value is known.
        """
        super().initialise(generator, zero=zero)
        others: list[tuple[str, nn.Module]] = []
        for name, module in self.net.named_modules():
            if isinstance(module, nn.LayerNorm | nn.GroupNorm):
                module.reset_parameters()
                if isinstance(module, CountedLayerNorm):
                    module.counted.fill_(value=True)
            elif isinstance(module, nn.MultiheadAttention):
                _draw_attention(module, generator, zero=zero)
            elif not isinstance(module, _Layers | _Norms) and any(_own(module)):
                others.append((name, module))
        if others and not self.classifier.weight.is_meta:
            self._fill(others, generator, zero=zero)

    def _fill(
        self, others: list[tuple[str, nn.Module]], generator: torch.Generator | None, *, zero: bool
    ) -> None:
        """Set what modules hold that are neither layer nor norm to what is published, in place."""
        seed = 0 if zero else int(torch.randint(_SEEDS, (), generator=generator))
        standard = published(self._kind, seed)
        for name, module in others:
            source = dict(_own(standard.get_submodule(name)))
            for own, tensor in _own(module):
                value = source[own]
                if value.is_meta:
                    raise ValueError(
                        f"an initial value must be known of every parameter, of {own!r} of "
                        f"{name!r}, a {type(module).__name__}, none is"
                    )
                tensor.copy_(_fitted(value.detach(), tensor.shape))
                if zero and isinstance(tensor, nn.Parameter):
                    tensor.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, classes) logits."""
        logits: Tensor = self.net(x)
        return logits

    def found(self) -> Found:
        """Return which tensors share a filter axis, and its widths."""
        return Found(coupling=self._found.coupling.below(_INNER), widths=self._found.widths)

    def adopt(self, found: Found) -> None:
        """Take note of the filters that surgery has left it, in place."""
        super().adopt(found)
        self._found = self._found.resized(found.widths)

    def outline(self) -> Outline:
        """Return what its layers cost, for images of its own size alone."""
        return outline_of(type(self), self.name, (self.size,))

    @property
    def _kind(self) -> Kind:
        return (type(self), self.name, self.in_channels, self.size, self.classes)


def _own(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the parameters and buffers that a module itself holds."""
    yield from module.named_parameters(recurse=False)
    yield from module.named_buffers(recurse=False)


def _draw_attention(
    attention: nn.MultiheadAttention, generator: torch.Generator | None, *, zero: bool
) -> None:
    """Draw the weights that an attention itself holds, in place."""
    for _, parameter in attention.named_parameters(recurse=False):
        parameter.zero_()
        if parameter.ndim > 1 and not (zero or parameter.is_meta):
            drawn = draw(tuple(parameter.shape), parameter, generator)
            parameter.copy_(drawn * deviation(parameter[0].numel(), gain=RELU_GAIN))


def _fitted(value: Tensor, shape: torch.Size) -> Tensor:
    """Return a tensor cut, or repeated, to a shape: what is published is for the standard width."""
    for axis, length in enumerate(shape):
        if value.shape[axis] != length:
            value = value.index_select(axis, torch.arange(length) % value.shape[axis])
    return value
