# dbt-pendo and one dbt adapter, for a dbt project that is mounted: docs/deploy/container.md.
#   docker build --build-arg ADAPTER=snowflake --tag dbt-pendo .
FROM python:3.12-slim AS build
ARG ADAPTER=duckdb
WORKDIR /source
COPY . .
# dbt-core 1.12 needs a package whose build downloads a binary.
RUN python -m venv /opt/venv && \
    /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check ".[$ADAPTER]" "dbt-core<1.12"

FROM python:3.12-slim
COPY --from=build /opt/venv /opt/venv
# Any user may write below /tmp, where dbt also looks for profiles: in /tmp/.dbt.
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp
WORKDIR /project
USER 10001
ENTRYPOINT ["dbt-pendo"]
CMD ["--help"]
