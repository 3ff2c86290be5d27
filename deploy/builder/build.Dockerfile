# The image in which tools are built: the run image with compilers, the Cloud Native Buildpacks lifecycle, and buildpacks.
# build-images passes the packages. The context is the folder with the buildpacks (NAME/buildpack.toml and order.toml).
ARG lifecycle_image=docker.io/buildpacksio/lifecycle:0.21.0
ARG run_image
FROM ${lifecycle_image} AS lifecycle

FROM ${run_image} AS cnb
ARG run_image
USER 0:0
COPY --from=lifecycle /cnb/lifecycle /cnb/lifecycle
COPY . /buildpacks
# The lifecycle looks for /cnb/buildpacks/ID/VERSION, with _ for the / of the id. The apt buildpack installs only packages
# that the run image lacks, so it needs the list of packages in the run image. Buildpacks get only those variables that are
# files in /cnb/build-config/env.
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
    install -D -m 644 /var/lib/dpkg/status /cnb/run-image/dpkg-status; \
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
