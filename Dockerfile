# One image for both: the shop (as it stands) and the worker (its command is in docs/going-live.md).
# The sandbox is left out by .dockerignore: the shop runs without it.

FROM python:3.11-slim AS packages
COPY requirements.txt .
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir -r requirements.txt

FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /shop shop
COPY --from=packages /venv /venv
WORKDIR /shop
COPY wsgi.py ./
COPY static ./static
COPY templates ./templates
COPY storefront ./storefront
# Compiled once, here: who runs it may not write.
RUN python -m compileall -q wsgi.py storefront
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER shop
EXPOSE 8000
# The server stops taking requests and answers those under way.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["python", "-m", "storefront.serve", "--listen", "0.0.0.0:8000"]
