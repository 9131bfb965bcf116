/** Every operation that this page sends. A test holds each of them to the schema. */

export const VIEWER = /* GraphQL */ `
  query AccountViewer {
    viewer {
      mustAddSecondFactor
      user { id name }
      organization { name }
      authenticators { id kind name lastUsedAt }
      recoveryCodesLeft
      session { id }
      sessions(first: 100) { nodes { id name createdAt lastSeenAt factors } }
    }
  }
`;

export const CONFIRM_ERASURE = /* GraphQL */ `
  mutation AccountConfirmErasure($input: ConfirmErasureByLinkInput!) {
    confirmErasureByLink(input: $input) { executeAfter errors { code message field } }
  }
`;

export const SIGN_IN = /* GraphQL */ `
  mutation AccountSignIn($input: SignInInput!) {
    signIn(input: $input) {
      accessToken
      accessTokenExpiresAt
      refreshToken
      challenge { token methods passkeyOptions }
      errors { code message field }
    }
  }
`;

export const COMPLETE_SIGN_IN = /* GraphQL */ `
  mutation AccountCompleteSignIn($input: CompleteSignInInput!) {
    completeSignIn(input: $input) {
      accessToken
      accessTokenExpiresAt
      refreshToken
      errors { code message field }
    }
  }
`;

export const BEGIN_PASSKEY_SIGN_IN = /* GraphQL */ `
  mutation AccountBeginPasskeySignIn {
    beginPasskeySignIn { token options errors { code message field } }
  }
`;

export const SIGN_IN_WITH_PASSKEY = /* GraphQL */ `
  mutation AccountSignInWithPasskey($input: SignInWithPasskeyInput!) {
    signInWithPasskey(input: $input) { errors { code message field } }
  }
`;

export const REFRESH_SESSION = /* GraphQL */ `
  mutation AccountRefreshSession($input: RefreshSessionInput!) {
    refreshSession(input: $input) {
      accessToken
      accessTokenExpiresAt
      refreshToken
      errors { code message field }
    }
  }
`;

export const SIGN_OUT = /* GraphQL */ `
  mutation AccountSignOut { signOut { errors { code message field } } }
`;

export const BEGIN_PASSKEY_PROOF = /* GraphQL */ `
  mutation AccountBeginPasskeyProof {
    beginPasskeyProof { token options errors { code message field } }
  }
`;

export const REAUTHENTICATE = /* GraphQL */ `
  mutation AccountReauthenticate($input: ReauthenticateInput!) {
    reauthenticate(input: $input) { errors { code message field } }
  }
`;

export const BEGIN_TOTP = /* GraphQL */ `
  mutation AccountBeginTotp {
    beginTotp { authenticatorId secret uri qr errors { code message field } }
  }
`;

export const CONFIRM_TOTP = /* GraphQL */ `
  mutation AccountConfirmTotp($input: ConfirmTotpInput!) {
    confirmTotp(input: $input) { recoveryCodes errors { code message field } }
  }
`;

export const RENEW_RECOVERY_CODES = /* GraphQL */ `
  mutation AccountRenewRecoveryCodes {
    renewRecoveryCodes { recoveryCodes errors { code message field } }
  }
`;

export const BEGIN_PASSKEY_REGISTRATION = /* GraphQL */ `
  mutation AccountBeginPasskeyRegistration {
    beginPasskeyRegistration { token options errors { code message field } }
  }
`;

export const REGISTER_PASSKEY = /* GraphQL */ `
  mutation AccountRegisterPasskey($input: RegisterPasskeyInput!) {
    registerPasskey(input: $input) { recoveryCodes errors { code message field } }
  }
`;

export const REMOVE_AUTHENTICATOR = /* GraphQL */ `
  mutation AccountRemoveAuthenticator($input: RemoveAuthenticatorInput!) {
    removeAuthenticator(input: $input) { errors { code message field } }
  }
`;

export const RENAME_SESSION = /* GraphQL */ `
  mutation AccountRenameSession($input: RenameSessionInput!) {
    renameSession(input: $input) { errors { code message field } }
  }
`;

export const REVOKE_SESSION = /* GraphQL */ `
  mutation AccountRevokeSession($input: RevokeSessionInput!) {
    revokeSession(input: $input) { errors { code message field } }
  }
`;

export const REVOKE_OTHER_SESSIONS = /* GraphQL */ `
  mutation AccountRevokeOtherSessions {
    revokeOtherSessions { errors { code message field } }
  }
`;

export const CHANGE_PASSWORD = /* GraphQL */ `
  mutation AccountChangePassword($input: ChangePasswordInput!) {
    changePassword(input: $input) { errors { code message field } }
  }
`;

export const REQUEST_PASSWORD_RESET = /* GraphQL */ `
  mutation AccountRequestPasswordReset($input: RequestPasswordResetInput!) {
    requestPasswordReset(input: $input) { errors { code message field } }
  }
`;

export const RESET_PASSWORD = /* GraphQL */ `
  mutation AccountResetPassword($input: ResetPasswordInput!) {
    resetPassword(input: $input) { errors { code message field } }
  }
`;

export const ACCEPT_INVITATION = /* GraphQL */ `
  mutation AccountAcceptInvitation($input: AcceptInvitationInput!) {
    acceptInvitation(input: $input) { organization errors { code message field } }
  }
`;

export const ENROL_DEVICE = /* GraphQL */ `
  mutation AccountEnrolDevice($input: EnrolDeviceInput!) {
    enrolDevice(input: $input) { deviceId errors { code message field } }
  }
`;
