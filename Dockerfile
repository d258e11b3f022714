# One image for the server (as it stands), the worker and the email worker (their commands are in compose.yaml).
# .dockerignore leaves the sandbox out: the shop runs without it.

FROM python:3.11-slim AS packages
COPY requirements.txt .
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir -r requirements.txt

FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /shop shop
COPY --from=packages /venv /venv
WORKDIR /shop
COPY wsgi.py gunicorn.conf.py ./
COPY static ./static
COPY templates ./templates
COPY translations ./translations
COPY storefront ./storefront
# Compiled here, because the user below cannot write.
RUN python -m compileall -q wsgi.py storefront
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER shop
EXPOSE 8000
# The server stops accepting requests and finishes those under way.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["gunicorn", "wsgi:app"]
