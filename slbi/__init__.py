"""Networks that grow to fit their data: the method, on torch and nothing else of this project."""

from slbi.course.family import Grown, Member
from slbi.course.grow import grow
from slbi.course.settings import Growth
from slbi.growth.narrow import narrow, start_widths
from slbi.growth.stages import Target
from slbi.growth.widen import widen
from slbi.nets.count import count
from slbi.nets.graph.find import Found, find
from slbi.nets.graph.resize import rebuilt
from slbi.nets.widths import Widths
from slbi.optim.optimizer import SLBI
from slbi.pruning.mask import masked
from slbi.pruning.slice import Sliced, slice_filters

__all__ = [
    "SLBI",
    "Found",
    "Grown",
    "Growth",
    "Member",
    "Sliced",
    "Target",
    "Widths",
    "count",
    "find",
    "grow",
    "masked",
    "narrow",
    "rebuilt",
    "slice_filters",
    "start_widths",
    "widen",
]
