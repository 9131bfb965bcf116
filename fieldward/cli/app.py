"""The command line: `fieldward --help`."""

import typer
from asyncpg import PostgresError, UndefinedColumnError, UndefinedTableError
from tortoise.exceptions import IntegrityError, OperationalError

from auth.errors import Code, FieldwardError
from fieldward.cli import (
    access,
    audit_expire,
    audit_export,
    audit_verify,
    auditing,
    backing,
    checking,
    demo,
    erasing,
    error_page,
    evidence,
    exporting,
    importing,
    incidents,
    inventory,
    keys,
    measure_page,
    people,
    restoring,
    retaining,
    serving,
)
from fieldward.cli.environment import refuse
from fieldward.core_dumps import forbid_core_dumps
from fieldward.database import DatabaseUrlError
from fieldward.logs import places
from models.encryption.provider import WrappingKeyError
from models.inventory import InventoryError
from models.outside.s3_place import PlaceError
from schema.wiring import SchemaError

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

app = typer.Typer(
    help=EXAMPLES, no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
)
app.command("serve")(serving.serve)
app.command("migrate")(serving.migrate_command)
app.command("demo")(demo.demo)
app.command("check")(checking.check)
app.command("schema")(inventory.schema)
app.command("inventory")(inventory.inventory)
app.command("errors")(error_page.errors)
app.command("measures")(measure_page.measures)
app.command("roles")(access.roles)
app.add_typer(access.access_app, name="access")
app.add_typer(importing.app, name="import")
app.add_typer(exporting.app, name="export")
app.add_typer(auditing.app, name="audit")
auditing.app.command("verify")(audit_verify.verify)
auditing.app.command("export")(audit_export.export)
app.add_typer(keys.app, name="keys")
auditing.app.command("expire")(audit_expire.expire)
app.add_typer(erasing.app, name="erase")
app.add_typer(evidence.app, name="evidence")
app.add_typer(backing.app, name="backup")
app.command("restore")(restoring.restore)
app.command("verify-restore")(restoring.verify_restore)
app.add_typer(retaining.app, name="retention")
app.add_typer(incidents.app, name="incidents")
app.add_typer(incidents.alarms_app, name="alarms")
app.add_typer(people.organization_app, name="organization")
app.add_typer(people.user_app, name="user")


def run() -> None:
    """Run the command; say in one line what was wrong where something was.

    What nobody expected is said by its type and place. Its text, and the variables that a hook for such errors would
    collect on its way out of the process, may hold what was typed, read or opened.
    """
    forbid_core_dumps()
    try:
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
    except Exception as error:
        kind = type(error)
        at = "; ".join(places(error.__traceback__))
        refuse(f"something went wrong: {kind.__module__}.{kind.__qualname__}, raised at {at}", code=1)
