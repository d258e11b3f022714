"""Webhooks: build the message, sign it, send it, retry."""
