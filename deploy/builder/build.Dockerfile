# The image in which tools are built: Debian with compilers, the Cloud Native Buildpacks lifecycle, and buildpacks.
# build-images passes the packages. The context is the folder with the buildpacks (NAME/buildpack.toml and order.toml).
ARG lifecycle_image=docker.io/buildpacksio/lifecycle:0.21.0
ARG run_image
ARG suite
FROM ${lifecycle_image} AS lifecycle
FROM ${run_image} AS run

FROM docker.io/library/debian:${suite}-slim AS cnb
ARG run_image
COPY --from=lifecycle /cnb/lifecycle /cnb/lifecycle
# The list of packages in the run image. The apt buildpack installs only packages that this list lacks.
COPY --from=run /var/lib/dpkg/status /cnb/run-image/dpkg-status
COPY . /buildpacks
# The lifecycle looks for /cnb/buildpacks/ID/VERSION, with _ for the / of the id.
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
    printf '[[images]]\nimage = "%s"\n' "$run_image" >/cnb/run.toml

FROM docker.io/library/debian:${suite}-slim
ARG suite
ARG release
ARG packages
ARG cnb_uid=1000
ARG cnb_gid=1000
# https://github.com/buildpacks/spec/blob/main/platform.md#build-image
ENV CNB_USER_ID=${cnb_uid} \
    CNB_GROUP_ID=${cnb_gid} \
    LANG=C.UTF-8
LABEL io.buildpacks.base.id=org.wikimedia.toolforge.${suite} \
      io.buildpacks.base.distro.name=debian \
      io.buildpacks.base.distro.version=${release} \
      io.buildpacks.base.description="Debian ${suite} with compilers, the lifecycle and the buildpacks of toolforge-push"
WORKDIR /workspace
# update-alternatives, which the package of Java runs, fails without the folder man1.
# Few instructions follow this one, because buildah's storage driver vfs copies the whole image for each of them.
RUN mkdir -p /usr/share/man/man1 \
 && apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* \
 && groupadd --gid "$cnb_gid" cnb \
 && useradd --uid "$cnb_uid" --gid "$cnb_gid" --create-home --shell /bin/bash cnb \
 && install -d -o cnb -g cnb /workspace /layers
COPY --from=cnb /cnb /cnb
USER ${cnb_uid}:${cnb_gid}
