# docker build --target operator -t flywheel .            the operator
# docker build --target edge -t flywheel-edge .           HAProxy, and the sidecar beside it
# docker build --target content -t flywheel-content .      what fetches pages from Git, and nginx that serves them
# docker build --target analytics -t flywheel-analytics . the event store and the fraud worker (large: it holds ClickHouse's engine)
# docker build --target browser -t flywheel-browser .     browser gates (large: it holds Chromium)
# BASE is any Debian image with Python 3.11 or newer, venv and pip; all stages use it, so that what was installed fits what runs.
ARG BASE=docker.io/library/python:3.13-slim

# A change of the source changes what this stage makes, and with it one small layer, the last of each image.
FROM ${BASE} AS project
COPY requirements/build.txt /build/
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/flywheel \
    && /opt/build/bin/pip install --no-cache-dir --no-deps --require-hashes -r /build/build.txt
COPY pyproject.toml README.md /build/
COPY operator/flywheel /build/operator/flywheel
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --no-index -w /wheels /build \
    && /opt/build/bin/pip --python /opt/flywheel/bin/python install --no-deps --no-index --prefix /project /wheels/*.whl

# Installed where it runs instead of copied there: only to see that nothing changed, a copy reads all of it at each build.
# pip does not stay: a program that cannot write has no use for it.
FROM ${BASE} AS program
ENV PATH=/opt/flywheel/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["flywheel"]
COPY requirements/operator.txt /opt/flywheel/requirements/
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/flywheel \
    && /opt/build/bin/pip --python /opt/flywheel/bin/python install --no-cache-dir --no-deps --require-hashes \
        -r /opt/flywheel/requirements/operator.txt \
    && rm -r /opt/build

FROM program AS operator
COPY --from=project /project /opt/flywheel
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532

FROM program AS edge
# Nothing is started while it is installed, and no list of packages stays behind. A small base has not even the directories.
RUN printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d && chmod 0755 /usr/sbin/policy-rc.d \
    && mkdir -p /var/log/apt /var/lib/apt/lists/partial /var/cache/apt/archives/partial \
    && apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends haproxy \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* /etc/haproxy
COPY --from=project /project /opt/flywheel
# HAProxy's own signal for an end that waits for the connections; the sidecar takes it for its end, too.
STOPSIGNAL SIGUSR1
USER 65532:65532

FROM program AS content
RUN printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d && chmod 0755 /usr/sbin/policy-rc.d \
    && mkdir -p /var/log/apt /var/lib/apt/lists/partial /var/cache/apt/archives/partial \
    && apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends nginx \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* /etc/nginx /var/www /usr/share/nginx
COPY --from=project /project /opt/flywheel
# nginx finishes the answers under way on this one, and cuts them off on SIGTERM.
STOPSIGNAL SIGQUIT
USER 65532:65532

FROM program AS analytics
COPY requirements/analytics.txt requirements/fraud.txt /opt/flywheel/requirements/
# Only what the operator has not: both lists are locked to the same versions.
RUN python3 -m venv /opt/build \
    && /opt/build/bin/pip --python /opt/flywheel/bin/python install --no-cache-dir --no-deps --require-hashes \
        -r /opt/flywheel/requirements/analytics.txt \
    && /opt/build/bin/pip --python /opt/flywheel/bin/python install --no-cache-dir --no-deps --require-hashes \
        -r /opt/flywheel/requirements/fraud.txt \
    && rm -r /opt/build
COPY --from=project /project /opt/flywheel
USER 65532:65532

FROM program AS browser
# Fonts for Chinese, too: the pictures of a page are for people. The driver of Playwright wants libatomic.
RUN printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d && chmod 0755 /usr/sbin/policy-rc.d \
    && mkdir -p /var/log/apt /var/lib/apt/lists/partial /var/cache/apt/archives/partial \
    && apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        chromium fonts-liberation fonts-wqy-zenhei libatomic1 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*
COPY requirements/browser.txt /opt/flywheel/requirements/
# Only what the operator has not: both lists are locked to the same versions. Playwright brings its driver, no browsers.
RUN python3 -m venv /opt/build \
    && /opt/build/bin/pip --python /opt/flywheel/bin/python install --no-cache-dir --no-deps --require-hashes \
        -r /opt/flywheel/requirements/browser.txt \
    && rm -r /opt/build
COPY --from=project /project /opt/flywheel
USER 65532:65532
