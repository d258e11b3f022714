"""The checkout in apps that are not the demo: host apps of our own making, and docs/minimal_app.py."""
