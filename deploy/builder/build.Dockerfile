# The image in which tools are built: the run image with compilers, the Cloud Native Buildpacks lifecycle, and buildpacks.
# build-images passes the packages. The context is the folder with the buildpacks (NAME/buildpack.toml and order.toml).
ARG lifecycle_image=docker.io/buildpacksio/lifecycle:0.21.0
ARG run_image
FROM ${lifecycle_image} AS lifecycle

FROM ${run_image} AS cnb
ARG run_image
USER 0:0
# The apt buildpack installs only packages that the run image lacks, so it needs the list of packages in the run image. The
# package with pip is only in this stage, so it must not be in the list.
RUN install -D -m 644 /var/lib/dpkg/status /cnb/run-image/dpkg-status \
 && apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3-pip-whl
COPY --from=lifecycle /cnb/lifecycle /cnb/lifecycle
COPY . /buildpacks
# The lifecycle looks for /cnb/buildpacks/ID/VERSION, with _ for the / of the id. Buildpacks get only those variables that
# are files in /cnb/build-config/env. If uv cannot be downloaded now, each tool in Python downloads it.
RUN set -eu; \
    for file in /buildpacks/*/buildpack.toml; do \
      folder=${file%/*}; \
      of() { sed -nE "s/^[[:space:]]*$1[[:space:]]*=[[:space:]]*[\"']([^\"']+)[\"'].*/\1/p" "$file" | sed -n 1p; }; \
      id=$(of id | tr / _); version=$(of version); \
      [ -n "$id" ] && [ -n "$version" ] || { echo "There is no id or version in $file." >&2; exit 1; }; \
      mkdir -p "/cnb/buildpacks/$id"; \
      cp -rL "$folder" "/cnb/buildpacks/$id/$version"; \
    done; \
    cp /buildpacks/order.toml /cnb/order.toml; \
    mkdir /cnb/uv; \
    if [ -f /buildpacks/python/lib/uv.txt ]; then \
      python3 "$(echo /usr/share/python-wheels/pip-*.whl)/pip" install -q --root-user-action ignore --no-cache-dir --no-deps --only-binary :all: \
        --require-hashes --target /cnb/uv -r /buildpacks/python/lib/uv.txt || rm -rf /cnb/uv/*; \
    fi; \
    mkdir -p /cnb/build-config/env; \
    for name in UV_SYSTEM_CERTS $(env | sed -n 's|=/etc/ssl/certs/ca-certificates.crt$||p'); do \
      printenv "$name" | tr -d '\n' >"/cnb/build-config/env/$name"; \
    done; \
    printf '[[images]]\nimage = "%s"\n' "$run_image" >/cnb/run.toml

FROM ${run_image}
ARG suite
ARG packages
ARG cnb_uid=1000
ARG cnb_gid=1000
# https://github.com/buildpacks/spec/blob/main/platform.md#build-image
ENV CNB_USER_ID=${cnb_uid} \
    CNB_GROUP_ID=${cnb_gid}
LABEL io.buildpacks.base.description="Debian ${suite} with compilers, the lifecycle and the buildpacks of toolforge-push"
USER 0:0
# update-alternatives, which the package of Java runs, fails without the folder man1. dpkg need not wait for the disk
# after each file, because a build that is interrupted leaves no image.
# Few instructions follow this one, because buildah's storage driver vfs copies the whole image for each of them.
RUN mkdir -p /usr/share/man/man1 \
 && apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends -o DPkg::Options::=--force-unsafe-io $packages \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* \
 && install -d -o "$cnb_uid" -g "$cnb_gid" /layers
COPY --from=cnb /cnb /cnb
USER ${cnb_uid}:${cnb_gid}
