"""Networks built without the memory of their layers."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

NetT = TypeVar("NetT", bound=nn.Module)


class _Hollow(TorchFunctionMode):
    """Gives what torch's layers allocate no data.

    Source: torch.nn, whose layers alone hand `torch.empty` a device, None as a rule.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 -- whatever the function returns
        given = dict(kwargs or {})
        if func is torch.empty and "device" in given and given["device"] is None:
            given["device"] = "meta"
        return func(*args, **given)


def hollow(make: Callable[[], NetT], *, seed: int = 0) -> NetT:
    """Return a network whose layers have shapes only.

    What else it holds is there and has its values: tables of indices, embeddings, scales. Unlike
    under `torch.device("meta")`, code that computes with numbers works.

    Args:
        make: builds it.
        seed: of what is drawn for such values; torch's own generator is left as it was.
    """
    with torch.random.fork_rng(devices=[]), torch.device("cpu"), _Hollow():
        torch.default_generator.manual_seed(seed)
        return make()
