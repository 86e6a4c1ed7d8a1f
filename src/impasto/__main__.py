"""``python -m impasto``: the command line, where the script ``impasto`` is not on the path."""

from impasto.cli.start import command

if __name__ == "__main__":
    command()
