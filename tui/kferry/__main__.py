"""`python -m kferry` is the command kferry."""

from kferry.cli.main import run

if __name__ == "__main__":
    run()
