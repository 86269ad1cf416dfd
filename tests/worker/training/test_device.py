from itertools import pairwise

import pytest
import torch
from torch import nn

from worker.training.config import ComputeConfig
from worker.training.device import Compute, convolutions, generator, out_of_memory, resolve, threads

CPU = Compute(device=torch.device("cpu"), precision="float32")


def test_the_cpu_computes_in_float32_unless_asked_otherwise() -> None:
    assert resolve(ComputeConfig(device="cpu")) == CPU
    assert resolve(ComputeConfig(device="cpu", precision="bfloat16")).precision == "bfloat16"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_is_refused_where_there_is_none() -> None:
    with pytest.raises(ValueError, match="where there is no CUDA device"):
        resolve(ComputeConfig(device="cuda"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_cuda_computes_in_bfloat16_with_channels_last() -> None:
    compute = resolve(ComputeConfig())
    images = compute.arrange(torch.zeros(2, 3, 4, 4, device=compute.device))
    net = nn.Conv2d(3, 8, 3)
    compute.place(net)
    with compute.autocast():
        assert net(images).dtype == torch.bfloat16
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert net.weight.is_contiguous(memory_format=torch.channels_last)


def test_bfloat16_autocast_runs_the_forward_pass_in_bfloat16() -> None:
    compute = Compute(device=torch.device("cpu"), precision="bfloat16")
    with compute.autocast():
        assert nn.Linear(2, 2)(torch.zeros(1, 2)).dtype == torch.bfloat16


def test_threads_are_set_inside_and_given_back() -> None:
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_every_purpose_and_seed_has_random_numbers_of_its_own() -> None:
    def first(seed: int, purpose: str) -> int:
        return int(torch.randint(2**60, (), generator=generator(seed, purpose)))  # type: ignore[arg-type] # parametrised

    drawn = {(seed, name): first(seed, name) for seed in (0, 1) for name in ("weights", "order")}
    assert len(set(drawn.values())) == 4
    assert first(0, "weights") == drawn[0, "weights"]


@pytest.mark.parametrize(
    ("widths", "safe"),
    [((1, 7), False), ((1, 8), True), ((3, 4), True), ((1, 8, 1, 8), True), ((3, 1, 5), False)],
)
def test_one_dnn_is_left_out_where_few_filters_read_one_channel(
    widths: tuple[int, ...], safe: bool
) -> None:
    net = nn.Sequential(*(nn.Conv2d(reads, makes, 3) for reads, makes in pairwise(widths)))
    before = torch.backends.mkldnn.enabled
    with convolutions(net, CPU):
        assert torch.backends.mkldnn.enabled == (before and safe)
    assert torch.backends.mkldnn.enabled == before


def test_lack_of_memory_is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as lack:
        torch.empty(2**50, dtype=torch.uint8)
    assert out_of_memory(lack.value)
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert out_of_memory(MemoryError())
    with pytest.raises(RuntimeError) as other:
        torch.zeros(2) @ torch.zeros(3)
    assert not out_of_memory(other.value)
