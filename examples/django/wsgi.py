"""What a worker serves. Django would load the pages at its first request: too late to be a part of
what "ready" means."""

from __future__ import annotations

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

application = get_wsgi_application()
_ = get_resolver().url_patterns
