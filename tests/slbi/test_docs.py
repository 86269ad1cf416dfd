import re
from pathlib import Path

import pytest
import torch

PAGE = Path(__file__).parents[2] / "docs" / "toolbox.md"


def test_the_page_on_networks_of_ones_own_is_a_program_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    # torch.fx wants the source of a class, so the program is a file.
    Path("page.py").write_text("\n".join(blocks), encoding="utf-8")
    program: dict[str, object] = {"__name__": "page"}
    exec(compile(Path("page.py").read_text(encoding="utf-8"), "page.py", "exec"), program)  # noqa: S102
    printed = capsys.readouterr().out
    assert "{'stem.0': 32}" in printed
    assert "support, tuned" in printed or "tuned {" in printed
    assert "tuned target 2 of 2: max_macs " in printed
    assert "all 2 targets are served" in printed
    assert type(program["again"]).__name__ == "Net"
