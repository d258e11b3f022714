"""`app` for any WSGI server and for `flask --app wsgi`; `python wsgi.py` starts the whole demo."""

import logging
import os
import sys

from storefront import create_app, demo, demo_environment
from storefront.settings import Settings, SettingsError
from storefront.web import request_log

if __name__ == "__main__":
    sys.exit(demo.main())

request_log.configure()
logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)
os.environ.update(demo_environment.load_environment(os.environ))
try:
    app = create_app(Settings.from_env(os.environ))
except SettingsError as error:
    raise SystemExit("\n  - ".join(["The shop cannot start:", *error.problems])) from None
