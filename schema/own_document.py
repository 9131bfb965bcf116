"""Documents by which trusted documents are administered: run for everybody who may, whatever else is not run.

Without them, an organization that runs trusted documents alone could not register one, nor change its mind.
"""

from typing import Final

OWN_DOCUMENTS: Final = (
    """\
mutation RegisterTrustedDocuments($input: RegisterTrustedDocumentsInput!) {
  registerTrustedDocuments(input: $input) {
    documentIds
    registered
    errors { code message field }
  }
}
""",
    """\
mutation RemoveTrustedDocuments($input: RemoveTrustedDocumentsInput!) {
  removeTrustedDocuments(input: $input) {
    removed
    errors { code message field }
  }
}
""",
    """\
mutation SetTrustedDocumentPolicy($input: SetTrustedDocumentPolicyInput!) {
  setTrustedDocumentPolicy(input: $input) {
    organization { peopleDocuments programDocuments }
    errors { code message field }
  }
}
""",
    """\
query TrustedDocuments($filter: TrustedDocumentFilter, $after: String) {
  trustedDocuments(filter: $filter, first: 100, after: $after) {
    nodes { id sha256 clientName clientVersion createdAt }
    pageInfo { hasNextPage endCursor }
  }
}
""",
    # What a person's client signs in and out with, and how it proves anew who they are before it changes a policy.
    """\
mutation SignIn($input: SignInInput!) {
  signIn(input: $input) {
    accessToken
    refreshToken
    challenge { token methods passkeyOptions }
    errors { code message field }
  }
}
""",
    """\
mutation Reauthenticate($input: ReauthenticateInput!) {
  reauthenticate(input: $input) { errors { code message field } }
}
""",
    """\
mutation RefreshSession($input: RefreshSessionInput!) {
  refreshSession(input: $input) { accessToken refreshToken errors { code message field } }
}
""",
    """\
mutation SignOut {
  signOut { errors { code message field } }
}
""",
)
