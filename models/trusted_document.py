"""Trusted documents: the operations that an organization's clients were built with."""

from tortoise import fields

from auth.classification import Classification as C
from auth.permission import Permission
from models.base import Kept, Placement, TenantModel, ward

LONGEST_DOCUMENT = 64 * 1024
"""Characters of a document. Values belong into variables."""


class TrustedDocument(TenantModel):
    """One document of one build of a client. Several builds may hold the same text.

    sha256: of the text in UTF-8, as 64 hexadecimal digits in lower case; by it a request names the document.
    """

    noun = "trusted_document"
    kept = Kept(
        "Until the build that it is of is removed; the trail keeps what it was.",
        deleted_by=(Permission.TRUSTED_DOCUMENT_REMOVE,),
    )
    placement = Placement()

    sha256 = ward(C.INTERNAL, fields.CharField(max_length=64))
    text = ward(C.INTERNAL, fields.CharField(max_length=LONGEST_DOCUMENT))
    client_name = ward(C.INTERNAL, fields.CharField(max_length=100))
    client_version = ward(C.INTERNAL, fields.CharField(max_length=100))

    class Meta:
        table = "trusted_document"
