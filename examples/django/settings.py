"""The least that a Django project needs to serve from a database: yours takes its place."""

from __future__ import annotations

import os
from pathlib import Path

# systemd makes the directory (StateDirectory=); without it the database lies in this one.
STATE = Path(os.environ.get("STATE_DIRECTORY") or Path(__file__).resolve().parent)

ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": STATE / "db.sqlite3"},
}
INSTALLED_APPS = ["django.contrib.contenttypes"]  # for its tables: something to migrate and to ask
ROOT_URLCONF = "urls"
USE_TZ = True
# No SECRET_KEY: nothing here signs anything. A project with sessions needs one, from a credential.
