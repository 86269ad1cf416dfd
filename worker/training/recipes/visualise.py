"""The recipe `visualise`: pictures of a finished network, and of how it came about."""

from worker.training.plans import VisualiseConfig
from worker.training.recipes.conduct import Surroundings
from worker.training.recipes.result import Result


def visualise(config: VisualiseConfig, around: Surroundings) -> Result:
    """Make the pictures."""
    raise NotImplementedError
