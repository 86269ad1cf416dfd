# Two targets: `service` (the API and the `slbi` command, no torch) and `worker` (all of it).
# Each is built in a stage of its own and only the finished environment is copied on, so that no
# build tool and no pip cache reaches an image.

FROM python:3.11-slim-bookworm AS base
ENV PATH=/opt/slbi/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    SLBI_HOME=/var/lib/slbi \
    SLBI_ARTIFACT_DIR=/var/lib/slbi/artifacts \
    SLBI_DATA_DIRS=/data \
    SLBI_LOG_FORMAT=json
RUN groupadd --gid 10001 slbi \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin slbi \
    && install --directory --owner slbi --group slbi /var/lib/slbi /var/lib/slbi/artifacts

FROM base AS build-service
COPY locks/service.txt /tmp/locks/
RUN python -m venv /opt/slbi \
    && pip install --no-cache-dir --no-deps -r /tmp/locks/service.txt
# Without slbi/ and worker/: the image offers no worker that could not run.
COPY pyproject.toml README.md /tmp/source/
COPY service /tmp/source/service
COPY migrations /tmp/source/migrations
RUN pip install --no-cache-dir --no-deps /tmp/source \
    && pip uninstall --yes pip

FROM base AS build-worker
COPY locks/worker.txt /tmp/locks/
RUN python -m venv /opt/slbi \
    && pip install --no-cache-dir --no-deps -r /tmp/locks/worker.txt
COPY pyproject.toml README.md /tmp/source/
COPY slbi /tmp/source/slbi
COPY worker /tmp/source/worker
COPY service /tmp/source/service
COPY migrations /tmp/source/migrations
RUN pip install --no-cache-dir --no-deps /tmp/source \
    && pip uninstall --yes pip

FROM base AS worker
COPY --from=build-worker /opt/slbi /opt/slbi
WORKDIR /var/lib/slbi
USER 10001:10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["slbi"]
CMD ["worker"]

FROM base AS service
COPY --from=build-service /opt/slbi /opt/slbi
ENV SLBI_HOST=0.0.0.0 \
    SLBI_PORT=8000
WORKDIR /var/lib/slbi
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"SLBI_PORT\"]}/healthz', timeout=2)"]
ENTRYPOINT ["slbi"]
CMD ["api"]
