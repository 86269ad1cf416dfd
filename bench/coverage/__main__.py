"""See `command`."""

from bench.coverage.command import main

if __name__ == "__main__":
    raise SystemExit(main())
