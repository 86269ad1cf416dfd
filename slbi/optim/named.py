"""SLBI whose parameters are known by name, so that twins can be declared name by name."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from torch import Tensor

from slbi.optim.check import check_group
from slbi.optim.optimizer import SLBI, Group
from slbi.optim.shrink import spread

Entry = TypeVar("Entry")


class NamedSLBI(SLBI):
    """SLBI with one group a parameter, in the order given, and a name for each.

    Names come with the parameters, as (name, tensor) pairs, or from `assign_name`. They are matched
    exactly. A learning rate has to be set in every group; torch's schedulers do.
    """

    def add_param_group(self, param_group: Group) -> None:
        """Add a group, split into one a parameter; what it does not set is as at construction."""
        params = param_group["params"]
        for parameter in [params] if isinstance(params, Tensor) else params:
            super().add_param_group(param_group | {"params": [parameter]})

    def assign_name(self, name_list: Sequence[str]) -> None:
        """Name the parameters, in their order.

        Raises:
            ValueError: not one name a parameter, or a name twice; nothing is then named.
        """
        names = listed(name_list)
        if len(names) != len(self.param_groups):
            raise ValueError(
                f"names must be {len(self.param_groups)}, one a parameter, got {len(names)}"
            )
        repeated = [name for index, name in enumerate(names) if name in names[:index]]
        if repeated:
            raise ValueError(f"names must differ, got {repeated[0]!r} twice")
        for name, group in zip(names, self.param_groups, strict=True):
            group["param_names"] = [name]

    def initialize_slbi(self, layer_list: Sequence[str] | None = None) -> None:
        """Give the named weights a twin: by entry for a matrix, by filter for higher ranks.

        A weight that has a twin keeps it, and its Z.

        Args:
            layer_list: names of weights of rank 2 or more; None is none.

        Raises:
            ValueError: an unknown name, or a tensor that can have no twin; nothing is then changed.
        """
        groups = self._by_name()
        twins: dict[str, Group] = {}
        for name in listed(layer_list or ()):
            rank = find(groups, name)["params"][0].ndim
            twin: dict[str, Any] = {"structure": "filter" if rank > 2 else "element"}
            check_group(groups[name] | twin)
            twins[name] = twin
        for name, twin in twins.items():
            groups[name].update(twin)

    def named(self) -> dict[str, Tensor]:
        """Return every parameter by name.

        Raises:
            ValueError: the parameters have no names.
        """
        return {name: group["params"][0] for name, group in self._by_name().items()}

    def twins(self, structure: Literal["filter", "element"] | None = None) -> dict[str, Tensor]:
        """Return the parameters that have a twin, of any structure or of one."""
        return {
            name: group["params"][0]
            for name, group in self._by_name().items()
            if group["structure"] is not None and structure in {None, group["structure"]}
        }

    def twin(self, name: str) -> Tensor:
        """Return the parameter of this name, which has a twin.

        Raises:
            ValueError: there is none, or it has no twin.
        """
        parameter = find(self.named(), name)
        if name not in self.twins():
            raise ValueError(f"{name!r} must have a twin (initialize_slbi), got a plain parameter")
        return parameter

    def mu(self, name: str) -> float:
        """Return the mu of one parameter."""
        mu: float = find(self._by_name(), name)["mu"]
        return mu

    def chosen(self, parameter: Tensor) -> Tensor:
        """Return the support of a parameter as bool that can be broadcast over it."""
        return spread(self.support(parameter), self.structure(parameter), parameter.ndim)

    def _by_name(self) -> dict[str, Group]:
        if any("param_names" not in group for group in self.param_groups):
            raise ValueError("parameters must have names (assign_name), got none")
        return {group["param_names"][0]: group for group in self.param_groups}


def find(known: Mapping[str, Entry], name: str) -> Entry:
    """Return what has exactly this name.

    Raises:
        ValueError: nothing has.
    """
    if name not in known:
        raise ValueError(f"name must be one of {', '.join(known)}, got {name!r}")
    return known[name]


def listed(names: Sequence[str]) -> list[str]:
    """Return names as a list.

    Raises:
        ValueError: a single string, which would be taken letter by letter.
    """
    if isinstance(names, str):
        message = f"names must be a list of names, got the one string {names!r}"
        raise ValueError(message)  # noqa: TRY004 -- one kind for a caller's mistakes
    return list(names)
