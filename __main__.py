"""`python -m foretrain` is the same as `simulate`."""

from .cli import main

if __name__ == "__main__":
    main()
