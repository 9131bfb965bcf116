/** Every operation that this page sends by itself. A test holds each of them to the schema. */

export const VIEWER = /* GraphQL */ `
  query Viewer {
    viewer {
      user { id name }
      organization { name }
      runsAs: can(permission: ACCESS_RUN_AS)
    }
  }
`;

export const SIGN_IN = /* GraphQL */ `
  mutation SignIn($input: SignInInput!) {
    signIn(input: $input) { challenge { token } errors { code message field } }
  }
`;

export const SIGN_OUT = /* GraphQL */ `
  mutation SignOut {
    signOut { errors { code message field } }
  }
`;

export const BUILT_IN_ROLES = /* GraphQL */ `
  query Roles {
    organization: __type(name: "OrganizationRole") { enumValues { name } }
    project: __type(name: "ProjectRole") { enumValues { name } }
  }
`;

export const PROJECTS = /* GraphQL */ `
  query Projects($after: String) {
    projects(first: 100, after: $after) { nodes { id code name } pageInfo { hasNextPage endCursor } }
  }
`;

export const OWN_ROLES = /* GraphQL */ `
  query OwnRoles($after: String) {
    roles(first: 100, after: $after) { nodes { id name level } pageInfo { hasNextPage endCursor } }
  }
`;

export const PEOPLE = /* GraphQL */ `
  query People($after: String) {
    users(first: 100, after: $after) { nodes { id name role status } pageInfo { hasNextPage endCursor } }
  }
`;
