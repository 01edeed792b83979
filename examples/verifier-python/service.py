"""A small service behind Wirebound: it greets whoever the gateway vouches for, and nobody who was called back.

The gateway sets `Wirebound-Assertion` on each request: a token that is good for minutes. PyJWT checks it with the keys that
the gateway publishes. So that a session that was ended is refused at once, and not only when its token runs out, a thread
follows the gateway's feed of what was called back. While the feed is silent for longer than the lease, everybody is refused
with 503: who does not know does not accept.
"""

import http.server
import ipaddress
import json
import math
import os
import random
import ssl
import sys
import threading
import time
import urllib.parse
import urllib.request

import jwt

LEASE = 10.0  # seconds; a beat comes every two
SILENCE = 5.0  # seconds without a byte after which the feed is opened again
LEEWAY = 5  # seconds by which the clocks may differ
LONGEST_LIFE = 15 * 60  # seconds
KEYS_EVERY = 60.0  # seconds; a key is published for at least twice as long before it signs
KEYS_LIFE = 300.0  # seconds for which the keys are good while the gateway gives no others
KEYS_WAIT = 10.0  # seconds from one attempt to fetch them to the next, failed or not
TOKEN_MAX = 8 * 1024
LINE_MAX = 1024


class Refused(Exception):
    """Why a token is not taken: the name is for the log, the status for whoever showed it."""

    def __init__(self, status, name):
        super().__init__(name)
        self.status = status


class Known:
    """What was called back. One thread writes, every request reads."""

    def __init__(self):
        self.lock = threading.Lock()
        self.sessions, self.tokens, self.subjects, self.before = {}, {}, {}, 0
        self.place = None  # where following goes on: a run, and a number
        self.gathering = None  # entries of the snapshot that is being sent
        self.as_of = self.heard = self.said = None
        self.tidied = 0

    def unsure(self):
        """Nothing is known for sure from here on. What was called back stays so."""
        self.place = self.gathering = self.as_of = None

    def age(self):
        """By two clocks: the wall clock can be set back, the other stands still while the machine sleeps."""
        if self.as_of is None:
            return None
        return max(time.time() - self.as_of, time.monotonic() - self.heard)

    def sure(self, place, now):
        """Up to this place everything is known, as of the server's time or ours, whichever is earlier."""
        same_run = self.said is not None and self.said[0] == place[0]
        self.place = place
        if same_run and now <= self.said[1]:
            return  # an old beat, said again
        self.said = (place[0], now)
        self.as_of, self.heard = min(now / 1000, time.time()), time.monotonic()
        if self.as_of - self.tidied > 60:
            # No token lives longer; a minute more for clocks that differ. By the server's time, too.
            self.tidied, old = self.as_of, (self.as_of - 60) * 1000
            for entries in (self.sessions, self.tokens):
                for name in [name for name, until in entries.items() if until <= old]:
                    del entries[name]
            for tag in [tag for tag, (_, until) in self.subjects.items() if until <= old]:
                del self.subjects[tag]

    def add(self, entry):
        kind, until = entry["kind"], entry["until"]
        if kind == "session":
            self.sessions[entry["session"]] = max(until, self.sessions.get(entry["session"], 0))
        elif kind == "token":
            self.tokens[entry["token"]] = max(until, self.tokens.get(entry["token"], 0))
        elif kind == "subject":
            generation, last = self.subjects.get(entry["subject"], (0, 0))
            self.subjects[entry["subject"]] = (max(generation, entry["generation"]), max(until, last))
        elif kind == "before":
            self.before = max(self.before, entry["before"])
        else:
            raise ValueError("a kind that is not known")

    def hear(self, event, event_id, data):
        """One event. Whatever does not follow on the one before is an error, and everything is asked for again."""
        message = json.loads(data)
        if message["v"] != 1:
            raise ValueError("another version")
        with self.lock:
            if event == "snapshot":
                self.unsure()
                self.gathering = 0
            elif event == "revoked" and event_id is None:
                self.gathering += 1  # an error outside of a snapshot, where it is None
                self.add(message)
            elif event == "revoked":
                run, number = parse_place(event_id)
                if self.gathering is not None or (run, number - 1) != self.place:
                    raise ValueError("an entry is missing, or was said before")
                self.add(message)
                self.place = (run, number)
            elif event == "complete":
                if self.gathering != message["entries"]:
                    raise ValueError("not as many entries as there were")
                self.gathering = None
                self.sure(parse_place(message["place"]), message["now"])
            elif event == "beat":
                if self.gathering is not None or parse_place(message["place"]) != self.place:
                    raise ValueError("an entry is missing, or was said before")
                self.sure(self.place, message["now"])
            else:
                raise ValueError("an event that is not known")

    def check(self, claims):
        """Refuses what was called back, and everything while that is not known."""
        generation = claims["gen"]
        with self.lock:
            floor, _ = self.subjects.get(claims["stg"], (0, 0))
            if (
                claims["sid"] in self.sessions
                or claims["jti"] in self.tokens
                or generation < floor
                or generation < self.before
            ):
                raise Refused(401, "phantom_session")
            age = self.age()
            if age is None or age > LEASE:
                raise Refused(503, "store_unavailable")


