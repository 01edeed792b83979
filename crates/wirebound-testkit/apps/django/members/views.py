"""The members' area: signs in by Django's own form, by a provider, by a mailed link, by a company's posted assertion."""

import base64
import hashlib
import hmac
import json
import os
import secrets
import urllib.parse
import urllib.request

from django.contrib import auth, messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, HttpResponseRedirect, JsonResponse
from django.template import engines
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

LOG = os.environ["APP_LOG"]
IDP = os.environ["IDP_URL"]
IDP_BACK = os.environ["IDP_BACK"]
IDP_KEY = os.environ["IDP_KEY"].encode()
# Kept by the company's answer as it was sent: quotes, signs of HTML, a letter that is not ASCII.
RELAY = "/members?from=<\"a & b'>+%41\u00e9"

notes = {}
links = {}
seen_assertions = set()

PAGE = """<!doctype html>
<title>Members</title>
<body data-user="{{ request.user.username }}" data-page="{{ page }}">
<h1>{{ page }}</h1>
{% for message in messages %}<p class="flash">{{ message }}</p>{% endfor %}
{% if request.user.is_authenticated %}
<a id="next" href="/members/{{ next }}">next</a>
<form id="note" method="post" action="/notes">{% csrf_token %}<input name="text"></form>
<form id="logout" method="post" action="/logout">{% csrf_token %}</form>
<ul id="notes">{% for note in notes %}<li>{{ note }}</li>{% endfor %}</ul>
{% else %}
<form id="login" method="post" action="/admin/login/?next=/members">{% csrf_token %}
<input name="username"><input name="password" type="password"></form>
<form id="mail" method="post" action="/login/mail">{% csrf_token %}<input name="username"></form>
<a id="oidc" href="/login/oidc">sign in elsewhere</a>
<a id="saml" href="/login/saml">sign in by the company</a>
{% endif %}
"""


def log(line):
    with open(LOG, "a") as file:
        file.write(line + "\n")


def log_requests(get_response):
    def answer(request):
        log(f"{request.method} {request.get_full_path()} {request.user.username or '-'}")
        return get_response(request)

    return answer


def note_the_form(sender, request, user, **_):
    if request.path == "/admin/login/":
        log(f"SIGNIN form {user.username}")


auth.user_logged_in.connect(note_the_form)


def page(request, name, number=0):
    inside = {"page": name, "next": number + 1, "notes": notes.get(request.user.username, [])}
    return HttpResponse(engines["django"].from_string(PAGE).render(inside, request))


def sign_in(request, name, how):
    user = auth.get_user_model().objects.get(username=name)
    auth.login(request, user)
    log(f"SIGNIN {how} {name}")
    return see("/members")


def see(path):
    return HttpResponseRedirect(path, status=303)


def own(request, path):
    return f"https://{request.get_host()}{path}"


@require_GET
def home(request):
    return page(request, "home")


@require_GET
def login(request):
    return page(request, "login")


@require_POST
def send_a_link(request):
    name = request.POST["username"]
    if auth.get_user_model().objects.filter(username=name).exists():
        code = secrets.token_urlsafe()
        links[code] = name
        post(f"{IDP_BACK}/mail", {"link": own(request, f"/login/link?code={code}")})
    messages.info(request, "look into your mail")
    return see("/login")


@require_GET
def by_link(request):
    name = links.pop(request.GET["code"], None)
    if name is None:
        raise PermissionDenied("this link was used")
    return sign_in(request, name, "link")


@require_GET
def to_the_provider(request):
    request.session["state"] = secrets.token_urlsafe()
    query = {
        "response_type": "code", "client_id": "members", "scope": "openid",
        "redirect_uri": own(request, "/login/oidc/callback"), "state": request.session["state"],
    }
    return HttpResponseRedirect(f"{IDP}/authorize?{urllib.parse.urlencode(query)}")


@require_GET
def by_provider(request):
    state = request.session.pop("state", "")
    if not state or not secrets.compare_digest(state, request.GET["state"]):
        raise PermissionDenied("this answer is not of this visit")
    form = {
        "grant_type": "authorization_code", "client_id": "members", "code": request.GET["code"],
        "redirect_uri": own(request, "/login/oidc/callback"),
    }
    return sign_in(request, json.loads(post(f"{IDP_BACK}/token", form))["sub"], "oidc")


@require_GET
def to_the_company(request):
    request.session["saml"] = "_" + secrets.token_hex()
    query = {"request": request.session["saml"], "acs": own(request, "/saml/acs"), "relay": RELAY}
    return HttpResponseRedirect(f"{IDP}/saml/sso?{urllib.parse.urlencode(query)}")


@csrf_exempt
@require_POST
def by_company(request):
    told = base64.b64decode(request.POST["SAMLResponse"])
    mark = hmac.new(IDP_KEY, told, hashlib.sha256).hexdigest()
    if not secrets.compare_digest(mark, request.POST["Signature"]):
        raise PermissionDenied("not signed by the company")
    told = json.loads(told)
    if request.POST["RelayState"] != RELAY:
        raise PermissionDenied("the state is not what was sent")
    if told["id"] in seen_assertions or told["in_response_to"] != request.session.pop("saml", None):
        raise PermissionDenied("this answer is not of this visit")
    seen_assertions.add(told["id"])
    return sign_in(request, told["subject"], "saml")


@login_required
def members(request, number=0):
    return page(request, f"members {number}" if number else "members", number)


@require_GET
def me(request):
    if not request.user.is_authenticated:
        return HttpResponse(status=401)
    return JsonResponse({"user": request.user.username})


@login_required
@require_POST
def add_a_note(request):
    text, name = request.POST["text"], request.user.username
    notes.setdefault(name, []).append(text)
    log(f"NOTE {text} {name}")
    messages.info(request, f"kept: {text}")
    return see("/members")


@require_POST
def logout(request):
    auth.logout(request)
    return see("/")


def post(url, form):
    with urllib.request.urlopen(url, urllib.parse.urlencode(form).encode(), timeout=10) as answer:
        return answer.read()
