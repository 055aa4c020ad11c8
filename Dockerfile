# syntax=docker/dockerfile:1
FROM python:3.12-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/stream-detector
ENV PATH=/opt/stream-detector/bin:$PATH
WORKDIR /source

# The dependencies first: a change in the code leaves this layer as it is.
COPY requirements.lock ./
RUN pip install --only-binary :all: --require-hashes -r requirements.lock

COPY pyproject.toml README.md LICENSE ./
COPY stream_detector ./stream_detector
RUN pip install --no-deps --no-build-isolation . && pip uninstall --yes setuptools pip


FROM python:3.12-slim-bookworm

ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="stream-detector" \
      org.opencontainers.image.description="Online anomaly detection on event streams: Kafka in, explained alerts out, metrics on Prometheus." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="docker.io/library/python:3.12-slim-bookworm"

# A named volume takes over owner and mode of the directory that it is mounted on.
RUN useradd --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin detector \
    && install --directory --owner=10001 --group=10001 --mode=0750 /var/lib/stream-detector

COPY --from=build /opt/stream-detector /opt/stream-detector
COPY config /app/config

# Nothing is written below the root: bytecode was compiled at installation, state has its volume.
ENV PATH=/opt/stream-detector/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /app
USER 10001:10001
EXPOSE 9108
ENTRYPOINT ["stream-detector"]
CMD ["--help"]
