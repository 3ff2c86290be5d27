# The base of the images of tools: Debian with the languages that tools run in, and a user without rights. build-images
# passes the packages.
ARG suite
FROM docker.io/library/debian:${suite}-slim
ARG suite
ARG release
ARG packages
ARG cnb_uid=1000
ARG cnb_gid=1000
# https://github.com/buildpacks/spec/blob/main/platform.md#run-image
LABEL io.buildpacks.base.id=org.wikimedia.toolforge.${suite} \
      io.buildpacks.base.distro.name=debian \
      io.buildpacks.base.distro.version=${release} \
      io.buildpacks.base.description="Debian ${suite} with the languages of tools that toolforge-push builds"
WORKDIR /workspace
ENV LANG=C.UTF-8
# dpkg need not wait for the disk after each file, because a build that is interrupted leaves no image.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends -o DPkg::Options::=--force-unsafe-io $packages \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* \
 && groupadd --gid "$cnb_gid" cnb \
 && useradd --uid "$cnb_uid" --gid "$cnb_gid" --create-home --shell /bin/bash cnb \
 && install -d -o cnb -g cnb /workspace
USER ${cnb_uid}:${cnb_gid}
