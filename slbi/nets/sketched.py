"""A backbone that declares its layers one by one."""

from abc import abstractmethod

from slbi.nets.backbone import Backbone
from slbi.nets.sketch import LayerSketch, Outline, outlined


class Sketched(Backbone):
    """A network of this project. See `Backbone`."""

    @abstractmethod
    def sketch(self) -> tuple[LayerSketch, ...]:
        """Return the outline of every layer; it depends neither on the widths nor on the size."""

    def outline(self) -> Outline:
        """Return what its layers cost, at any widths and size."""
        return outlined(self.sketch())
