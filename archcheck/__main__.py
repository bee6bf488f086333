"""`python -m archcheck` is `archcheck`."""

from archcheck.frontends.launch import main

if __name__ == "__main__":
    main()
