"""Networks that grow to fit their data: the method, on torch and nothing else of this project."""

from slbi.optim.optimizer import SLBI

__all__ = ["SLBI"]
