"""`python -m notifywrap`."""

from __future__ import annotations

import sys

from notifywrap.cli.__main__ import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
