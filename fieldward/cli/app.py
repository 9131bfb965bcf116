"""The command line: `fieldward --help`."""

import gc
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Final

import typer
from asyncpg import PostgresError, UndefinedColumnError, UndefinedTableError
from tortoise.exceptions import IntegrityError, OperationalError

from auth.errors import Code, FieldwardError
from fieldward.cli.environment import refuse
from fieldward.core_dumps import forbid_core_dumps
from fieldward.database import DatabaseUrlError
from fieldward.logs import places
from models.encryption.provider import WrappingKeyError
from models.inventory import InventoryError
from models.outside.s3_place import PlaceError
from schema.schema_error import SchemaError

EXAMPLES = """
Guarded, encrypted, audited environmental field data over GraphQL.

Examples:

  fieldward demo

  fieldward migrate && fieldward serve

  fieldward organization create acme "Acme Water" --owner-email ada@acme.example --owner-name Ada

  fieldward import wqx-csv results.csv --organization acme --project WELLS --as ada@acme.example

  fieldward export organization --organization acme --as ada@acme.example --out acme.zip

  fieldward import archive acme.zip --organization acme-again

  fieldward keys rotate

  fieldward check --deploy

  fieldward audit verify --head kept.txt

  fieldward audit expire --dry-run

  fieldward evidence collect --organization acme --out evidence.zip

  fieldward backup create && fieldward backup prune

  fieldward restore --from /mnt/backup --latest --into restored --keys .fieldward --reason "The disk failed"

  fieldward retention run --dry-run

  fieldward access explain --organization acme --as ada@acme.example --principal bo@acme.example --on Record:…
  --field comment

Exit codes: 0 done; 1 refused or failed; 2 wrong usage; 3 some of an import's rows were rejected; 4 access
explain: denied; 5 a stored value does not open; 6 not all of the audit trail could be sealed; 7 the audit trail, or a
row, is not what was sealed; 8 a backup is damaged or not all there; 9 check --deploy: something that is HIGH or keeps
production from starting; 130 and 143 interrupted.
"""

COMMANDS: Final[Mapping[str, str]] = {
    "serve": "serving:serve",
    "migrate": "serving:migrate_command",
    "demo": "demo:demo",
    "check": "checking:check",
    "schema": "inventory:schema",
    "inventory": "inventory:inventory",
    "errors": "error_page:errors",
    "measures": "measure_page:measures",
    "roles": "access:roles",
    "access": "access:access_app",
    "import": "importing:app",
    "export": "exporting:app",
    "audit": "auditing:app",
    "keys": "keys:app",
    "erase": "erasing:app",
    "evidence": "evidence:app",
    "backup": "backing:app",
    "restore": "restoring:restore",
    "verify-restore": "restoring:verify_restore",
    "retention": "retaining:app",
    "incidents": "incidents:app",
    "alarms": "incidents:alarms_app",
    "organization": "people:organization_app",
    "user": "people:user_app",
}
"""Each command, or group of commands, by its name: the module of this package, and what of it."""


def application(*only: str) -> typer.Typer:
    """Return the command line: all of it, or that of the commands named.

    A command's module is imported with it. Half of the commands do without the schema, whose import takes longer than
    most of them.
    """
    app = typer.Typer(
        help=EXAMPLES, no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
    )
    # With a callback it is a group of commands even where there is one.
    app.callback()(lambda: None)
    for name in only or COMMANDS:
        module, _, attribute = COMMANDS[name].partition(":")
        command = getattr(import_module(f"fieldward.cli.{module}"), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def run() -> None:
    """Run the command; say in one line what was wrong where something was.

    What nobody expected is said by its type and place. Its text, and the variables that a hook for such errors would
    collect on its way out of the process, may hold what was typed, read or opened.
    """
    forbid_core_dumps()
    try:
        app = application(*(word for word in sys.argv[1:2] if word in COMMANDS))
        # `fieldward/__main__.py` has it off while modules are imported.
        gc.enable()
        app(prog_name="fieldward")
    except FieldwardError as error:
        field = ".".join(str(part) for part in error.field if part != "input")
        message = f"{field}: {error.message}" if field else error.message
        refuse(message, code=2 if error.code is Code.INVALID_INPUT else 1)
    except DatabaseUrlError as error:
        refuse(str(error))
    except (WrappingKeyError, PlaceError, SchemaError, InventoryError) as error:
        refuse(str(error), code=1)
    except IntegrityError:
        refuse("the database did not take what was to be written: see its log, and whether its triggers are on", code=1)
    except (OperationalError, UndefinedTableError, UndefinedColumnError):
        refuse("the database's schema is not the one of this version: run `fieldward migrate`", code=1)
    except (OSError, PostgresError) as error:
        if isinstance(error, OSError) and isinstance(error.filename, str):
            refuse(f"{error.filename}: {error.strerror}", code=1)
        # A database that is away, or does not let us in. Its text may hold what we sent; its kind is enough.
        refuse(f"the database can't be reached ({type(error).__name__}); see its log", code=1)
    except ImportError as error:
        refuse(f"{error.name or 'a package'} can't be imported: are the locked requirements installed?", code=1)
    except Exception as error:
        kind = type(error)
        at = "; ".join(places(error.__traceback__))
        refuse(f"something went wrong: {kind.__module__}.{kind.__qualname__}, raised at {at}", code=1)
