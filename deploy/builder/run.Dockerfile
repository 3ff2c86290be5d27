# The base of the images of tools: Debian with the languages that tools run in, and a user without rights. build-images
# passes the packages. The context is a folder with certificate authorities (*.crt).
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
# With these variables, the programs of every language trust the authorities of this image (src/sandbox/certificate-variables.ts).
ENV LANG=C.UTF-8 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt \
    PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt \
    CARGO_HTTP_CAINFO=/etc/ssl/certs/ca-certificates.crt \
    CURL_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt \
    GIT_SSL_CAINFO=/etc/ssl/certs/ca-certificates.crt \
    UV_SYSTEM_CERTS=1
# The package ca-certificates adds these to the authorities that Debian trusts.
COPY . /usr/local/share/ca-certificates/
# dpkg need not wait for the disk after each file, because a build that is interrupted leaves no image.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends -o DPkg::Options::=--force-unsafe-io $packages \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* \
 && groupadd --gid "$cnb_gid" cnb \
 && useradd --uid "$cnb_uid" --gid "$cnb_gid" --create-home --shell /bin/bash cnb \
 && install -d -o cnb -g cnb /workspace
USER ${cnb_uid}:${cnb_gid}
