/**
 * Examples to begin with, each of which runs as it is. Whoever can't run one is not offered it: what is offered fits the
 * schema that the viewer is shown. `roles` says who that is where roles are as they come; a test holds each role to it.
 *
 * `fill` asks for what the variables take, and `with` makes them of the answer.
 */

const READERS = ['OWNER', 'ADMIN', 'AUDITOR', 'MANAGER', 'REVIEWER', 'COLLECTOR', 'VIEWER'];
const READERS_OF_NAMES = ['OWNER', 'ADMIN', 'AUDITOR', 'MANAGER', 'REVIEWER', 'COLLECTOR'];
const WRITERS = ['OWNER', 'ADMIN', 'MANAGER', 'COLLECTOR'];
const OVERSEERS = ['OWNER', 'ADMIN', 'AUDITOR'];

export const EXAMPLES = [
  {
    title: 'Who am I, and what may I do?',
    says: 'Your roles, and all that they allow you somewhere.',
    roles: [...READERS, 'MEMBER'],
    query: `query WhoAmI {
  viewer {
    user {
      name
      status
    }
    organization {
      name
    }
    role
    projectRoles {
      role
    }
    permissions
  }
}`,
  },
  {
    title: 'The newest records',
    says: 'With what was measured, and a cursor to go on from.',
    roles: READERS,
    query: `query NewestRecords($after: String) {
  records(orderBy: { field: COLLECTED_AT, direction: DESC }, first: 5, after: $after) {
    totalCount
    nodes {
      id
      siteCode
      collectedAt
      status
      collector
      measurements {
        characteristic
        value
        unit
      }
    }
    pageInfo {
      hasNextPage
      endCursor
    }
  }
}`,
    variables: { after: null },
  },
  {
    title: 'Statistics for a chart',
    says: 'Counted and averaged by the database, month by month.',
    roles: READERS,
    query: `query TemperatureByMonth($characteristic: String!) {
  measurementGroups(
    by: [SITE_CODE, COLLECTED_AT, UNIT]
    bucket: MONTH
    filter: { characteristic: { eq: $characteristic } }
  ) {
    siteCode
    collectedAt
    unit
    count
    valueMin
    valueMedian
    valueMax
  }
}`,
    variables: { characteristic: 'Temperature, water' },
  },
  {
    title: 'What waits for review',
    says: 'Submitted records with their comments, and what you may do with each.',
    roles: READERS_OF_NAMES,
    query: `query WaitingForReview {
  records(filter: { status: { eq: SUBMITTED } }, first: 10) {
    nodes {
      id
      version
      siteCode
      collectedAt
      collector
      comment
      viewerCan {
        approve
        reject
      }
    }
  }
}`,
  },
  {
    title: 'Records of one collector',
    says: 'Found although the name is stored encrypted. The name is not kept in the history.',
    roles: READERS_OF_NAMES,
    query: `query RecordsOfCollector($collector: String!) {
  records(filter: { collector: { eq: $collector } }, first: 10) {
    totalCount
    nodes {
      siteCode
      collectedAt
      collector
      comment
    }
  }
}`,
    variables: { collector: 'Cleo Cole' },
  },
  {
    title: 'How a record came to be',
    says: 'Each version with who, when and how, out of the audit trail.',
    roles: READERS,
    query: `query HistoryOfARecord {
  records(filter: { status: { eq: SUBMITTED } }, first: 1) {
    nodes {
      siteCode
      history(first: 5) {
        nodes {
          version
          at
          action
          changes {
            entity
            operation
            columns {
              column
            }
          }
        }
      }
    }
  }
}`,
  },
  {
    title: 'Make a record',
    says: 'In the first project that you see. Run it twice: an id of your own does no harm twice.',
    roles: WRITERS,
    query: `mutation MakeARecord($input: CreateRecordInput!) {
  createRecord(input: $input) {
    record {
      id
      version
      status
      siteCode
    }
    errors {
      code
      message
      field
    }
  }
}`,
    fill: '{ projects(first: 1) { nodes { id } } }',
    with: (data) => ({
      input: {
        id: newId(),
        projectId: data.projects.nodes[0].id,
        siteCode: 'TRY-01',
        collectedAt: new Date().toISOString(),
        medium: 'WATER',
        comment: 'A try from the query page.',
        measurements: [{ characteristic: 'pH', value: 7.1, unit: 'None' }],
      },
    }),
  },
  {
    title: 'People and their roles',
    says: 'Who belongs to the organization, and what they are in it; at the least, yourself.',
    roles: [...READERS, 'MEMBER'],
    query: `query People {
  users(first: 20) {
    totalCount
    nodes {
      name
      email
      role
      status
      projectRoles {
        role
      }
    }
  }
}`,
  },
  {
    title: 'Programs and their tokens',
    says: 'What service accounts may do, and when they were last seen.',
    roles: OVERSEERS,
    query: `query Programs {
  serviceAccounts(first: 10) {
    nodes {
      name
      permissions
      networks
      expiresAt
      revokedAt
      tokens {
        createdAt
        expiresAt
        lastUse {
          usedAt
        }
      }
    }
  }
}`,
  },
  {
    title: 'What was refused lately',
    says: 'From the audit trail: who tried what, and was not let.',
    roles: OVERSEERS,
    query: `query RefusedLately {
  auditEntries(filter: { outcome: { eq: DENIED } }, first: 10) {
    nodes {
      at
      action
      errorCode
      user {
        name
      }
      clientName
    }
  }
}`,
  },
  {
    title: 'Who read confidential values',
    says: 'The read log: which column, of how many rows, by whom.',
    roles: OVERSEERS,
    query: `query ReadsOfComments {
  auditEntries(filter: { entity: { eq: "record" }, field: { eq: "comment" } }, first: 10) {
    nodes {
      at
      kind
      action
      user {
        name
      }
      entityIds
    }
  }
}`,
  },
  {
    title: 'Incidents',
    says: 'What was found in the trail that somebody should look at.',
    roles: OVERSEERS,
    query: `query Incidents {
  incidents(first: 10) {
    totalCount
    nodes {
      rule
      severity
      status
      count
      lastSeenAt
    }
  }
}`,
  },
  {
    title: 'How data is protected',
    says: 'Each column with its classification, its storage and who reads it.',
    roles: OVERSEERS,
    query: `query DataInventory {
  dataInventory {
    name
    kept
    columns {
      name
      classification
      storage
      permission
      readsAreLogged
    }
  }
}`,
  },
  {
    title: 'Follow what changes',
    says: 'Tells of records and sites as they change, until you stop it. The first page comes at once, and may be empty.',
    roles: READERS,
    query: `subscription FollowWhatChanges {
  changes(types: [RECORD, SITE]) {
    cursor
    accessChanged
    changes {
      kind
      type
      id
      at
      record {
        siteCode
        status
      }
      site {
        code
        name
      }
    }
  }
}`,
  },
];

/** Return a UUIDv7 (RFC 9562): clients may make the ids of what they create. */
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const now = BigInt(Date.now());
  for (let place = 0; place < 6; place += 1) bytes[place] = Number((now >> BigInt(8 * (5 - place))) & 0xffn);
  bytes[6] = (bytes[6] & 0x0f) | 0x70;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((one) => one.toString(16).padStart(2, '0')).join('');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
