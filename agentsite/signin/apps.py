"""The app of sign-in links."""

from django.apps import AppConfig


class SignInConfig(AppConfig):
    name = "agentsite.signin"
    label = "signin"
    verbose_name = "Sign-in links"
