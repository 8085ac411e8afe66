# filterd as a container: the locked releases, no compiler, no root.  `docker build -t filterd .`; see deploy/README.md.

FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY requirements/build.txt requirements/run.txt requirements/
RUN python -m venv /opt/filterd \
    && /opt/filterd/bin/pip install --no-cache-dir --require-hashes -r requirements/build.txt \
    && /opt/filterd/bin/pip install --no-cache-dir --require-hashes --no-build-isolation -r requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY filterd filterd
COPY api api
COPY training training
COPY models models
RUN /opt/filterd/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
    && /opt/filterd/bin/pip uninstall --yes -r requirements/build.txt

FROM python:3.11-slim-bookworm AS run
RUN useradd --system --uid 10025 --home-dir /var/lib/filterd --create-home --shell /usr/sbin/nologin filterd
COPY --from=build /opt/filterd /opt/filterd
COPY deploy/container.toml /etc/filterd/filterd.toml
ENV PATH=/opt/filterd/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER filterd
WORKDIR /var/lib/filterd
VOLUME /var/lib/filterd
# 2525 SMTP (publish it as 25), 8025 API.  Ports above 1024 need no capability.
EXPOSE 2525 8025
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8025/v1/health', timeout=4)"]
CMD ["filterd", "serve", "--config", "/etc/filterd/filterd.toml"]
