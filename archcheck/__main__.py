"""`python -m archcheck` is `archcheck`."""

from archcheck.frontends.cli import main

if __name__ == "__main__":
    main()
