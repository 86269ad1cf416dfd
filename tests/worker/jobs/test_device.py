from pathlib import Path

from worker.jobs.device import describe


def test_without_a_driver_a_worker_trains_on_the_cpu(tmp_path: Path) -> None:
    assert describe(tmp_path / "absent") == "cpu"


def test_every_device_of_the_driver_is_named(tmp_path: Path) -> None:
    for number, model in enumerate(("NVIDIA H200", "NVIDIA L4")):
        folder = tmp_path / f"0000:0{number}:00.0"
        folder.mkdir()
        (folder / "information").write_text(f"Model: \t\t {model}\nIRQ:   \t\t 0\n")
    assert describe(tmp_path) == "NVIDIA H200, NVIDIA L4"