def parse_place(text):
    run, number = text.split("-")
    return (run, int(number))


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """The API key goes to the gateway and nowhere else."""

    def redirect_request(self, *_):
        return None


def follow(known, issuer, key, context):
    """Follows the feed until the process ends."""
    handlers = [NoRedirects(), urllib.request.HTTPSHandler(context=context)]
    opener = urllib.request.build_opener(*handlers)
    wait = 0.1
    while True:
        request = urllib.request.Request(f"{issuer}/.wirebound/feed")
        request.add_header("Accept", "text/event-stream")
        request.add_unredirected_header("Authorization", f"Bearer {key}")
        with known.lock:
            if known.place is not None:
                run, number = known.place
                request.add_header("Last-Event-ID", f"{run}-{number}")
        try:
            with opener.open(request, timeout=SILENCE) as response:
                if response.status != 200 or response.headers.get_content_type() != "text/event-stream":
                    raise OSError("this is no feed")
                for event in events(response):
                    try:
                        known.hear(*event)
                    except Exception as error:
                        with known.lock:
                            known.unsure()
                        raise OSError(f"the feed went astray: {error}") from error
                    if event[0] != "snapshot":
                        wait = 0.1
        except (OSError, ValueError) as error:
            print(f"the feed: {error}", file=sys.stderr, flush=True)
        # Not all services at once, and longer each time.
        time.sleep(wait * random.uniform(0.5, 1))
        wait = min(wait * 2, 5)


def events(response):
    """The events of a stream. The gateway ends its lines with LF, and its lines are short."""
    name, event_id, data = "message", None, []
    while line := response.readline(LINE_MAX + 1):
        if len(line) > LINE_MAX or len(data) > 8:
            raise OSError("more than the feed has to say")
        field, _, value = line.decode("ascii").rstrip("\r\n").partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "id":
            event_id = value
        elif field == "data":
            data.append(value)
        elif line.strip() == b"":
            if data:
                yield name, event_id, "\n".join(data)
            name, event_id, data = "message", None, []


class Keys:
    """The keys that the gateway publishes. A thread fetches them, and no request waits for it: a stranger can make up any
    number of names for keys, and neither holds anybody up nor makes the gateway work."""

    def __init__(self, issuer, context):
        # The one address that keys come from; nothing in a token is ever taken for an address.
        url = f"{issuer}/.well-known/jwks.json"
        self.client = jwt.PyJWKClient(url, cache_jwk_set=False, timeout=5, ssl_context=context)
        self.held = None  # by name, and when they came: put in place as a whole, so that nobody reads half of it
        self.wanted = threading.Event()
        threading.Thread(target=self.fetch, daemon=True).start()

    def fetch(self):
        """Fetches them until the process ends."""
        while True:
            self.wanted.clear()
            asked = time.monotonic()
            try:
                self.held = ({key.key_id: key for key in self.client.get_signing_keys()}, asked)
            except Exception as error:  # whatever came was no keys; those from before stay
                print(f"the keys: {error!r}", file=sys.stderr, flush=True)
            time.sleep(KEYS_WAIT)
            self.wanted.wait(KEYS_EVERY - KEYS_WAIT)

    def find(self, kid):
        """The key of this name. Raises Refused where nobody can say whether there is one."""
        keys, asked = self.held or ({}, -math.inf)
        age = time.monotonic() - asked
        if kid in keys and age < KEYS_LIFE:
            return keys[kid]
        if age > KEYS_WAIT:
            self.wanted.set()
            raise Refused(503, "store_unavailable")
        raise jwt.InvalidTokenError("no key of this name")


