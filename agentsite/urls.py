"""Every endpoint of the server on one page."""

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from agentsite.signin.views import sign_in_once

urlpatterns = [
    path("accounts/once/<str:token>", sign_in_once),
    path("admin", RedirectView.as_view(url="/admin/")),
    path("admin/", admin.site.urls),
]
