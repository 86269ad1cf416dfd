"""`python -m bench.health`: see `bench.health.command`."""

from bench.health.command import main

if __name__ == "__main__":
    raise SystemExit(main())