class Verifier:
    def __init__(self, issuer, audience, feed_key, context):
        self.issuer, self.audience, self.known = issuer, audience, Known()
        self.keys = Keys(issuer, context)
        arguments = (self.known, issuer, feed_key, context)
        threading.Thread(target=follow, args=arguments, daemon=True).start()

    def check(self, token):
        """The claims of a token that is taken. Raises Refused."""
        try:
            claims = self.claims(token)
        except jwt.ExpiredSignatureError as error:
            raise Refused(440, "session_expired") from error
        except (jwt.PyJWTError, KeyError, TypeError, ValueError) as error:
            raise Refused(401, "unauthenticated") from error
        self.known.check(claims)
        return claims

    def claims(self, token):
        if len(token) > TOKEN_MAX:
            raise jwt.InvalidTokenError("too long")
        header = jwt.get_unverified_header(token)
        if set(header) != {"alg", "typ", "kid"} or header["typ"] != "wirebound-assertion+jwt":
            raise jwt.InvalidTokenError("a token of another kind")
        key = self.keys.find(header["kid"])
        # One algorithm a key, and only these two: what the token says of itself does not choose.
        if header["alg"] != key.algorithm_name or header["alg"] not in ("EdDSA", "ES256"):
            raise jwt.InvalidTokenError("another algorithm than the key's")
        claims = jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],
            audience=self.audience,
            issuer=self.issuer,
            leeway=LEEWAY,
            options={
                "require": ["iss", "aud", "sub", "exp", "iat", "nbf", "jti", "sid", "role", "gen", "stg"],
                "strict_aud": True,
            },
        )
        if claims["exp"] - claims["iat"] > LONGEST_LIFE:
            raise jwt.InvalidTokenError("made to last too long")
        if "cnf" in claims:
            raise jwt.InvalidTokenError("bound to a key that nobody has shown here")
        return claims


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    verifier = None

    def do_GET(self):
        # One field, or none: two of them would be two opinions.
        fields = self.headers.get_all("Wirebound-Assertion") or []
        try:
            claims = self.verifier.check(fields[0] if len(fields) == 1 else "")
        except Refused as refused:
            # The log learns why; the stranger only the status.
            print(f"{refused.status} {refused}", file=sys.stderr, flush=True)
            self.answer(refused.status, {})
            return
        # The subject is bytes, percent-encoded in the token.
        subject = urllib.parse.unquote_to_bytes(claims["sub"]).decode(errors="replace")
        self.answer(200, {"subject": subject, "role": claims["role"]})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status, "Session Expired" if status == 440 else None)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if status == 401:
            self.send_header("WWW-Authenticate", 'Bearer realm="wirebound", error="invalid_token"')
        if status == 503:
            self.send_header("Retry-After", "2")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Nothing: whoever runs this has a log of requests in front of it."""


def main():
    issuer, audience = os.environ["WIREBOUND_ISSUER"], os.environ["WIREBOUND_AUDIENCE"]
    parts = urllib.parse.urlsplit(issuer)
    if parts.scheme != "https":
        # For tests, and by a name that says so.
        if "WIREBOUND_DANGER_PLAIN_LOOPBACK" not in os.environ or not ipaddress.ip_address(parts.hostname).is_loopback:
            sys.exit("WIREBOUND_ISSUER must be https://")
    context = ssl.create_default_context(cafile=os.environ.get("WIREBOUND_CA"))
    Handler.verifier = Verifier(issuer, audience, os.environ["WIREBOUND_FEED_KEY"], context)
    address = ("127.0.0.1", int(os.environ.get("PORT", "8082")))
    with http.server.ThreadingHTTPServer(address, Handler) as server:
        print(f"on http://127.0.0.1:{server.server_address[1]}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
