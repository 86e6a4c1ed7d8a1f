"""Entry point of the script ``impasto``, which loads the command line."""

__all__ = ["command"]


def command() -> None:
    """Load the command line and run it. Ctrl-C while it is loaded ends it quietly."""
    try:
        from impasto.cli.app import command as run
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    run()
