"""What keeps the service from starting: apart from what finds it, so that a command may name it without the schema."""


class SchemaError(Exception):
    """The schema contradicts itself or leaves something unguarded. The service does not start."""
