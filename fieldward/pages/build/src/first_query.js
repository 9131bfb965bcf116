/** What the editor shows first. Change it here; nothing else knows its text. */
export const FIRST_QUERY = `# Run this with the button beside it, or press
# Ctrl-Enter (Cmd-Enter on a Mac).
#
# It shows who you are here, and the first records
# of your projects. What your role may not read is
# null, with an error that says FORBIDDEN.

query FirstLook {
  viewer {
    user {
      name
    }
    role
    organization {
      name
    }
  }
  projects(first: 5) {
    nodes {
      code
      name
      status
      records(first: 3) {
        nodes {
          siteCode
          collectedAt
          status
          comment
          measurements {
            characteristic
            value
            unit
          }
        }
      }
    }
  }
}
`;
