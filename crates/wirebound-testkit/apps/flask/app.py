"""A small members' area on Flask, as its tutorial would write one: everything about a visitor is in the signed cookie.

It counts each visitor's pages in that cookie, so that the value changes with nearly every answer. It knows of nothing that
may stand in front of it.
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
import urllib.parse
import urllib.request
from functools import wraps

from flask import Flask, abort, flash, get_flashed_messages, redirect, render_template_string, request, session

app = Flask(__name__)
app.secret_key = os.environ["APP_SECRET"]
app.config["SESSION_COOKIE_SAMESITE"] = "Lax"

LOG = os.environ["APP_LOG"]
IDP = os.environ["IDP_URL"]
IDP_BACK = os.environ["IDP_BACK"]
IDP_KEY = os.environ["IDP_KEY"].encode()
# Kept by the company's answer as it was sent: quotes, signs of HTML, a letter that is not ASCII.
RELAY = "/members?from=<\"a & b'>+%41\u00e9"
PEOPLE = {"alice": os.environ["ALICE_PASSWORD"]}

notes = {}
links = {}
seen_assertions = set()

PAGE = """<!doctype html>
<title>Members</title>
<body data-user="{{ user }}" data-page="{{ page }}" data-visits="{{ visits }}">
<h1>{{ page }}</h1>
{% for message in messages %}<p class="flash">{{ message }}</p>{% endfor %}
{% if user %}
<a id="next" href="/members/{{ next }}">next</a>
<form id="note" method="post" action="/notes">
<input type="hidden" name="csrf" value="{{ csrf }}"><input name="text"></form>
<form id="logout" method="post" action="/logout"><input type="hidden" name="csrf" value="{{ csrf }}"></form>
<ul id="notes">{% for note in notes %}<li>{{ note }}</li>{% endfor %}</ul>
{% else %}
<form id="login" method="post" action="/login">
<input type="hidden" name="csrf" value="{{ csrf }}"><input name="username"><input name="password" type="password"></form>
<form id="mail" method="post" action="/login/mail"><input type="hidden" name="csrf" value="{{ csrf }}"><input name="username"></form>
<a id="oidc" href="/login/oidc">sign in elsewhere</a>
<a id="saml" href="/login/saml">sign in by the company</a>
{% endif %}
"""


def log(line):
    with open(LOG, "a") as file:
        file.write(line + "\n")


def page(name, number=0):
    user = session.get("user", "")
    session["visits"] = session.get("visits", 0) + 1
    session.setdefault("csrf", secrets.token_urlsafe())
    return render_template_string(
        PAGE, page=name, next=number + 1, user=user, csrf=session["csrf"], visits=session["visits"],
        notes=notes.get(user, []), messages=get_flashed_messages(),
    )


def sign_in(user, how):
    session.clear()
    session["user"] = user
    log(f"SIGNIN {how} {user}")
    return redirect("/members", 303)


def own(path):
    return f"https://{request.host}{path}"


def members_only(view):
    @wraps(view)
    def guarded(*args, **kwargs):
        if "user" not in session:
            return redirect("/login", 303)
        return view(*args, **kwargs)

    return guarded


@app.before_request
def note_the_request():
    log(f"{request.method} {request.full_path.rstrip('?')} {session.get('user', '-')}")


@app.before_request
def check_the_form():
    from_elsewhere = request.path == "/saml/acs"
    if request.method == "POST" and not from_elsewhere:
        sent, kept = request.form.get("csrf", ""), session.get("csrf", "")
        if not kept or not secrets.compare_digest(sent, kept):
            abort(400, "this form is not of this visit")


@app.get("/")
def home():
    return page("home")


@app.get("/login")
def login():
    return page("login")


@app.post("/login")
def by_form():
    user = request.form["username"]
    if not secrets.compare_digest(PEOPLE.get(user, ""), request.form["password"]):
        abort(403)
    return sign_in(user, "form")


@app.post("/login/mail")
def send_a_link():
    user = request.form["username"]
    if user in PEOPLE:
        code = secrets.token_urlsafe()
        links[code] = user
        post(f"{IDP_BACK}/mail", {"link": own(f"/login/link?code={code}")})
    flash("look into your mail")
    return redirect("/login", 303)


@app.get("/login/link")
def by_link():
    user = links.pop(request.args["code"], None)
    if user is None:
        abort(403, "this link was used")
    return sign_in(user, "link")


@app.get("/login/oidc")
def to_the_provider():
    session["state"] = secrets.token_urlsafe()
    query = {
        "response_type": "code", "client_id": "members", "scope": "openid",
        "redirect_uri": own("/login/oidc/callback"), "state": session["state"],
    }
    return redirect(f"{IDP}/authorize?{urllib.parse.urlencode(query)}")


@app.get("/login/oidc/callback")
def by_provider():
    state = session.pop("state", "")
    if not state or not secrets.compare_digest(state, request.args["state"]):
        abort(403, "this answer is not of this visit")
    form = {
        "grant_type": "authorization_code", "client_id": "members", "code": request.args["code"],
        "redirect_uri": own("/login/oidc/callback"),
    }
    return sign_in(json.loads(post(f"{IDP_BACK}/token", form))["sub"], "oidc")


@app.get("/login/saml")
def to_the_company():
    session["saml"] = "_" + secrets.token_hex()
    query = {"request": session["saml"], "acs": own("/saml/acs"), "relay": RELAY}
    return redirect(f"{IDP}/saml/sso?{urllib.parse.urlencode(query)}")


@app.post("/saml/acs")
def by_company():
    told = base64.b64decode(request.form["SAMLResponse"])
    mark = hmac.new(IDP_KEY, told, hashlib.sha256).hexdigest()
    if not secrets.compare_digest(mark, request.form["Signature"]):
        abort(403, "not signed by the company")
    told = json.loads(told)
    if request.form["RelayState"] != RELAY:
        abort(400, "the state is not what was sent")
    if told["id"] in seen_assertions or told["in_response_to"] != session.pop("saml", None):
        abort(403, "this answer is not of this visit")
    seen_assertions.add(told["id"])
    return sign_in(told["subject"], "saml")


@app.get("/members")
@members_only
def members():
    return page("members")


@app.get("/members/<int:number>")
@members_only
def member(number):
    return page(f"members {number}", number)


@app.get("/api/me")
def me():
    if "user" not in session:
        abort(401)
    session["visits"] = session.get("visits", 0) + 1
    return {"user": session["user"]}


@app.post("/notes")
@members_only
def add_a_note():
    text = request.form["text"]
    notes.setdefault(session["user"], []).append(text)
    log(f"NOTE {text} {session['user']}")
    flash(f"kept: {text}")
    return redirect("/members", 303)


@app.post("/logout")
def logout():
    session.clear()
    return redirect("/", 303)


def post(url, form):
    with urllib.request.urlopen(url, urllib.parse.urlencode(form).encode(), timeout=10) as answer:
        return answer.read()


if __name__ == "__main__":
    app.run("127.0.0.1", int(os.environ["PORT"]), threaded=True)
