"""Lines to the user, on stderr, for whom they are and nobody else."""

from contextlib import suppress

import click

__all__ = ["tell"]


def tell(words: str) -> None:
    """Write a line to stderr.

    That it cannot be written, to a full disk or a pipe whose reader has gone, must neither keep a guest from
    running nor change the exit status, by which a script tells how it ended.
    """
    with suppress(OSError):
        click.echo(words, err=True)
