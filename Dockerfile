# The project's images. RUNNER_BASE provides Python 3.11 or newer and torch 2.6 or newer, OPERATOR_BASE Python 3.11 or newer, which stay as they are;
# what an image adds to its base lies in a virtual environment of its own, /opt/imagejob.
#
#   docker build --target operator --tag imagejob-operator .
#   docker build --target runner --tag imagejob-runner .
#   docker build --target runner --build-arg RUNNER_BASE=my/torch:2.9 --build-arg EXTRAS=demo --tag imagejob-demo .
#
# EXTRAS=gpu-cu12 has GPUs decode JPEGs, too; gpu-cu13 with a RUNNER_BASE whose torch is for CUDA 13. The default one is for CUDA 12.
ARG RUNNER_BASE=pytorch/pytorch:2.8.0-cuda12.8-cudnn9-runtime
ARG OPERATOR_BASE=python:3.13-slim

# The operator. Its stages come first: Docker's older builder goes through all stages before the one that is wanted.
FROM ${OPERATOR_BASE} AS operator-base
RUN python3 -m venv --without-pip /opt/imagejob

FROM operator-base AS operator-dependencies
RUN python3 -m venv /opt/pip
WORKDIR /src
COPY pyproject.toml ./
RUN touch README.md LICENSE \
  && /opt/pip/bin/pip --python /opt/imagejob/bin/python install --quiet --no-cache-dir ".[operator]" \
  && /opt/pip/bin/pip --python /opt/imagejob/bin/python uninstall --quiet --yes imagejob

# Of the project's packages those that the operator is made of, and its one command.
FROM operator-dependencies AS operator-project
COPY . ./
RUN /opt/pip/bin/pip --python /opt/imagejob/bin/python install --quiet --no-cache-dir --no-deps --prefix /opt/project . \
  && cd /opt/project && rm -rf lib/python3*/site-packages/imagejob_runner lib/python3*/site-packages/imagejob_cli \
  && find bin -type f ! -name imagejob-operator -delete

FROM operator-base AS operator
COPY --from=operator-dependencies /opt/imagejob /opt/imagejob
COPY --from=operator-project /opt/project /opt/imagejob
ENV PATH=/opt/imagejob/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["imagejob-operator"]

# The runner: the same steps on its base.
FROM ${RUNNER_BASE} AS base
RUN python3 -m venv --system-site-packages --without-pip /opt/imagejob

# What the project stands on, from pyproject.toml alone: this layer, the large one, lasts until that file changes.
FROM base AS dependencies
ARG EXTRAS=runner
RUN python3 -m venv /opt/pip
WORKDIR /src
COPY pyproject.toml ./
RUN touch README.md LICENSE \
  && /opt/pip/bin/pip --python /opt/imagejob/bin/python install --quiet --no-cache-dir ".[${EXTRAS}]" \
  && /opt/pip/bin/pip --python /opt/imagejob/bin/python uninstall --quiet --yes imagejob

# The project itself.
FROM dependencies AS project
COPY . ./
RUN /opt/pip/bin/pip --python /opt/imagejob/bin/python install --quiet --no-cache-dir --no-deps --prefix /opt/project .

FROM base AS runner
COPY --from=dependencies /opt/imagejob /opt/imagejob
COPY --from=project /opt/project /opt/imagejob
# Nothing is written below it; pods mount what they write to.
ENV PATH=/opt/imagejob/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /tmp
CMD ["imagejob-runner", "--help"]
