"""What two processes make of a batch together is what one makes of it alone."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from worker.training.data.parts import WHOLE
from worker.training.epoch import Tally
from worker.training.team import ALONE

PRELUDE = """
import os, sys
import torch
import torch.distributed as dist
from pathlib import Path
from worker.training.data.parts import Share
from worker.training.team import ALONE, Team

torch.set_num_threads(1)
rank, of, home = int(sys.argv[1]), 2, Path(sys.argv[2])
dist.init_process_group("gloo", init_method=f"file://{home}/meeting", rank=rank, world_size=of)
team = Team(share=Share(rank=rank, of=of))
"""


@pytest.fixture
def pair(tmp_path: Path) -> Callable[[str], None]:
    """Runs code in two processes of a team; what they assert must hold in both."""

    def run(code: str) -> None:
        source = f"{PRELUDE}\n{code}\ndist.destroy_process_group()\nos._exit(0)"
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", source, str(rank), str(tmp_path)],
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            for rank in range(2)
        ]
        told = [process.communicate(timeout=120)[1] for process in processes]
        assert [process.returncode for process in processes] == [0, 0], "\n".join(told)

    return run


def test_the_leaders_word_and_the_sum_of_all_reach_everybody(pair: Callable[[str], None]) -> None:
    pair("""
from worker.training.epoch import Tally
assert team.agree(wish=rank == 0) is True
assert team.agree(wish=rank == 1) is False
assert team.told({"rank": rank}) == {"rank": 0}
assert team.total([rank + 1, 0.5]) == [3.0, 1.0]
net = torch.nn.Linear(2, 1)
for number, weight in enumerate(net.parameters()):
    weight.grad = torch.full_like(weight, 10.0 * number + rank)
team.add_gradients(net)
assert [set(w.grad.flatten().tolist()) for w in net.parameters()] == [{1.0}, {21.0}]
tally = Tally(torch.device("cpu"))
tally.loss += 1.5 + rank
tally.right += 2
tally.count += 4
assert (tally.outcome(team).loss, tally.outcome(team).accuracy) == (0.5, 0.5)
tally.gather(team)
assert (tally.loss.item(), tally.count) == ((4.0, 8) if rank == 0 else (0.0, 0))
assert tally.outcome(team).accuracy == 0.5
""")


@pytest.mark.parametrize(("backbone", "size"), [("resnet20", 8), ("vgg11", 8), ("resnet18", 32)])
def test_steps_of_two_with_norms_are_those_of_one_with_the_whole_batch(
    pair: Callable[[str], None], backbone: str, size: int
) -> None:
    pair(f"""
import torch.nn.functional as F
from slbi import SLBI
from slbi.nets.widths import Widths
from worker.training import backbones
from worker.training.data.formats import read_digits

digits = read_digits("train")
pixels = F.interpolate(digits.images.double(), ({size}, {size}))
groups = backbones.groups("{backbone}", {size})

def trained(team, seed):
    draw = torch.Generator().manual_seed(seed)
    net = backbones.build("{backbone}", Widths(dict.fromkeys(groups, 8)), in_channels=1,
                          size={size}, classes=10, generator=draw).double().train()
    convs = [weight for weight in net.parameters() if weight.ndim == 4]
    rest = [weight for weight in net.parameters() if weight.ndim != 4]
    optimizer = SLBI([{{"params": convs, "structure": "filter"}}, {{"params": rest}}],
                     lr=0.05, mu=0.3)
    with team.training(net):
        for first in range(0, 5 * 127, 127):
            rows = torch.arange(first, first + 127)[team.share.of_batch(127)]
            optimizer.zero_grad()
            logits = net(pixels[rows] / 16 - 0.3)
            (F.cross_entropy(logits, digits.labels[rows]) * len(rows) / 127).backward()
            team.add_gradients(net)
            optimizer.step()
    return net, torch.cat([optimizer.gamma(weight).flatten() for weight in convs])

alone, gamma = trained(ALONE, 0)
together, ours = trained(team, rank)  # each begins from other weights: the leader's count
assert int((gamma != 0).sum()) > 0
torch.testing.assert_close(ours, gamma, rtol=0, atol=1e-10)
for name, tensor in alone.state_dict().items():
    torch.testing.assert_close(together.state_dict()[name], tensor, rtol=0, atol=1e-10)
assert {{type(module).__name__ for module in together.modules()}} == {{
    type(module).__name__ for module in alone.modules()}}
both = [torch.empty_like(ours) for _ in range(2)]
dist.all_gather(both, ours)
assert torch.equal(both[0], both[1])
""")


def test_a_process_alone_is_its_own_team() -> None:
    net = torch.nn.BatchNorm2d(2)
    assert ALONE.share == WHOLE
    assert ALONE.alone
    assert ALONE.leads
    assert ALONE.agree(wish=True)
    assert ALONE.told("word") == "word"
    assert ALONE.total([1.5, 2]) == [1.5, 2.0]
    with ALONE.training(net):
        assert type(net) is torch.nn.BatchNorm2d
    tally = Tally(torch.device("cpu"))
    tally.gather(ALONE)
    assert tally.count == 0
