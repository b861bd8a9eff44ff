"""Every endpoint of the server on one page."""

from django.contrib import admin
from django.templatetags.static import static
from django.urls import path
from django.views.generic import RedirectView

from agentsite import schema
from agentsite.dashboard.agents import list_agents, show_agent
from agentsite.evals import pages as evals
from agentsite.health import health, ready
from agentsite.host import answer_views as answers, views as chat
from agentsite.host.bus_views import events, staff_events
from agentsite.host.export_views import export_scope
from agentsite.host.feedback_views import FeedbackView
from agentsite.host.history_views import HistoryDetail, HistoryList
from agentsite.host.mcp_server.views import mcp
from agentsite.host.memory_views import MemoryDetail, MemoryList
from agentsite.host.metrics_views import show_metrics
from agentsite.host.page_views import enter_page
from agentsite.host.session_views import (
    SessionAttachment,
    SessionDetail,
    SessionList,
    SessionState,
)
from agentsite.host.store_views import DocumentDetail, DocumentList, StoreList
from agentsite.refusals import bad_request, no_such_page, server_error
from agentsite.signin.views import sign_in_once
from automations_app import views as automations, webhooks
from automations_app.staff import acts, pages

urlpatterns = [
    path("", enter_page),
    path("favicon.ico", RedirectView.as_view(url=static("sessions_app/icon.svg"))),
    # What others send: believed by its signature. First, because it comes in bursts
    path("webhooks", webhooks.receive),
    path("webhooks/<str:name>", webhooks.receive),
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
    # Automations; `automations/` is the staff's pages
    path("automations/", pages.list_page, name="automations"),
    path("automations/new/", pages.new_page, name="automation-new"),
    path("automations/preview/", pages.preview_schedule, name="automation-preview"),
    path("automations/<int:key>/", pages.edit_page, name="automation"),
    path("automations/<int:key>/<slug:verb>/", acts.act, name="automation-act"),
    path("automations/runs/<str:key>/", pages.run_page, name="automation-run"),
    path("automations/runs/<str:key>/events/", acts.run_events, name="automation-run-events"),
    path("automations/inbound/<int:key>/replay/", acts.replay_inbound, name="automation-replay"),
    path(
        "automations/deliveries/<str:key>/replay/",
        acts.replay_delivery,
        name="automation-redeliver",
    ),
    path("automations", automations.AutomationList.as_view()),
    path("automations/<str:automation>/run", automations.AutomationRunNow.as_view()),
    path("automations/<str:automation>/stream", automations.AutomationStream.as_view()),
    path("automations/<str:automation>/start", automations.AutomationStart.as_view()),
    path("automations/<str:automation>/stop", automations.AutomationStop.as_view()),
    path("automations/<str:automation>/runs", automations.AutomationRuns.as_view()),
    # What is remembered of the caller
    path("api/memory", MemoryList.as_view()),
    path("api/memory/<str:entry_id>", MemoryDetail.as_view()),
    # The same by the Model Context Protocol: tools, and stores as resources
    path("mcp", mcp),
    path("mcp/<str:agent_id>", mcp),
    # What people think of answers
    path("api/feedback", FeedbackView.as_view()),
    # What changes anywhere
    path("api/events", events),
    path("admin/events", staff_events),
    # Stores
    path("api/stores", StoreList.as_view()),
    path("api/stores/<str:name>", DocumentList.as_view()),
    path("api/stores/<str:name>/<path:key>", DocumentDetail.as_view()),
    # The server itself
    path("health", health),
    path("ready", ready),
    path("metrics", show_metrics),
    path("api/schema", schema.SCHEMA, name="schema"),
    path("api/docs", schema.DOCS),
    # Staff
    path("accounts/once/<str:token>", sign_in_once),
    path("accounts/scopes/<int:key>/export", export_scope),
    path("admin", RedirectView.as_view(url="/admin/")),
    path("admin/operations/evalrun/add/", admin.site.admin_view(evals.start), name="eval-start"),
    path("admin/agents/", admin.site.admin_view(list_agents), name="agents"),
    path("admin/agents/<str:agent>/", admin.site.admin_view(show_agent), name="agent"),
    path("admin/", admin.site.urls),
]
handler400 = bad_request
handler404 = no_such_page
handler500 = server_error
