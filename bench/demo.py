"""The project in a minute and a half: `make demo`.

Starts the service in .slbi, grows a small VGG on digits, and shows what came of it.
"""

import subprocess
import sys
import time
from pathlib import Path

from bench.service import served
from service.client.client import Client
from service.contract import JobState

HOME = Path(".slbi/demo")
SPEC = ("digits", "vgg11")


def main() -> int:
    """Run the demo and return its exit code."""
    began = time.monotonic()
    print(f"Starting the service in {HOME} ...", flush=True)
    with served(HOME) as address:
        print(f"It answers at {address}. Growing a network:", flush=True)
        _slbi(address, "submit", *SPEC, "--watch")
        with Client(address) as client:
            job = next(client.jobs())
        if job["state"] != JobState.SUCCEEDED:
            return 1
        print("\nThe family, simple to complex:", flush=True)
        _slbi(address, "models", job["id"])
        print("\nThe path, a column an epoch:", flush=True)
        _slbi(address, "path", job["id"])
        print("\nThe best of at most 100 k multiply-accumulates:", flush=True)
        output = HOME / "small.safetensors"
        _slbi(address, "pull", job["id"], "--max-macs", "100000", "-o", str(output))
    print(f"\nAll checkpoints lie in {HOME / 'artifacts' / job['id']}.")
    print(f"Took {time.monotonic() - began:.0f} s. The service is stopped; `make serve` starts it.")
    return 0


def _slbi(address: str, *arguments: str) -> None:
    """Run the command as people do, on this terminal; it says itself what went wrong."""
    command = [sys.executable, "-m", "service.cli.main", *arguments, "--server", address]
    subprocess.run(command, check=False)


if __name__ == "__main__":
    sys.exit(main())
