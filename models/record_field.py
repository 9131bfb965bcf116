"""The fields of records and measurements that a project may do without."""

from enum import StrEnum


class RecordField(StrEnum):
    """What a project can switch off: it is neither asked nor kept there. Which columns that is, the models declare.

    LOCATION is where a record was made, exact or not. DEVICE is on which device. SOURCE_ROW is the row of the file
    that a measurement was imported from, which repeats what the file said: it goes whenever anything else is off.
    """

    SITE_NAME = "SITE_NAME"
    LOCATION = "LOCATION"
    ACTIVITY_TYPE = "ACTIVITY_TYPE"
    METHOD = "METHOD"
    COLLECTOR = "COLLECTOR"
    COMMENT = "COMMENT"
    DEVICE = "DEVICE"
    MEASUREMENT_METHOD = "MEASUREMENT_METHOD"
    MEASUREMENT_COMMENT = "MEASUREMENT_COMMENT"
    SOURCE_ROW = "SOURCE_ROW"
