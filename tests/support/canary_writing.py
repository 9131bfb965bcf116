"""All that can be written, with canaries: every mutation of the schema, done and failing; requests that are none."""

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import httpx
from graphql import is_required_input_field

from models.base import new_id
from tests.support.canary import Canaries
from tests.support.canary_input import (
    PASSWORD,
    Input,
    leaves,
    literal_of,
    of_nothing,
    planting,
    replaced,
    too_long,
    with_canaries,
    wrongly_typed,
)
from tests.support.served import Caller, Reply
from tests.sweep.contract import Contract
from tests.sweep.stage import FIRST, Cast
from tests.sweep.writing import DONE_ELSEWHERE, SESSION, Ground, complete, input_of, signed

BY_ANOTHER: Final = frozenset({"approveRecord", "rejectRecord"})
"""What is done to a record that somebody else made."""


@dataclass
class Writing:
    """Runs mutations with canaries. `owner` may do everything, and `watcher` nothing of it.

    kept: the canaries that were stored, since what they were given to was done. counts: what was run, by kind.
    """

    canaries: Canaries
    contract: Contract
    cast: Cast
    owner: Caller
    second: Caller
    watcher: Caller
    anonymous: Caller
    version_of: Callable[[str], int]
    kept: set[str] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)

    def everything(self) -> None:
        """Run each mutation that takes an input, in every way."""
        for mutation in self.contract.mutation:
            if mutation not in SESSION | DONE_ELSEWHERE:
                self._all_of(mutation)
        # What is imported after this keeps the rows that it came from.
        back = {**self._filled("setProjectFields", "put back"), "fieldsOff": []}
        reply = self._mutate(self.owner, "setProjectFields", back, None)
        assert not _failed(reply, "setProjectFields"), reply.text

    def _all_of(self, mutation: str) -> None:
        kind = input_of(self.contract, mutation)
        done = self._done(mutation, self._filled(mutation, "done"))
        written = self._filled(mutation, "done by a literal")
        self._done(mutation, written, text=self._text(mutation, written))
        if "id" in kind.fields and not is_required_input_field(kind.fields["id"]):
            # A conflict where what is made would be another; what is the same is answered as it was.
            self._mutate(self.owner, mutation, self._planted(mutation, done, "taken id"), None)
            self._count("taken id")
        whole = self._filled(mutation, "base")
        for how, given in self._refused(mutation, whole, done):
            self._refuse(self.owner, mutation, given, how)
        forbidden = signed(self.contract, self.watcher, mutation, self._planted(mutation, whole, "forbidden"))
        self._refuse(self.watcher, mutation, forbidden, "forbidden")
        self._refuse(self.anonymous, mutation, self._planted(mutation, whole, "anonymous"), "anonymous")
        for place, type_ in leaves(kind, whole):
            at = ".".join(map(str, place))
            for wrong in wrongly_typed(type_, self._plant(f"{mutation}: wrong type of {at}")):
                given = replaced(self._planted(mutation, whole, f"beside a wrong {at}"), place, wrong)
                self._refuse(self.owner, mutation, given, "wrong type")
                self._refuse(self.owner, mutation, {}, "wrong type, literal", text=self._text(mutation, given))
        self._spoilt(mutation, whole)

    def _refused(self, mutation: str, whole: Input, done: Input) -> Iterator[tuple[str, Input]]:
        kind = input_of(self.contract, mutation)
        plant = self._plant
        if self.canaries.within(json.dumps(whole)):
            yield "too long", with_canaries(kind, whole, lambda at: too_long(plant(f"{mutation}, too long: {at}")))
            yield "with NUL", with_canaries(kind, whole, lambda at: plant(f"{mutation}, NUL: {at}") + "\0")
            yield "surrogate", with_canaries(kind, whole, lambda at: plant(f"{mutation}, surrogate: {at}") + "\ud800")
        unknown = of_nothing(self._planted(mutation, whole, "not found"))
        if unknown is not None:
            yield "not found", unknown
        word = plant(f"{mutation}: the name of a field")
        yield "unknown field", {**self._planted(mutation, whole, "unknown field"), word: word}
        if "expectedVersion" in kind.fields:
            yield "wrong version", {**self._planted(mutation, done, "wrong version"), "expectedVersion": 999}

    def _spoilt(self, mutation: str, whole: Input) -> None:
        """Send what can't be read: text that is no operation, variables of another operation, half of a body."""
        plant = self._plant
        good = self._text(mutation, self._planted(mutation, whole, "in a text that is no operation"))
        for how, text in (
            ("cut", good[: len(good) * 3 // 4]),
            ("with a word behind it", f"{good} {plant('a word behind')}"),
            ("with an unknown field", good.replace("errors {", f"{plant('a field')} errors {{", 1)),
            ("with an unknown argument", good.replace("(input:", f"({plant('an argument')}: 1, input:", 1)),
            ("with a text that does not end", good + f' # "{plant("a comment")}'),
        ):
            self._send(self.owner, f"spoilt text, {how}", {"query": text})
        given = self._planted(mutation, whole, "variables")
        query = self._query(mutation)
        for how, body in (
            ("variables of no name", {"query": query, "variables": {plant("a variable's name"): given}}),
            ("variables that are a text", {"query": query, "variables": plant("variables")}),
            ("variables that are a list", {"query": query, "variables": [given]}),
            ("extensions that are a text", {"query": query, "extensions": plant("extensions")}),
            ("another operation's name", {"query": query, "operationName": plant("name") + " é"}),
            ("a list of operations", [{"query": query, "variables": {"input": given}}]),
            ("nothing but a text", plant("a body")),
        ):
            self._send(self.owner, how, body)
        whole_body = json.dumps({"query": query, "variables": {"input": self._planted(mutation, whole, "half a body")}})
        self._raw(self.owner, "half a body", whole_body[: len(whole_body) - 20].encode())
        self._raw(self.owner, "no UTF-8", whole_body.encode() + b"\xff\xfe")

    def sessions(self, email: str, password: str) -> None:
        """Sign in, refresh and sign out, rightly and wrongly."""
        plant = self._plant
        sign_in = "mutation($input: SignInInput!) { signIn(input: $input) { refreshToken errors { code message } } }"
        given = {"email": email, "password": password}
        right = self.anonymous.run(sign_in, {"input": given}).data["signIn"]
        assert right["errors"] == [], right
        self._count("signIn: done")
        for how, changed in (
            ("a wrong password", {"password": plant("a wrong password")}),
            ("a password that is too long", {"password": too_long(plant("a long password"))}),
            ("a password with half a surrogate pair", {"password": plant("a password") + "\ud800"}),
            ("an address of nobody", {"email": f"{plant('an address')}@nowhere.example"}),
            ("an address that is none", {"email": plant("an address")}),
            ("an organization of others", {"organization": plant("an organization")}),
            ("a device of others", {"deviceId": f"Device:{new_id()}", "password": password}),
            ("a device that is none", {"deviceId": plant("a device")}),
            ("no text", {"password": [plant("a password in a list")]}),
            ("a field too many", {plant("a field"): plant("its value")}),
        ):
            reply = self._send(self.anonymous, "signIn", {"query": sign_in, "variables": {"input": given | changed}})
            assert _failed(reply, "signIn"), (how, reply.text)
        literal = f"mutation {{ signIn(input: {{email: {json.dumps(email)}, password: %s}}) {{ errors {{ code }} }} }}"
        for value in (json.dumps(plant("a literal password")), json.dumps([plant("a literal password, listed")])):
            self._send(self.anonymous, "signIn, literal", {"query": literal % value})
        refresh = (
            "mutation($input: RefreshSessionInput!)"
            " { refreshSession(input: $input) { accessToken refreshToken errors { code } } }"
        )
        for token in (
            right["refreshToken"],
            right["refreshToken"],
            plant("a refresh token"),
            f"fwr_{plant('a refresh token')}",
            [plant("a refresh token, listed")],
        ):
            self._send(
                self.anonymous, "refreshSession", {"query": refresh, "variables": {"input": {"refreshToken": token}}}
            )
        leaving = Caller(self.owner.http, sign_in=given)
        assert leaving.run("mutation { signOut { errors { code } } }").data == {"signOut": {"errors": []}}
        self._count("signOut")

    def signatures(self) -> None:
        """Sign with what is not one's password, until that ends the sign-in."""
        signer, plant = Caller(self.owner.http, sign_in=self.owner.sign_in), self._plant
        whole = self._filled("approveRecord", "signed wrongly")
        for how, password in (
            ("a long password to sign", too_long(plant("a long password to sign"))),
            ("a password to sign with half a surrogate pair", plant("a password to sign") + "\ud800"),
            *((f"a wrong password to sign, {number}", plant(f"a wrong password, {number}")) for number in range(7)),
        ):
            self._refuse(signer, "approveRecord", {**whole, "password": password}, how)
        self._refuse(signer, "approveRecord", {**whole, "password": signer.password}, "a sign-in that was ended")

    def odd_requests(self, http: httpx.Client) -> None:
        """Send canaries in what is around an operation: addresses, headers, other methods."""
        plant = self._plant
        query = {"query": "{ viewer { role } }"}
        for headers in (
            {"authorization": f"Bearer {plant('a bearer token')}"},
            {"authorization": f"Bearer fws_{plant('a program token')}"},
            {"authorization": f"Bearer {plant('a')}.{plant('b')}.{plant('c')}"},
            {"authorization": f"Basic {plant('basic credentials')}"},
            {"authorization": f"Bearer {self.owner.token}", "fieldward-run-as": plant("as whom to look")},
            {"authorization": f"Bearer {self.owner.token}", "user-agent": plant("a user agent")},
            {"authorization": f"Bearer {self.owner.token}", "traceparent": plant("a trace")},
            {"cookie": f"session={plant('a cookie')}"},
            {"content-type": f"application/{plant('a content type')}"},
            {"accept": plant("an accept header")},
            {f"x-{plant('a header name')}": plant("a header")},
        ):
            http.post("/graphql", json=query, headers=headers)
            self._count("odd request")
        for head in (
            f"POST /graphql HTTP/1.1\r\ncontent-length: {plant('a length')}\r\n\r\n",
            f"POST /graphql HTTP/1.1\r\n{plant('a header without a value')}\r\n\r\n",
            f"{plant('a method')} /graphql HTTP/1.1\r\nhost: x\r\n\r\n",
            f"{plant('no HTTP at all')}\r\n\r\n",
        ):
            with socket.create_connection((http.base_url.host, http.base_url.port or 80), 5) as connection:
                connection.sendall(head.encode())
                connection.recv(4096)
            self._count("odd request")
        for method, path in (
            ("GET", f"/graphql?query={plant('a query in an address')}"),
            ("POST", f"/graphql?{plant('a name')}={plant('a value')}"),
            # Of other addresses nothing is taken; a tool that traces requests keeps them as they are asked for.
            ("PUT", "/health/ready"),
            ("OPTIONS", f"/graphiql?{plant('a name')}"),
        ):
            http.request(method, path, content=plant("a body").encode())
            self._count("odd request")

    def _done(self, mutation: str, given: Input, *, text: str | None = None) -> Input:
        """Do it, and return what was given."""
        reply = self._mutate(self.owner, mutation, given, text)
        payload: Any = (reply.data or {}).get(mutation)
        assert not reply.errors, (mutation, reply.text)
        assert payload["errors"] == [], (mutation, reply.text)
        self._count("done")
        self.kept |= self.canaries.within(json.dumps({**given, PASSWORD: None}))
        return given

    def _refuse(self, who: Caller, mutation: str, given: Input, how: str, *, text: str | None = None) -> None:
        reply = self._mutate(who, mutation, given, text)
        assert _failed(reply, mutation), (mutation, how, given, reply.text)
        self._count(how)

    def _mutate(self, who: Caller, mutation: str, given: Input, text: str | None) -> Reply:
        if text is not None:
            return who.run(text)
        return who.run(self._query(mutation), {"input": given})

    def _send(self, who: Caller, how: str, body: Any) -> Reply:
        return self._raw(who, how, json.dumps(body).encode())

    def _raw(self, who: Caller, how: str, body: bytes) -> Reply:
        headers = {"content-type": "application/json"}
        if who.token is not None:
            headers["authorization"] = f"Bearer {who.token}"
        response = who.http.post("/graphql", content=body, headers=headers)
        self._count(how)
        return Reply(response.text, response.json())

    def _filled(self, mutation: str, how: str) -> Input:
        """Return an input that can be done, with a canary in each guarded field."""
        ground = Ground(self.cast, self.contract)
        maker = self.second if mutation in BY_ANOTHER else self.owner
        aim = ground.fresh(mutation, self._project(mutation), maker, self.version_of)
        whole = complete(aim)[mutation]
        kind = input_of(self.contract, mutation)
        if {"role", "customRoleId"} <= kind.fields.keys():
            whole.pop("customRoleId")
        if "id" in kind.fields and "id" not in whole:
            whole["id"] = str(new_id())
        return self._planted(mutation, signed(self.contract, self.owner, mutation, whole), how)

    def _project(self, mutation: str) -> UUID | None:
        return None if mutation in {"updateProject", "archiveProject"} else self.cast.projects[FIRST]

    def _planted(self, mutation: str, whole: Mapping[str, Any], how: str) -> Input:
        return with_canaries(input_of(self.contract, mutation), whole, planting(self.canaries, f"{mutation}, {how}"))

    def _plant(self, where: str) -> str:
        return self.canaries.plant(where)

    def _query(self, mutation: str) -> str:
        kind = input_of(self.contract, mutation)
        return f"mutation($input: {kind}!) {{ {mutation}(input: $input) {{ {self._shown(mutation)} }} }}"

    def _text(self, mutation: str, given: Input) -> str:
        written = literal_of(input_of(self.contract, mutation), given)
        return f"mutation {{ {mutation}(input: {written}) {{ {self._shown(mutation)} }} }}"

    def _shown(self, mutation: str) -> str:
        payload: Any = self.contract.mutation[mutation].type
        named = payload.of_type if hasattr(payload, "of_type") else payload
        token = "token " if "token" in named.fields else ""
        return f"{token}errors {{ code message field }}"

    def _count(self, how: str) -> None:
        self.counts[how] = self.counts.get(how, 0) + 1


def _failed(reply: Reply, mutation: str) -> bool:
    """Return whether it was refused as a whole, or by its payload."""
    payload = (reply.data or {}).get(mutation)
    return bool(reply.errors) or payload is None or bool(payload["errors"])
