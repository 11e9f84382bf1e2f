# By digest where builds have to be repeatable: --build-arg PYTHON_IMAGE=python@sha256:…
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
COPY requirements.lock /
RUN python -m venv --without-pip /venv \
    && pip --python /venv/bin/python install --no-cache-dir --only-binary :all: --require-hashes -r /requirements.lock

# Without compilers, and without anything that could install more into /venv; nothing below / has to be writable.
FROM ${PYTHON_IMAGE}
RUN useradd --system --uid 10001 --create-home --home-dir /home/erp erp \
    && install -d -o erp -g erp /data /metrics
COPY --from=build /venv /venv
WORKDIR /app
COPY manage.py ./
COPY erpconfig erpconfig
COPY tenants tenants
COPY connectors connectors
COPY templates templates
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    STATIC_ROOT=/app/static DROPZONE_ROOT=/data/dropzone DOCUMENT_STORAGE=/data/documents
RUN rm -rf /usr/local/lib/python3.11/site-packages/pip* /usr/local/lib/python3.11/ensurepip /usr/local/bin/pip*
# Keys that live for this one step: collecting static files neither encrypts nor connects.
RUN SECRET_KEY=$(python -c 'import secrets; print(secrets.token_urlsafe(50))') \
    ENCRYPTION_MASTER_KEY=$(python -c 'import secrets; print(secrets.token_hex(32))') \
    ALLOWED_HOSTS=localhost python manage.py collectstatic --no-input
USER 10001
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/livez', timeout=4)"]
CMD ["gunicorn", "--config", "python:erpconfig.gunicorn", "--bind", "0.0.0.0:8000"]
