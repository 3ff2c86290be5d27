# The base of the images of tools: Debian, Python, and a user without rights.
FROM docker.io/library/debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates media-types python3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*
ARG cnb_uid=1000
ARG cnb_gid=1000
RUN groupadd --gid "$cnb_gid" cnb \
 && useradd --uid "$cnb_uid" --gid "$cnb_gid" --create-home --shell /bin/bash cnb
# https://github.com/buildpacks/spec/blob/main/platform.md#run-image
LABEL io.buildpacks.base.id=org.wikimedia.toolforge.bookworm \
      io.buildpacks.base.distro.name=debian \
      io.buildpacks.base.distro.version=12 \
      io.buildpacks.base.description="Debian 12 with Python 3, for tools built by toolforge-push"
ENV LANG=C.UTF-8
USER ${cnb_uid}:${cnb_gid}
WORKDIR /workspace
