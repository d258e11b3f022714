"""How gunicorn serves the shop: `gunicorn wsgi:app` reads this file. A buffering proxy belongs in front."""

from storefront.settings import SERVER_THREADS

bind = "0.0.0.0:8000"
workers = 2
threads = SERVER_THREADS  # half of them may wait for Flexprice at once
timeout = 60  # seconds; the longest request waits 30 s for Flexprice
graceful_timeout = 35  # a click on Buy that is under way is finished
worker_tmp_dir = "/dev/shm"  # noqa: S108 - the heartbeat file must not wait for a disk
# No access log: paths contain tokens. The shop logs routes instead.
