"""Fieldward, run by somebody who reports errors with all that a tool for it collects; reports are kept in a file.

    python -m tests.support.error_reporting reports.txt serve

The tool finds its own ways into the libraries that it knows, and takes variables of functions and bodies of requests.
"""

import os
import sys
import warnings
from pathlib import Path

import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

CONTROL = "FIELDWARD_TEST_CONTROL"
"""The environment's variable with a word that is reported at the start: as a variable of a function that failed."""


class Kept(Transport):
    """Writes reports into the file, at once."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def capture_envelope(self, envelope: Envelope) -> None:
        """Add a report."""
        with self._path.open("ab") as file:
            envelope.serialize_into(file)
            file.write(b"\n")


def report_errors(path: Path) -> None:
    """Have everything reported that is not handled, and everything that is logged as an error."""
    sentry_sdk.init(
        dsn="https://nobody@localhost.invalid/1",
        transport=Kept(path),
        include_local_variables=True,
        max_request_body_size="always",
        max_value_length=100_000,
        send_default_pii=False,
        traces_sample_rate=1.0,
        enable_logs=True,
    )


def _fail(control: str) -> None:
    raise RuntimeError(f"Reported to see that it is: with {len(control)} letters.")


def main() -> None:
    """Report one error of the server's, then hand over to the command line. A command has nothing to report."""
    report_errors(Path(sys.argv.pop(1)))
    control = os.environ.pop(CONTROL, "")
    if sys.argv[1] == "serve":
        try:
            _fail(control)
        except RuntimeError:
            sentry_sdk.capture_exception()
    from fieldward.cli.app import run

    # The tool guesses how the schema is run, and says so.
    warnings.filterwarnings("ignore", message="Assuming strawberry is running sync")
    run()


if __name__ == "__main__":
    main()
