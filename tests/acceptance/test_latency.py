"""An answer over a connection that is kept does not wait for the client's acknowledgement of the one before."""

import time

import httpx

from tests.support.server import Server

DELAYED_ACKNOWLEDGEMENT_S = 0.04
"""How long Linux waits before it acknowledges what it has nothing to answer to, at the least."""


def test_answers_over_a_kept_connection_do_not_wait_for_acknowledgements(server: Server) -> None:
    took = []
    with httpx.Client(base_url=server.url) as client:
        for _ in range(20):
            begun = time.perf_counter()
            answer = client.post("/graphql", json={"query": "{ viewer { role } }"})
            took.append(time.perf_counter() - begun)
            assert answer.json() == {"data": {"viewer": None}}

    # The fastest, since a busy machine may make any one slow: with Nagle's algorithm on, none but the first is fast.
    assert min(took[1:]) < DELAYED_ACKNOWLEDGEMENT_S / 2, took
