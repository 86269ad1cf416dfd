"""`python -m bench.family`: see `bench.family.command`."""

from bench.family.command import main

if __name__ == "__main__":
    raise SystemExit(main())
