"""`python -m supply`."""

from supply.cli import app

if __name__ == "__main__":
    app(prog_name="supply")
