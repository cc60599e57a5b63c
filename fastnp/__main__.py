"""`python -m fastnp` is the command `fastnp`."""

from .commands.main import main

if __name__ == "__main__":
    main()
