# The operator: docker build --target operator -t flywheel .
# BASE is any image with Python 3.11 or newer, venv and pip; both stages use it, so that what was installed fits what runs.
ARG BASE=docker.io/library/python:3.13-slim

FROM ${BASE} AS build
# pip and what builds the wheel stay outside /opt/flywheel: a program that cannot write has no use for them.
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/flywheel
COPY requirements/build.txt requirements/operator.txt /build/
RUN /opt/build/bin/pip install --no-cache-dir --no-deps --require-hashes -r /build/build.txt \
    && /opt/build/bin/pip --python /opt/flywheel/bin/python install --no-cache-dir --no-deps --require-hashes -r /build/operator.txt
COPY pyproject.toml README.md /build/
COPY operator/flywheel /build/operator/flywheel
# Into a directory of its own, so that a change of the source changes one small layer.
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --no-index -w /wheels /build \
    && /opt/build/bin/pip --python /opt/flywheel/bin/python install --no-deps --no-index --prefix /project /wheels/*.whl

FROM ${BASE} AS operator
COPY --from=build /opt/flywheel /opt/flywheel
COPY --from=build /project /opt/flywheel
ENV PATH=/opt/flywheel/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
ENTRYPOINT ["flywheel"]
