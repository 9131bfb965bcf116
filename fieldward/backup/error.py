"""What goes wrong with backups, said for a person."""


class BackupError(Exception):
    """A backup can't be made, deleted or restored. The message says why, and what to do."""


class DamagedBackupError(BackupError):
    """A backup, or the WAL that belongs to it, is damaged or not all there."""
