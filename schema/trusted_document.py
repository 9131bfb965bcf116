"""Trusted documents: the operations that clients were built with."""

from datetime import datetime
from typing import Any

import strawberry

from models.order import Order
from models.trusted_document import TrustedDocument as TrustedDocumentModel
from schema.connection import OrderDirection, PageArguments, page_of
from schema.field import column, stands_for
from schema.filter import TextFilter, conditions_of, filters
from schema.node import Node
from schema.viewer_can import ViewerCanRead, viewer_can


@stands_for(TrustedDocumentModel)
@strawberry.type(description="An operation that a client's build registered.")
class TrustedDocument(Node):
    sha256: str | None = column("By what requests name it: the SHA-256 of its text, in hexadecimal digits.")
    text: str | None = column("Its text, as it was registered.")
    client_name: str | None = column("The client that was built with it.")
    client_version: str | None = column("The version of that client.")
    created_at: datetime | None = column("When it was registered.")

    viewer_can: ViewerCanRead = viewer_can(ViewerCanRead)


@filters(TrustedDocumentModel)
@strawberry.input(description="Which trusted documents. All that is given must hold.")
class TrustedDocumentFilter:
    sha256: TextFilter | None = strawberry.field(default=None, description="By the SHA-256 of its text.")
    client_name: TextFilter | None = strawberry.field(default=None, description="By client.")
    client_version: TextFilter | None = strawberry.field(default=None, description="By the client's version.")


async def list_trusted_documents(
    info: strawberry.Info, filter: TrustedDocumentFilter | None, direction: OrderDirection, page: PageArguments
) -> Any:
    """Return a page of the organization's trusted documents, in the order in which they were registered."""
    return await page_of(
        info,
        TrustedDocumentModel,
        page,
        order=Order("created_at", direction is OrderDirection.DESC),
        conditions=await conditions_of(info, filter, TrustedDocumentModel),
    )
