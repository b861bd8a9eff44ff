"""Every endpoint of the server on one page."""

from django.contrib import admin
from django.templatetags.static import static
from django.urls import path
from django.views.generic import RedirectView

from agentsite import schema
from agentsite.health import health, ready
from agentsite.host import answer_views as answers
from agentsite.host import views as chat
from agentsite.host.history_views import HistoryDetail, HistoryList
from agentsite.host.memory_views import MemoryDetail, MemoryList
from agentsite.host.session_views import (
    SessionAttachment,
    SessionDetail,
    SessionList,
    SessionState,
)
from agentsite.host.store_views import DocumentDetail, DocumentList, StoreList
from agentsite.refusals import bad_request, no_such_page, server_error
from agentsite.signin.views import sign_in_once
from sessions_app.pages import chat_page

urlpatterns = [
    path("", chat_page),
    path("favicon.ico", RedirectView.as_view(url=static("sessions_app/icon.svg"))),
    # Talking
    path("chat", chat.chat),
    path("chat/stream", chat.chat_stream),
    path("chat/sync", chat.chat_sync),
    # A person's answers
    path("ask-user-response", answers.ask_user_response),
    path("chat/sessions/<str:session_id>/ask-user-response", answers.ask_user_response),
    path("widget-actions", answers.widget_actions),
    # Sessions, in the reference client's shapes and in ours
    path("sessions/history", HistoryList.as_view()),
    path("sessions/history/<str:session_id>", HistoryDetail.as_view()),
    path("sessions", SessionList.as_view()),
    path("sessions/<str:session_id>", SessionDetail.as_view()),
    path("sessions/<str:session_id>/state", SessionState.as_view()),
    path("sessions/<str:session_id>/events", chat.session_events),
    path("sessions/<str:session_id>/interrupt", chat.interrupt),
    path("sessions/<str:session_id>/attachments/<str:attachment_id>", SessionAttachment.as_view()),
    # What is remembered of the caller
    path("api/memory", MemoryList.as_view()),
    path("api/memory/<str:entry_id>", MemoryDetail.as_view()),
    # Stores
    path("api/stores", StoreList.as_view()),
    path("api/stores/<str:name>", DocumentList.as_view()),
    path("api/stores/<str:name>/<path:key>", DocumentDetail.as_view()),
    # The server itself
    path("health", health),
    path("ready", ready),
    path("api/schema", schema.SCHEMA, name="schema"),
    path("api/docs", schema.DOCS),
    # Staff
    path("accounts/once/<str:token>", sign_in_once),
    path("admin", RedirectView.as_view(url="/admin/")),
    path("admin/", admin.site.urls),
]
handler400 = bad_request
handler404 = no_such_page
handler500 = server_error
