"""The one page: it asks the database."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from django.contrib.contenttypes.models import ContentType
from django.http import HttpResponse
from django.urls import path

if TYPE_CHECKING:
    from django.http import HttpRequest


def index(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Says which worker answers, and what the database has told it."""
    count = ContentType.objects.count()
    text = f"worker {os.getpid()} is at your service, with {count} content type(s)\n"
    return HttpResponse(text, content_type="text/plain")


def hang(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Never returns."""
    threading.Event().wait()  # nobody will ever set it
    raise AssertionError("somebody has set it")


urlpatterns = [path("", index)]
# For the demonstration alone: with DEMONSTRATE=hang in the environment there is a page that hangs.
if os.environ.get("DEMONSTRATE") == "hang":
    urlpatterns.append(path("hang", hang))
