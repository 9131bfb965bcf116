"""`python -m drills`."""

from drills.cli import app

app(prog_name="python -m drills")
