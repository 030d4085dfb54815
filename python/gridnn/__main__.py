"""Lets ``python -m gridnn`` run the command line."""

from gridnn.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
