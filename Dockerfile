FROM python:3.11-slim AS build
COPY requirements.txt /
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir -r /requirements.txt

FROM python:3.11-slim
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
# Keys that live for this one step: collecting static files neither encrypts nor connects.
RUN SECRET_KEY=$(python -c 'import secrets; print(secrets.token_urlsafe(50))') \
    ENCRYPTION_MASTER_KEY=$(python -c 'import secrets; print(secrets.token_hex(32))') \
    ALLOWED_HOSTS=localhost python manage.py collectstatic --no-input
USER erp
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/livez', timeout=4)"]
CMD ["gunicorn", "--config", "python:erpconfig.gunicorn", "--bind", "0.0.0.0:8000"]
