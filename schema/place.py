"""Places, as they are shown."""

import strawberry

from schema.field import derived, structure


@structure
@strawberry.type(description="A place, WGS 84. One of the two may not be known.")
class Point:
    latitude: float | None = strawberry.field(description="Degrees north.", metadata=derived())
    longitude: float | None = strawberry.field(description="Degrees east.", metadata=derived())
