"""`python -m fastnp` is the command `fastnp`."""

from .cli import main

if __name__ == "__main__":
    main()
