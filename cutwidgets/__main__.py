"""The command `cutwidgets`, which is also `python -m cutwidgets`."""

import sys

from .extras import MissingExtraError, needs


def main() -> None:
    """Run the command line, or say what to install for it."""
    try:
        with needs("cli", "The command line"):
            from .cli import main as command
    except MissingExtraError as error:
        print(f"cutwidgets: {error}", file=sys.stderr)
        sys.exit(2)
    command()


if __name__ == "__main__":
    main()
