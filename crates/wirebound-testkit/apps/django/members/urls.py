"""What this project answers to: Django's own admin site, and the members' area."""

from django.contrib import admin
from django.urls import path

from . import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", views.home),
    path("login", views.login),
    path("login/mail", views.send_a_link),
    path("login/link", views.by_link),
    path("login/oidc", views.to_the_provider),
    path("login/oidc/callback", views.by_provider),
    path("login/saml", views.to_the_company),
    path("saml/acs", views.by_company),
    path("members", views.members),
    path("members/<int:number>", views.members),
    path("api/me", views.me),
    path("notes", views.add_a_note),
    path("logout", views.logout),
]
