# The runner's image: scheduler, workers and `dask-flow` itself. Any base with Python 3.11 or later and Debian's packages will do.
ARG BASE_IMAGE=python:3.13-slim

FROM ${BASE_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python3 -m venv /opt/dask-flow
COPY runner/requirements.lock /tmp/
RUN /opt/dask-flow/bin/pip install --no-compile --require-hashes -r /tmp/requirements.lock
COPY runner /tmp/runner
# hatchling is in the lock too, so that the build needs nothing that is not pinned.
RUN /opt/dask-flow/bin/pip install --no-compile --no-deps --no-build-isolation /tmp/runner \
 && /opt/dask-flow/bin/pip uninstall -q -y hatchling pathspec pluggy trove-classifiers \
 && find /opt/dask-flow -depth -type d -name tests -path '*/site-packages/*' -exec rm -rf {} + \
 && /opt/dask-flow/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/dask-flow/lib

FROM ${BASE_IMAGE}
RUN command -v tini >/dev/null \
 || { apt-get update && apt-get install -y --no-install-recommends tini && rm -rf /var/lib/apt/lists/*; }
COPY --from=build /opt/dask-flow /opt/dask-flow
COPY --chmod=0755 runner/entrypoint.sh /usr/local/bin/dask-flow-entrypoint
# LOGNAME: the user id has no entry in /etc/passwd, on OpenShift it is any at all, and some libraries ask for a name.
ENV PATH=/opt/dask-flow/bin:$PATH HOME=/tmp LOGNAME=dask-flow PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /tmp
USER 1000:1000
ENTRYPOINT ["tini", "-g", "--", "dask-flow-entrypoint"]
CMD ["dask-flow", "--help"]

ARG VERSION=0.0.0
LABEL org.opencontainers.image.title="dask-flow" \
      org.opencontainers.image.description="Run Python flows on Dask clusters in Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/dask-flow/dask-flow" \
      org.opencontainers.image.version="${VERSION}"
