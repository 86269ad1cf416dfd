"""What a run remembers of its own past: earlier weights, an earlier support."""

from torch import Tensor

from worker.training.recipes.run import Run, Support


def remember(run: Run, name: str) -> None:
    """Keep all weights and buffers of the network as they are, in the run's memory."""
    for tensor_name, tensor in run.net.state_dict().items():
        run.memory[f"{name}/{tensor_name}"] = tensor.detach().clone()


def remembered(run: Run, name: str) -> dict[str, Tensor]:
    """Return what `remember` kept under a name, in any order; nothing if it never did."""
    start = f"{name}/"
    return {
        key.removeprefix(start): tensor
        for key, tensor in run.memory.items()
        if key.startswith(start)
    }


def recall(run: Run, name: str) -> None:
    """Give the network the weights and buffers that `remember` kept, in place."""
    run.net.load_state_dict(remembered(run, name))


def remember_support(run: Run, support: Support, name: str = "support") -> None:
    """Keep the support of every layer in the run's memory."""
    for layer, selected in support.items():
        run.memory[f"{name}/{layer}"] = selected.clone()


def recall_support(run: Run, name: str = "support") -> Support:
    """Return the support that `remember_support` kept."""
    return remembered(run, name)
